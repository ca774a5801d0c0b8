//! The format of MNRE (github.com/thecharm/MNRE): one Python dict literal per line with the keys `token`, `h`, `t`,
//! `img_id` and `relation`.

use super::json::LineDamage;
use super::parts::Parts;
use super::python_literal::{parse as parse_literal, repr};
use super::raw::{Format, Parsed, RawFile};
use super::relations::{MentionFields, RelationFields};
use super::rows::{Collected, RowFields, RowReader};
use super::sentence::{Field, SentenceFields, WordField};
use super::spans::{SpanEnd, SpanField};
use super::value::{FieldPath, Value};
use crate::corpus::types::Mention;
use crate::error::Result;

/// The format of MNRE: one record per line; blank lines at the end are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mnre;

impl Format for Mnre {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        read(file, Parts::of(file.bytes))
    }

    fn parse_parts(&self, file: &RawFile<'_>, parts: Parts<'_>) -> Option<Result<Parsed>> {
        Some(read(file, parts))
    }
}

fn read(file: &RawFile<'_>, parts: Parts<'_>) -> Result<Parsed> {
    let fields = RowFields::Relations(fields());
    let reader = RowReader::new(&fields, file);
    let mut records = Collected::default();
    // Blank lines are damaged records, unless no other line follows.
    let mut blank = Vec::new();
    for part in parts {
        let part = part?;
        let mut lines = Vec::new();
        for (number, line) in part.lines(file.path) {
            if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                blank.push(number);
            } else {
                lines.extend(blank.drain(..).map(|number| (number, Ok(""))));
                lines.push((number, line));
            }
        }
        records.extend(reader.read_lines(records.len(), lines, |piece| {
            let damage = |reason| LineDamage { line: piece.line, reason };
            let record = parse_literal(piece.text).map_err(damage)?;
            check_keys(&record).map_err(damage)?;
            Ok(record)
        }));
    }
    reader.finish(records, Vec::new())
}

fn fields() -> RelationFields {
    let mention =
        |span, name| MentionFields { span: SpanField::One(FieldPath::new(span)), name: Some(FieldPath::new(name)) };
    RelationFields {
        sentence: SentenceFields {
            words: WordField::Tokens(FieldPath::new("token")),
            image: Some(FieldPath::new("img_id")),
            id: None,
        },
        head: mention("h.pos", "h.name"),
        tail: mention("t.pos", "t.name"),
        span_end: SpanEnd::Exclusive,
        exact_names: true,
        relation: FieldPath::new("relation"),
        labels: Vec::new(),
    }
}

/// Checks that a record has no other keys than those of MNRE: a mistyped one would go unnoticed.
fn check_keys(record: &Value) -> Field<()> {
    let Value::Object(entries) = record else { return Err(format!("expected a dict, found {}", record.kind())) };
    only(entries, &["token", "h", "t", "img_id", "relation"], "the record")?;
    for (key, value) in entries {
        if let ("h" | "t", Value::Object(mention)) = (key.as_str(), value) {
            only(mention, &["name", "pos"], &format!("`{key}`"))?;
        }
    }
    Ok(())
}

fn only(entries: &[(String, Value)], known: &[&str], place: &str) -> Field<()> {
    match entries.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(format!("unknown key `{key}` in {place}; known: {}", known.join(", "))),
        None => Ok(()),
    }
}

/// Formats a row as a line of the published text files, without its ending.
pub fn format_line(tokens: &[String], head: &Mention, tail: &Mention, image: &str, relation: &str) -> String {
    let words: Vec<String> = tokens.iter().map(|word| repr(word)).collect();
    format!(
        "{{'token': [{}], 'h': {}, 't': {}, 'img_id': {}, 'relation': {}}}",
        words.join(", "),
        format_mention(head),
        format_mention(tail),
        repr(image),
        repr(relation)
    )
}

