//! Columns: one line per word with the word and its tag among its columns, and a blank line after each sentence, as in
//! the shared tasks of CoNLL (Tjong Kim Sang and De Meulder 2003).
//!
//! A line `IMGID:<id>` before the words of a sentence names its picture `<id>.jpg`, as in the Twitter corpora. Lines that
//! begin with `-DOCSTART-` separate documents: they end a sentence, as blank lines do.

use std::collections::BTreeSet;

use super::columns::{Columns, Conll, DOCUMENT, HEADER, Layout};
use super::lines::lines;
use super::raw::{Format, Parsed, RawFile, Records};
use super::scheme::{is_tag, types_of};
use crate::corpus::types::{Annotation, Instance};
use crate::error::{Error, Result};

/// The numbered lines of a sentence.
type Block<'a> = Vec<(usize, Result<&'a str>)>;

impl Format for Conll {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        let layout = Layout::survey(self, file)?;
        let mut reader =
            ConllReader { layout: &layout, file, records: Records::new(), changed: 0, damaged_tags: BTreeSet::new() };
        let mut block = Block::new();
        for (number, line) in lines(file.path, file.bytes) {
            match line {
                Ok(line) if line.trim().is_empty() || line.starts_with(DOCUMENT) => reader.end(&mut block),
                Ok(line) if self.is_comment(&layout, line, &block) => {}
                line => block.push((number, line)),
            }
        }
        reader.end(&mut block);
        let note = layout.scheme.note(self.scheme.is_some(), reader.changed);
        let damaged = types_of(&reader.damaged_tags.into_iter().collect::<Vec<_>>());
        Ok(Parsed {
            records: reader.records,
            notes: note.into_iter().collect(),
            damaged_classes: damaged.into_iter().filter(|class| file.accepts(class)).collect(),
            ..Parsed::default()
        })
    }
}

impl Conll {
    /// Returns whether a line is a comment before the first word of the sentence whose lines so far are `block`.
    fn is_comment(&self, layout: &Layout, line: &str, block: &Block<'_>) -> bool {
        let in_words = || !block.iter().all(|(_, line)| line.as_ref().is_ok_and(|line| line.starts_with(HEADER)));
        self.may_be_comment(line) && !in_words() && !layout.reads_as_word(line)
    }
}

/// Turns blocks of lines into records.
struct ConllReader<'a> {
    layout: &'a Layout,
    file: &'a RawFile<'a>,
    records: Records,
    /// The number of tags that the conversion to BIO changed.
    changed: usize,
    /// The tags of damaged sentences, as far as they can be read.
    damaged_tags: BTreeSet<String>,
}

impl ConllReader<'_> {
    fn end(&mut self, block: &mut Block<'_>) {
        if !block.is_empty() {
            let texts: Vec<&str> = block.iter().filter_map(|(_, line)| line.as_ref().ok().copied()).collect();
            let record = self.sentence(std::mem::take(block));
            if record.is_err() {
                let tags =
                    texts.iter().filter_map(|line| Some(self.layout.word(line, &mut Columns::default()).ok()?.1));
                self.damaged_tags.extend(tags.filter(|tag| is_tag(tag)).map(str::to_owned));
            }
            self.records.push(record);
        }
    }

    fn sentence(&mut self, block: Block<'_>) -> Result<Instance> {
        let bad = |line: usize, reason: String| Error::corpus(self.file.path, line, reason);
        let mut lines = block.into_iter().peekable();
        let first = lines.peek().map_or(1, |(number, _)| *number);
        let header = lines.next_if(|(_, line)| match line {
            Ok(line) => line.starts_with(HEADER),
            Err(_) => true,
        });
        let image = header.map(|(_, line)| picture(line?).map_err(|reason| bad(first, reason))).transpose()?;
        if self.layout.pictures && image.is_none() {
            return Err(bad(first, format!("missing `{HEADER}<id>` line before the words")));
        }
        let mut tokens = Vec::new();
        let mut tags = Vec::new();
        let mut numbers = Vec::new();
        let mut columns = Columns::default();
        for (number, line) in lines {
            let line = line?;
            if line.starts_with(HEADER) {
                let reason = format!("`{HEADER}` inside a sentence; expected a blank line before it");
                return Err(bad(number, reason));
            }
            let (token, tag) = self.layout.word(line, &mut columns).map_err(|reason| bad(number, reason))?;
            tokens.push(token);
            tags.push(tag);
            numbers.push(number);
        }
        if tokens.is_empty() {
            return Err(bad(first, "sentence without words".to_owned()));
        }
        let converted = self.layout.scheme.to_bio(tags.into_iter(), self.file);
        let converted = converted.map_err(|(word, reason)| bad(numbers[word], reason))?;
        self.changed += converted.changed;
        let tokens = tokens.into();
        let image = image.map(Into::into);
        let annotation = Annotation::Entities(converted.tags);
        Ok(Instance { id: None, row: self.records.len(), line: first, tokens, image, annotation })
    }
}

