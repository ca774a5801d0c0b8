//! The format of the Twitter entity corpora (files of github.com/jefferyYu/UMT): a line `IMGID:<id>`, then one line
//! `word<TAB>tag` per word, then a blank line.

use super::columns::{Conll, HEADER, Separator};
use super::raw::{Format, Parsed, RawFile};
use super::scheme::Scheme;
use crate::error::Result;

/// The format of Twitter-2017, whose tags are strict BIO: one record per block of lines between blank ones; a damaged
/// block is one error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twitter;

impl Format for Twitter {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        Conll { scheme: Some(Scheme::Bio), ..tweets() }.parse(file)
    }
}

/// Returns the format of tweets with any tags: columns with a tab between them, and a picture for every sentence.
/// Twitter-2015 has entities that begin with `I-`.
pub fn tweets() -> Conll {
    Conll { separator: Some(Separator::Tab), pictures: true, ..Conll::default() }
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
    use crate::bio::Tags;
    use crate::corpus::format::Records;
    use crate::corpus::types::{Annotation, Instance};

    const GOOD: &str = "IMGID:1\nAnn\tB-PER\nLee\tI-PER\nmet\tO\n\nIMGID:2\nhi\tO\n\n";

    fn parse_bytes(bytes: &[u8]) -> Records {
        let classes = ["PER".to_owned(), "LOC".to_owned()];
        let file = RawFile { path: Path::new("train.txt"), bytes, classes: &classes, none: "O" };
        Twitter.parse(&file).unwrap().records
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
            let tags = Tags::new(["B-PER", "I-PER", "O"]).unwrap();
            assert_eq!(records[0].annotation, Annotation::Entities(tags));
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
            ("Ann\tB-PER", "Ann\tx\tB-PER", "train.txt:2: 3 columns separated by tabs, where most lines have 2"),
            ("Ann\tB-PER", "Ann\tB-PER\t", "train.txt:2: 3 columns separated by tabs, where most lines have 2"),
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
        assert!(error.starts_with("train.txt:2: invalid UTF-8 at byte 2 of the line; a file in"), "{error}");
    }
}
