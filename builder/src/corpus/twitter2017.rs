//! Twitter-2017 (Lu et al. 2018, files of github.com/jefferyYu/UMT): `IMGID:<id>`, then `word<TAB>tag` lines, then a
//! blank line.

use std::path::Path;

use super::lines::lines;
use super::{Annotation, Instance, Records};
use crate::error::{Error, Result, hint};

/// Published names of the train, validation and test file.
pub const FILES: [&[&str]; 3] = [&["train.txt"], &["valid.txt", "val.txt"], &["test.txt"]];

/// The entity types.
pub const TYPES: [&str; 4] = ["PER", "LOC", "ORG", "MISC"];

const HEADER: &str = "IMGID:";

/// One record per blank-line separated block; a damaged block is one error.
pub fn parse(file: &Path, bytes: &[u8]) -> Records {
    let mut records = Records::new();
    let mut block: Vec<(usize, Result<&str>)> = Vec::new();
    for (number, line) in lines(file, bytes) {
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            close(file, &mut block, &mut records);
        } else {
            block.push((number, line));
        }
    }
    close(file, &mut block, &mut records);
    records
}

fn close(file: &Path, block: &mut Vec<(usize, Result<&str>)>, records: &mut Records) {
    if !block.is_empty() {
        let row = records.len();
        records.push(instance(file, row, std::mem::take(block)));
    }
}

fn instance(file: &Path, row: usize, block: Vec<(usize, Result<&str>)>) -> Result<Instance> {
    let bad = |line: usize, reason: String| Err(Error::corpus(file, line, reason));
    let mut lines = block.into_iter();
    let Some((first, header)) = lines.next() else { return bad(1, "empty record".to_owned()) };
    let Some(id) = header?.strip_prefix(HEADER).map(str::trim) else {
        return bad(first, format!("missing `{HEADER}<id>` line before the words"));
    };
    if id.is_empty() {
        return bad(first, format!("`{HEADER}` without an id"));
    }
    let (mut tokens, mut tags) = (Vec::new(), Vec::<String>::new());
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
        if let Err(reason) = check(tag, tags.last().map(String::as_str)) {
            return bad(number, reason);
        }
        tokens.push(token.to_owned());
        tags.push(tag.to_owned());
    }
    if tokens.is_empty() {
        return bad(first, "sentence without words".to_owned());
    }
    Ok(Instance { row, line: first, tokens, image: format!("{id}.jpg"), annotation: Annotation::Entities { tags } })
}

/// A tag is `O`, `B-T` or an `I-T` that continues an entity of type T.
fn check(tag: &str, before: Option<&str>) -> std::result::Result<(), String> {
    if tag == "O" {
        return Ok(());
    }
    let Some((prefix @ ("B" | "I"), class)) = tag.split_once('-') else {
        return Err(format!("bad tag `{tag}`: expected O, B-<type> or I-<type>"));
    };
    if !TYPES.contains(&class) {
        return Err(format!("unknown entity type `{class}`{}; known: {}", hint(class, TYPES), TYPES.join(", ")));
    }
    let continues = before.and_then(|before| before.split_once('-')).is_some_and(|(_, previous)| previous == class);
    if prefix == "I" && !continues {
        return Err(format!("`{tag}` continues no {class} entity: expected B-{class} or I-{class} before it"));
    }
    Ok(())
}

/// The record of the published text files with CRLF endings, blank line included.
pub fn record(tokens: &[String], tags: &[&str], image: &str) -> String {
    let words = tokens.iter().zip(tags).map(|(token, tag)| format!("{token}\t{tag}\r\n"));
    let id = image.strip_suffix(".jpg").unwrap_or(image);
    format!("{HEADER}{id}\r\n{}\r\n", words.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "IMGID:1\nAnn\tB-PER\nLee\tI-PER\nmet\tO\n\nIMGID:2\nhi\tO\n\n";

    fn parsed(text: &str) -> Records {
        parse(Path::new("train.txt"), text.as_bytes())
    }

    #[test]
    fn records_read_with_either_ending() {
        for text in [GOOD.to_owned(), GOOD.replace('\n', "\r\n"), GOOD.trim_end().to_owned()] {
            let records: Vec<Instance> = parsed(&text).into_iter().map(Result::unwrap).collect();
            assert_eq!(records.len(), 2);
            assert_eq!((records[1].row, records[1].line, records[1].image.as_str()), (1, 6, "2.jpg"));
            let Annotation::Entities { tags } = &records[0].annotation else { panic!() };
            assert_eq!(tags, &["B-PER", "I-PER", "O"]);
        }
        let record = record(&["hi".to_owned()], &["O"], "2.jpg");
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
        let error = parse(Path::new("x"), b"IMGID:1\na\xff\tO\n").remove(0).unwrap_err().to_string();
        assert_eq!(error, "x:2: invalid UTF-8 at byte 2 of the line");
    }
}