/// Returns the file name of the picture that a header names.
fn picture(header: &str) -> std::result::Result<String, String> {
    match header[HEADER.len()..].trim() {
        "" => Err(format!("`{HEADER}` without an id")),
        id => Ok(format!("{id}.jpg")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::corpus::format::from_table;

    fn parse(options: &str, text: &str) -> Result<Parsed> {
        let choice = from_table("conll", toml::from_str(options).unwrap()).unwrap();
        let classes = ["PER".to_owned(), "LOC".to_owned()];
        choice.format.parse(&RawFile {
            path: Path::new("a.conll"),
            bytes: text.as_bytes(),
            classes: &classes,
            none: "O",
        })
    }

    /// Returns each sentence as its words and tags, joined.
    fn sentences(parsed: Parsed) -> Vec<String> {
        let sentence = |row: Result<Instance>| {
            let row = row.unwrap();
            let Annotation::Entities(tags) = &row.annotation else { panic!() };
            row.tokens
                .iter()
                .zip(tags.iter())
                .map(|(token, tag)| format!("{token}/{tag}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        parsed.records.into_iter().map(sentence).collect()
    }

    const CONLL: &str = "-DOCSTART- -X- O O\n\nAnn NNP I-NP I-PER\nLee NNP  I-NP I-PER\nmet VBD I-VP O\n \t\n\
        -DOCSTART- -X- O O\nRome NNP I-NP I-LOC\n";

    #[test]
    fn columns_documents_and_white_separators_are_read() {
        let tabs = "-DOCSTART- -X- O O\n\n".to_owned() + &CONLL[20..].replace("  ", " ").replace(' ', "\t");
        for text in [CONLL.to_owned(), CONLL.replace('\n', "\r\n"), format!("\u{feff}{CONLL}"), tabs] {
            let parsed = parse("", &text).unwrap();
            assert_eq!(
                parsed.notes,
                ["tags are IO (found from the tags) and were converted to BIO, which changed 2 of them"]
            );
            let first = parsed.records[0].as_ref().unwrap();
            assert_eq!([first.row, first.line], [0, 3]);
            assert_eq!(first.image, None);
            assert_eq!(sentences(parsed), ["Ann/B-PER Lee/I-PER met/O", "Rome/B-LOC"]);
        }
        let without_blank_lines = parse("", "Ann B-PER\n-DOCSTART- O\nLee B-PER\n").unwrap();
        assert_eq!(sentences(without_blank_lines), ["Ann/B-PER", "Lee/B-PER"]);
    }

    #[test]
    fn columns_are_chosen_from_either_end() {
        let text = "1\tAnn\tB-PER\t_\n2\tin\tO\t_\n";
        for options in ["token_column = 1\ntag_column = 2", "token_column = -3\ntag_column = -2"] {
            assert_eq!(sentences(parse(options, text).unwrap()), ["Ann/B-PER in/O"]);
        }
        for (options, message) in [
            ("tag_column = 4", "a.conll:1: no column 4 (`tag_column`): the line has 4 columns separated by tabs"),
            ("token_column = -5", "a.conll:1: no column -5 (`token_column`)"),
            ("tag_column = -4", "a.conll:1: word and tag are both read from column 0 of 4"),
            (
                "separator = 'blanks'\ntag_column = 9",
                "a.conll:1: no column 9 (`tag_column`): the line has 4 columns separated by blanks",
            ),
        ] {
            let error = parse(options, text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error = parse("", "Ann\nLee\n").unwrap_err().to_string();
        assert!(error.starts_with("a.conll:1: word and tag are both read from column 0 of 1"), "{error}");
    }

    #[test]
    fn comments_stand_before_the_words_and_a_word_may_be_a_hash() {
        let blanks = "# id 1 x\n# of\n# O\nAnn B-PER\n# O\n\n# id 2\n# a\nin O\n";
        assert_eq!(sentences(parse("comment = '#'", blanks).unwrap()), ["#/O Ann/B-PER #/O", "in/O"]);
        let tabs = "# id = 1\n#\tO\nAnn\tB-PER\n\n#tag\tO\n";
        assert_eq!(sentences(parse("comment = '#'", tabs).unwrap()), ["#/O Ann/B-PER", "#tag/O"]);
        let error = parse("", "# id = 1\nAnn\tB-PER\n").unwrap().records.remove(0).unwrap_err().to_string();
        assert!(error.starts_with("a.conll:1: word without label: expected 2 columns separated by tabs"), "{error}");
        assert!(error.ends_with("; if it is a comment, set `comment = \"#\"`"), "{error}");
    }

    #[test]
    fn pictures_are_named_by_headers() {
        let parsed = parse("", "IMGID:1\nAnn\tB-PER\n\nIMGID:2\nin\tO\n").unwrap();
        let images: Vec<_> = parsed.records.into_iter().map(|row| row.unwrap().image.unwrap()).collect();
        assert_eq!(images, ["1.jpg", "2.jpg"].map(Into::into));
        let records = parse("", "IMGID:1\nAnn\tB-PER\n\nin\tO\n").unwrap().records;
        let error = records[1].as_ref().unwrap_err().to_string();
        assert_eq!(error, "a.conll:4: missing `IMGID:<id>` line before the words");
    }

    #[test]
    fn every_damage_is_named() {
        let good = "Ann a b B-PER\nLee a b I-PER\n\nin a b O\n";
        for (from, to, message) in [
            ("Lee a b I-PER", "Lee a b c I-PER", "a.conll:2: 5 columns separated by blanks, where most lines have 4"),
            ("Lee a b I-PER", "Lee b I-PER", "a.conll:2: 3 columns separated by blanks, where most lines have 4"),
            (
                "Lee a b I-PER",
                "Lee",
                "a.conll:2: word without label: expected 4 columns separated by blanks, found `Lee`",
            ),
            ("I-PER", "X-PER", "a.conll:2: bad tag `X-PER`"),
            ("B-PER", "B-ORG", "a.conll:1: unknown entity type `ORG`; known: PER, LOC"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            let records = parse("", &bad).unwrap().records;
            assert!(records[1].is_ok());
            let error = records[0].as_ref().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error =
            parse("scheme = 'bio'", "Ann B-PER\nLee I-LOC\n").unwrap().records.remove(0).unwrap_err().to_string();
        assert!(error.starts_with("a.conll:2: `I-LOC` continues no LOC entity"), "{error}");
        let loose = parse("", "Ann B-PER\nLee I-LOC\n\u{a0} O\n").unwrap();
        assert_eq!(loose.notes, ["1 tags `I-` that continue no entity were read as the first word of one"]);
        assert_eq!(sentences(loose), ["Ann/B-PER Lee/B-LOC \u{a0}/O"]);
        let error =
            parse("separator = 'tab'", "Ann\tB-PER\n \tO\n").unwrap().records.remove(0).unwrap_err().to_string();
        assert_eq!(error, "a.conll:2: label without token: the word is blank");
        assert!(parse("", "\n").unwrap().records.is_empty());
    }
}
