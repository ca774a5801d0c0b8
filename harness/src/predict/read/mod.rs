//! Reads sentences from text, JSON lines or CoNLL columns. The first mistake stops the reading; nothing is guessed.

mod conll;
mod jsonl;
mod text;

use std::path::Path;

use mkgc_builder::corpus::Extraction;
use mkgc_builder::plain;

use super::Sentence;
use crate::error::{Error, Result};

/// The format of a file of sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// A sentence per line, its words between blanks.
    Text,
    /// An object per line, with `tokens` or `text` and, for relations, `head` and `tail`.
    Jsonl,
    /// A word per line in the first column, and a blank line after each sentence.
    Conll,
}

impl InputFormat {
    /// Chooses the format by the ending of a file's name: `.jsonl`, `.ndjson` and `.json`, or `.conll`, `.bio`, `.iob` and
    /// `.tsv`; everything else is text.
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("jsonl" | "ndjson" | "json") => Self::Jsonl,
            Some("conll" | "bio" | "iob" | "tsv") => Self::Conll,
            _ => Self::Text,
        }
    }
}

/// Reads the sentences of a file whose bytes are given, for relations or for entities.
///
/// # Errors
/// A line that cannot be read; a format that cannot say what `kind` needs; a file without a sentence.
pub fn read(path: &Path, bytes: &[u8], format: InputFormat, kind: Extraction) -> Result<Vec<Sentence>> {
    let refused = |reason: &str| Error::Usage(format!("{}: {reason}", path.display()));
    if kind == Extraction::Relations && format != InputFormat::Jsonl {
        return Err(refused(
            "this model tells the relation between two mentions, which text and columns do not mark; give JSON lines with \
             `tokens`, `head` and `tail`, such as {\"tokens\": [\"Ann\", \"met\", \"Bob\"], \"head\": [0, 1], \"tail\": [2, 3]}",
        ));
    }
    let text = plain::text(bytes).map_err(|misread| refused(&misread.to_string()))?;
    let sentences = match format {
        InputFormat::Text => text::read(path, text),
        InputFormat::Jsonl => jsonl::read(path, text, kind)?,
        InputFormat::Conll => conll::read(path, text)?,
    };
    if sentences.is_empty() {
        return Err(refused("holds no sentence"));
    }
    sentences.into_iter().map(Sentence::checked).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sentences(text: &str, format: InputFormat, kind: Extraction) -> Result<Vec<Sentence>> {
        read(Path::new("in"), text.as_bytes(), format, kind)
    }

    fn refusal(text: &str, format: InputFormat, kind: Extraction) -> String {
        sentences(text, format, kind).unwrap_err().to_string()
    }

    #[test]
    fn the_same_sentences_are_read_from_every_format() {
        let text = "\u{feff}Ann met Bob\r\n\r\n  Rome\t# \r\n";
        let columns = "IMGID:7\nAnn\tNNP\tB-PER\nmet\t\tO\nBob\t\tB-PER\n\n-DOCSTART- -X- O\n\nRome NNP O\n# NN O\n";
        let lines = "{\"tokens\": [\"Ann\", \"met\", \"Bob\"], \"id\": 7, \"tags\": [1], \"image\": {\"bytes\": null}}\n\n\
                     {\"text\": \"Rome #\", \"img_id\": \"a/b.jpg\", \"id\": null}";
        let entities = Extraction::Entities;
        let words = [vec!["Ann", "met", "Bob"], vec!["Rome", "#"]];
        for (input, format, ids) in [
            (text, InputFormat::Text, ["1", "3"]),
            (columns, InputFormat::Conll, ["1", "8"]),
            (lines, InputFormat::Jsonl, ["7", "3"]),
        ] {
            let read = sentences(input, format, entities).unwrap();
            assert_eq!(
                read.iter().map(|sentence| &sentence.tokens).collect::<Vec<_>>(),
                words.iter().collect::<Vec<_>>()
            );
            assert_eq!(read.iter().map(|sentence| sentence.id.as_str()).collect::<Vec<_>>(), ids);
        }
        let image = |input, format, row: usize| sentences(input, format, entities).unwrap()[row].image.clone();
        assert_eq!(image(columns, InputFormat::Conll, 0).unwrap(), Path::new("7.jpg"));
        assert_eq!(image(lines, InputFormat::Jsonl, 0), None);
        assert_eq!(image(lines, InputFormat::Jsonl, 1).unwrap(), Path::new("a/b.jpg"));
    }

    #[test]
    fn mentions_are_spans_of_any_published_form() {
        for (head, tail) in [
            ("\"head\": [0, 1]", "\"tail\": {\"name\": \"b\", \"start\": 1, \"end\": 3}"),
            ("\"h\": {\"pos\": [0, 1]}", "\"t\": {\"pos\": [1, 3]}"),
            ("\"head\": null, \"h\": [0, 1]", "\"tail\": null, \"t\": [1, 3]"),
            ("\"h\": [\"a\", \"Q1\", [[0], [2]]]", "\"t\": [\"b c\", null, [[1, 2]]]"),
        ] {
            let line = format!("{{\"token\": [\"a\", \"b\", \"c\"], {head}, {tail}}}");
            let read = sentences(&line, InputFormat::Jsonl, Extraction::Relations).unwrap();
            assert_eq!(read[0].mentions, Some([0..1, 1..3]));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let entities = Extraction::Entities;
        let relation = |line: &str| refusal(&format!("\n{line}"), InputFormat::Jsonl, Extraction::Relations);
        let span = |head: &str| relation(&format!("{{\"tokens\": [\"a\"], \"head\": {head}, \"tail\": [0, 1]}}"));
        for (error, message) in [
            (refusal("a", InputFormat::Text, Extraction::Relations), "in: this model tells the relation"),
            (refusal(" \n", InputFormat::Text, entities), "in: holds no sentence"),
            (
                refusal("{\"text\": \"a\", \"id\": 2}\n{\"text\": \"b\"}", InputFormat::Jsonl, entities),
                "in:2: the id `2` is that of line 1, too; give each line an `id`",
            ),
            (span("[\"a\", \"Q1\", [[0, 2]]]"), "in:2: `head`: expected the span of a mention"),
            (refusal("a\n\tO\n", InputFormat::Conll, entities), "in:2: the first column, the word, is empty"),
            (refusal("a\nIMGID:1\n", InputFormat::Conll, entities), "in:2: `IMGID:` inside a sentence"),
            (refusal("IMGID:1\n\na\n", InputFormat::Conll, entities), "in:1: the sentence has no words"),
            (refusal("{\"tokens\": []}", InputFormat::Jsonl, entities), "in:1: the sentence has no words"),
            (refusal("{\"tokens\": \"a\"}", InputFormat::Jsonl, entities), "in:1: `tokens`: expected a list of words"),
            (
                refusal("{\"id\": 1, \"x\": 2}", InputFormat::Jsonl, entities),
                "in:1: missing key `tokens`, a list of words; the object has id, x",
            ),
            (refusal("{\"tokens\": [\"a\"], \"id\": 1.5}", InputFormat::Jsonl, entities), "in:1: `id`: expected text"),
            (refusal("[1]", InputFormat::Jsonl, entities), "in:1: is a JSON list"),
            (refusal("{'tokens': ['a']}", InputFormat::Jsonl, entities), "in:1: is in single quotes"),
            (refusal("{\"tokens\": [\"a\"", InputFormat::Jsonl, entities), "in:1: ends within an object"),
            (relation("{\"tokens\": [\"a\"]}"), "in:2: missing key `head`, the span of a mention"),
            (span("[1, 2]"), "in:2: `head` is the span [1, 2] of a sentence of 1 words"),
            (span("[0, 0]"), "in:2: `head` is the span [0, 0] of a sentence of 1 words"),
            (span("[0]"), "in:2: `head`: expected the span of a mention"),
            (span("[-1, 1]"), "in:2: `head`: expected the span of a mention"),
        ] {
            assert!(error.starts_with(message), "{error}");
        }
        let bytes = read(Path::new("in"), b"a\n\xff", InputFormat::Text, entities).unwrap_err().to_string();
        assert!(bytes.starts_with("in: line 2: is not UTF-8 text"), "{bytes}");
    }

    #[test]
    fn the_ending_of_a_name_says_the_format() {
        let of = |name: &str| InputFormat::of(Path::new(name));
        assert_eq!([of("a.JSONL"), of("a.ndjson"), of("a.json")], [InputFormat::Jsonl; 3]);
        assert_eq!([of("a.conll"), of("a.tsv"), of("a.bio")], [InputFormat::Conll; 3]);
        assert_eq!([of("a.txt"), of("a"), of("-")], [InputFormat::Text; 3]);
    }
}
