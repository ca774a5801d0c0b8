//! The format of the Twitter entity corpora (files of github.com/jefferyYu/UMT): a line `IMGID:<id>`, then one line
//! `word<TAB>tag` per word, then a blank line.

use super::lines::lines;
use super::raw::{Format, Parsed, RawFile, Records};
use crate::bio::Tag;
use crate::corpus::types::{Annotation, Instance};
use crate::error::{Error, Result, hint};

/// Starts the line that names the picture of a sentence.
const HEADER: &str = "IMGID:";

/// The numbered lines of a sentence.
type Block<'a> = Vec<(usize, Result<&'a str>)>;

/// The format of the Twitter corpora: one record per block of lines between blank ones; a damaged block is one error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twitter;

impl Format for Twitter {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        Ok(parse(file).into())
    }
}

fn parse(file: &RawFile<'_>) -> Records {
    let mut records = Records::new();
    let mut block = Block::new();
    for (number, line) in lines(file.path, file.bytes) {
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            end_block(file, &mut block, &mut records);
        } else {
            block.push((number, line));
        }
    }
    end_block(file, &mut block, &mut records);
    records
}

fn end_block(file: &RawFile<'_>, block: &mut Block<'_>, records: &mut Records) {
    if !block.is_empty() {
        let row = records.len();
        records.push(parse_block(file, row, std::mem::take(block)));
    }
}

fn parse_block(file: &RawFile<'_>, row: usize, block: Block<'_>) -> Result<Instance> {
    let bad = |line: usize, reason: String| Err(Error::corpus(file.path, line, reason));
    let mut lines = block.into_iter();
    let Some((first, header)) = lines.next() else { return bad(1, "empty record".to_owned()) };
    let Some(id) = header?.strip_prefix(HEADER).map(str::trim) else {
        return bad(first, format!("missing `{HEADER}<id>` line before the words"));
    };
    if id.is_empty() {
        return bad(first, format!("`{HEADER}` without an id"));
    }
    let mut tokens = Vec::new();
    let mut tags = Vec::<String>::new();
    for (number, line) in lines {
        let line = line?;
        if line.starts_with(HEADER) {
            return bad(number, format!("`{HEADER}` inside a sentence; expected a blank line before it"));
        }
        let Some((token, tag)) = line.rsplit_once('\t') else {
            return bad(number, format!("word without label: expected `word<TAB>tag`, found `{line}`"));
        };
        if token.trim().is_empty() {
            return bad(number, "label without token: expected `word<TAB>tag`".to_owned());
        }
        if let Err(reason) = check_tag(tag, tags.last().map(String::as_str), file) {
            return bad(number, reason);
        }
        tokens.push(token.to_owned());
        tags.push(tag.to_owned());
    }
    if tokens.is_empty() {
        return bad(first, "sentence without words".to_owned());
    }
    let image = Some(format!("{id}.jpg"));
    Ok(Instance { id: None, row, line: first, tokens, image, annotation: Annotation::Entities { tags } })
}

/// Checks that a tag is `O`, `B-T`, or an `I-T` that continues an entity of type T.
fn check_tag(tag: &str, before: Option<&str>, file: &RawFile<'_>) -> std::result::Result<(), String> {
    let parsed = Tag::parse(tag).ok_or_else(|| format!("bad tag `{tag}`: expected O, B-<type> or I-<type>"))?;
    let Some(class) = parsed.class() else { return Ok(()) };
    if !file.accepts(class) {
        let hint = hint(class, file.classes.iter().map(String::as_str));
        return Err(format!("unknown entity type `{class}`{hint}; known: {}", file.classes.join(", ")));
    }
    let continues = before.and_then(|before| Tag::parse(before)?.class()) == Some(class);
    if parsed == Tag::Inside(class) && !continues {
        return Err(format!("`{tag}` continues no {class} entity: expected B-{class} or I-{class} before it"));
    }
    Ok(())
}

/// Formats a row as in the published text files: with CRLF endings, and the blank line at its end.
pub fn format_record(tokens: &[String], tags: &[&str], image: &str) -> String {
    let words = tokens.iter().zip(tags).map(|(token, tag)| format!("{token}\t{tag}\r\n"));
    let id = image.strip_suffix(".jpg").unwrap_or(image);
    format!("{HEADER}{id}\r\n{}\r\n", words.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = "IMGID:1\nAnn\tB-PER\nLee\tI-PER\nmet\tO\n\nIMGID:2\nhi\tO\n\n";

    fn parse_bytes(bytes: &[u8]) -> Records {
        let classes = ["PER".to_owned(), "LOC".to_owned()];
        parse(&RawFile { path: Path::new("train.txt"), bytes, classes: &classes, none: "O" })
    }

    fn parsed(text: &str) -> Records {
        parse_bytes(text.as_bytes())
    }

    #[test]
    fn records_read_with_either_ending() {
        for text in [GOOD.to_owned(), GOOD.replace('\n', "\r\n"), GOOD.trim_end().to_owned()] {
            let records: Vec<Instance> = parsed(&text).into_iter().map(Result::unwrap).collect();
            assert_eq!(records.len(), 2);
            assert_eq!(records[1].row, 1);
            assert_eq!(records[1].line, 6);
            assert_eq!(records[1].image.as_deref(), Some("2.jpg"));
            let Annotation::Entities { tags } = &records[0].annotation else { panic!() };
            assert_eq!(tags, &["B-PER", "I-PER", "O"]);
        }
        let record = format_record(&["hi".to_owned()], &["O"], "2.jpg");
        assert_eq!(record, "IMGID:2\r\nhi\tO\r\n\r\n");
    }

    #[test]
    fn every_damage_is_named() {
        for (from, to, message) in [
            ("IMGID:1\n", "", "train.txt:1: missing `IMGID:<id>` line"),
            ("IMGID:1\n", "IMGID:\n", "train.txt:1: `IMGID:` without an id"),
            ("Ann\tB-PER", "Ann", "train.txt:2: word without label"),
            ("Ann\tB-PER", "\tB-PER", "train.txt:2: label without token"),
            ("Ann\tB-PER", "Ann\tO", "train.txt:3: `I-PER` continues no PER entity"),
            ("Ann\tB-PER", "Ann\tB-LOC", "train.txt:3: `I-PER` continues no PER entity"),
            ("Ann\tB-PER", "Ann\tB-OTHER", "train.txt:2: unknown entity type `OTHER`"),
            ("Ann\tB-PER", "Ann\tPER", "train.txt:2: bad tag `PER`"),
            ("met\tO\n\n", "met\tO\n", "train.txt:5: `IMGID:` inside a sentence"),
            ("Ann\tB-PER\nLee\tI-PER\nmet\tO\n", "", "train.txt:1: sentence without words"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            let error = parsed(&bad).remove(0).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error = parse_bytes(b"IMGID:1\na\xff\tO\n").remove(0).unwrap_err().to_string();
        assert_eq!(error, "train.txt:2: invalid UTF-8 at byte 2 of the line");
    }
}