fn format_mention(mention: &Mention) -> String {
    format!("{{'name': {}, 'pos': [{}, {}]}}", repr(&mention.name), mention.start, mention.end)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::corpus::format::Records;
    use crate::corpus::types::{Annotation, Relation};

    const GOOD: &str = "{'token': ['Ann', 'met', \"O'Neil\"], 'h': {'name': 'Ann', 'pos': [0, 1]}, \
        't': {'name': \"O'Neil\", 'pos': [2, 3]}, 'img_id': 'a.jpg', 'relation': '/per/per/peer'}";

    fn parse_bytes(bytes: &[u8]) -> Records {
        let classes = ["/per/per/peer".to_owned(), "/per/per/parent".to_owned()];
        let file = RawFile { path: Path::new("mnre_train.txt"), bytes, classes: &classes, none: "None" };
        Mnre.parse(&file).unwrap().records
    }

    fn parsed(text: &str) -> Records {
        parse_bytes(text.as_bytes())
    }

    #[test]
    fn a_line_reads_and_writes_itself_with_either_ending() {
        for text in
            [format!("{GOOD}\n{GOOD}\n"), format!("{GOOD}\r\n{GOOD}\r\n"), format!("\u{feff}{GOOD}\n{GOOD}\n\n")]
        {
            let records = parsed(&text);
            assert_eq!(records.len(), 2);
            let second = records.into_iter().nth(1).unwrap().unwrap();
            assert_eq!(second.row, 1);
            assert_eq!(second.line, 2);
            let Annotation::Relation(relation) = &second.annotation else { panic!() };
            let Relation { head, tail, relation: Some(name) } = &**relation else { panic!() };
            assert_eq!(format_line(&second.tokens.to_vec(), head, tail, second.image.as_deref().unwrap(), name), GOOD);
        }
    }

    #[test]
    fn every_damage_is_named() {
        for (from, to, message) in [
            ("'h': {", "'h' {", "bad literal at column"),
            (", 'img_id': 'a.jpg'", "", "missing key `img_id`; the record has token, h, t, relation"),
            ("'a.jpg'", "''", "the name of the picture is empty"),
            ("'pos': [0, 1]", "'pos': [0, 4]", "span [0, 4] of `h.pos` is out of range: the sentence has 3 words"),
            ("'pos': [0, 1]", "'pos': [1, 1]", "span [1, 1] of `h.pos` is empty"),
            ("'pos': [0, 1]", "'pos': [-1, 1]", "out of range"),
            ("'pos': [0, 1]", "'pos': '0'", "`h.pos`: expected a span of two whole numbers, found text"),
            ("'pos': [0, 1]", "'pos': [0, '1']", "`h.pos`: expected a span of two whole numbers"),
            ("'pos': [0, 1]", "'pos': [1, 2]", "`h.name` is `Ann`, but the words of its span are `met`"),
            ("'name': 'Ann', ", "", "missing key `h.name`"),
            ("'name': 'Ann'", "'name': 'ann'", "`h.name` is `ann`, but the words of its span are `Ann`"),
            ("'name': 'Ann'", "'name': 'Anne'", "`h.name` is `Anne`, but the words of its span are `Ann`"),
            ("/per/per/peer", "/per/per/per", "unknown relation `/per/per/per` (did you mean `/per/per/peer`?)"),
            ("'met'", "7", "`token`: expected a list of words, found a whole number in it"),
            ("['Ann', 'met', \"O'Neil\"]", "[]", "`token` is empty"),
            ("'img_id'", "'image'", "unknown key `image` in the record; known: token, h, t, img_id, relation"),
            ("'name': 'Ann'", "'names': 'Ann'", "unknown key `names` in `h`; known: name, pos"),
            ("'name': 'Ann'", "'name': 'Ann', 'name': 'Ann'", "key `name` is given twice"),
            ("'met'", "'\\ud83d'", "stand for characters only in pairs"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let error = parsed(&format!("{GOOD}\n{bad}\n")).remove(1).unwrap_err().to_string();
            assert!(error.starts_with("mnre_train.txt:2: ") && error.contains(message), "{error}");
        }
        assert!(["", "\u{feff}", "\n \r\n", "\u{feff}\n\n"].iter().all(|blank| parsed(blank).is_empty()));
        assert!(parsed("[1]").remove(0).unwrap_err().to_string().contains("expected a dict"));
        assert!(parsed(&format!("{GOOD}\n\n{GOOD}")).remove(1).is_err());
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[20] = 0xff;
        let error = parse_bytes(&bytes).remove(0).unwrap_err().to_string();
        assert!(error.starts_with("mnre_train.txt:1: invalid UTF-8 at byte 21 of the line; a file in"), "{error}");
    }
}
