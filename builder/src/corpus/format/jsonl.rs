//! JSON with field names of the corpus's own: one object per line, or an array of objects.

use std::path::Path;

use super::json::{self, Piece};
use super::parts::{Part, Parts};
use super::raw::{Format, Parsed, RawFile};
use super::rows::{Collected, RowFields, RowReader};
use crate::error::Result;
use crate::plain::without_bom;

/// The format of JSON records whose fields a `[corpus]` table names. Blank lines between records are ignored.
#[derive(Debug, Clone)]
pub(super) struct Jsonl {
    pub(super) fields: RowFields,
}

impl Format for Jsonl {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        self.read(file, Parts::of(file.bytes))
    }

    fn parse_parts(&self, file: &RawFile<'_>, parts: Parts<'_>) -> Option<Result<Parsed>> {
        Some(self.read(file, parts))
    }
}

impl Jsonl {
    fn read(&self, file: &RawFile<'_>, parts: Parts<'_>) -> Result<Parsed> {
        let reader = RowReader::new(&self.fields, file);
        let records = read_records(&reader, file.path, parts)?;
        let (_, labels) = self.fields.class_field();
        reader.finish(records, self.fields.declared(labels))
    }
}

/// Reads an array of records, or a record per line.
///
/// # Errors
/// The file cannot be read, or is a damaged array.
pub(super) fn read_records(reader: &RowReader<'_>, path: &Path, parts: Parts<'_>) -> Result<Collected> {
    let mut records = Collected::default();
    let mut parts = parts.peekable();
    let begin = |part: &Result<Part>| {
        part.as_ref().is_ok_and(|part| without_bom(&part.bytes).trim_ascii_start().starts_with(b"["))
    };
    if parts.peek().is_some_and(begin) {
        // An array is read as a whole, because an element may go over several lines.
        let bytes = parts.map(|part| Ok(part?.bytes)).collect::<Result<Vec<_>>>()?.concat();
        let pieces = json::text(&bytes).and_then(json::elements).map_err(|damage| damage.at(path))?;
        records.extend(reader.read_pieces(0, &pieces, Piece::parse));
        return Ok(records);
    }
    for part in parts {
        let part = part?;
        let blank = |line: &Result<&str>| line.as_ref().is_ok_and(|line| line.trim().is_empty());
        let lines = part.lines(path).filter(|(_, line)| !blank(line)).collect();
        records.extend(reader.read_lines(records.len(), lines, Piece::parse));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::format::from_table;
    use crate::corpus::types::{Annotation, Instance, Relation};

    fn parse(format: &str, options: &str, text: &str) -> Result<Parsed> {
        let choice = from_table(format, toml::from_str(options).unwrap()).unwrap();
        let file = RawFile { path: Path::new("a.jsonl"), bytes: text.as_bytes(), classes: &[], none: "none" };
        choice.format.parse(&file)
    }

    fn rows(parsed: Parsed) -> Vec<Instance> {
        parsed.records.into_iter().map(Result::unwrap).collect()
    }

    fn tags(row: &Instance) -> String {
        let Annotation::Entities(tags) = &row.annotation else { panic!() };
        tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>().join(" ")
    }

    const RELATIONS: &str = r#"{"id": 7, "token": ["Ann", "met", "Bob 😀"], "h": {"pos": [0, 1]}, "t": {"name": "bob😀", "pos": [2, 3]}, "relation": "meets", "img": "a.jpg"}

{"id": "x", "token": ["a", "b", "c"], "h": {"pos": [0, 2]}, "t": {"name": "C", "pos": [2, 3]}, "relation": null, "img": "b.jpg"}
"#;
    const RELATION_KEYS: &str = "tokens = 'token'\nhead = 'h.pos'\ntail = 't.pos'\ntail_name = 't.name'\nspan_end = 'exclusive'\n\
        image = 'img'\nid = 'id'";

    #[test]
    fn relations_are_read_from_lines_and_arrays() {
        let escaped = RELATIONS.replace('😀', "\\ud83d\\ude00");
        let array = format!("[{}]", RELATIONS.trim().replace("}\n\n", "},\n\n"));
        for text in
            [RELATIONS.to_owned(), RELATIONS.replace('\n', "\r\n"), format!("\u{feff}{RELATIONS}"), escaped, array]
        {
            let rows = rows(parse("jsonl-relations", RELATION_KEYS, &text).unwrap());
            assert_eq!([rows[0].line, rows[1].line, rows[1].row], [1, 3, 1]);
            assert_eq!(rows[0].tokens.get(2), Some("Bob 😀"));
            assert_eq!([rows[0].id.as_deref(), rows[1].id.as_deref()], [Some("7"), Some("x")]);
            assert_eq!(rows[1].image.as_deref(), Some("b.jpg"));
            let Annotation::Relation(relation) = &rows[0].annotation else { panic!() };
            let Relation { head, tail, relation } = &**relation;
            assert_eq!([&*head.name, &*tail.name], ["Ann", "bob😀"]);
            assert_eq!(relation.as_deref(), Some("meets"));
            let Annotation::Relation(relation) = &rows[1].annotation else { panic!() };
            let Relation { head, relation, .. } = &**relation;
            assert_eq!([&*head.name, head.end.to_string().as_str()], ["a b", "2"]);
            assert_eq!(*relation, None);
        }
    }

    #[test]
    fn entities_are_tags_or_spans() {
        let converted = "B-PER I-PER O B-LOC";
        for (options, record) in [
            ("", r#"{"tokens": ["Ann", "Lee", "in", "Rome"], "tags": ["B-PER", "I-PER", "O", "B-LOC"]}"#),
            (
                "scheme = 'bioes'",
                r#"{"tokens": ["Ann", "Lee", "in", "Rome"], "tags": ["B-PER", "E-PER", "O", "S-LOC"]}"#,
            ),
            ("labels = ['O', 'PER', 'LOC']", r#"{"tokens": ["Ann", "Lee", "in", "Rome"], "tags": [1, 1, 0, 2]}"#),
            (
                "text = 's'\nspans = 'e'\nspan_end = 'exclusive'",
                r#"{"s": "Ann Lee\u00a0in Rome", "e": [[3, 4, "LOC"], [0, 2, "PER"]]}"#,
            ),
            (
                "text = 's'\nspans = 'd.e'\nspan_end = 'inclusive'\nspan_keys = ['from', 'to', 'label']",
                r#"{"s": "Ann Lee in Rome", "d": {"e": [{"from": 0, "to": 1, "label": "PER"}, {"label": "LOC", "to": 3, "from": 3}]}}"#,
            ),
            (
                "text = 's'\nspans = 'e'\nspan_end = 'inclusive'",
                r#"{"s": "Ann Lee in Rome", "e": {"start": [0, 3], "end": [1, 3], "type": ["PER", "LOC"]}}"#,
            ),
        ] {
            let rows = rows(parse("jsonl-entities", options, record).unwrap());
            assert_eq!(tags(&rows[0]), converted, "{record}");
        }
        assert_eq!(parse("jsonl-entities", "labels = ['O', 'B-B', 'I-B', 'A']", "").unwrap().classes, ["B", "A"]);
    }

    #[test]
    fn damaged_relations_are_named() {
        for (from, to, message) in [
            ("\"relation\": null", "\"relation\": 3", "a.jsonl:3: `relation`: no name is known for number 3"),
            ("\"relation\": null, ", "", "a.jsonl:3: missing key `relation`; the record has id, token, h, t, img"),
            ("\"C\"", "\"D\"", "a.jsonl:3: `t.name` is `D`, but the words of its span are `c`"),
            ("\"b.jpg\"", "\" \"", "a.jsonl:3: the name of the picture is empty"),
            ("\"b.jpg\"", "null", "a.jsonl:3: `img`: expected text, found nothing"),
            ("\"x\"", "true", "a.jsonl:3: `id`: expected text or a whole number, found true or false"),
            ("\"img\": \"b.jpg\"}", "\"img\": \"b.jpg\"", "a.jsonl:3: ends in the middle of a JSON value"),
            ("\"img\": \"b.jpg\"}", "\"img\": \"b.jpg\"}}", "a.jsonl:3: not JSON at column"),
            ("\"img\": \"b", "\"id\": \"b", "a.jsonl:3: key `id` is given twice; keep one"),
            ("\"b.jpg\"", "\"\\ud83d\"", "a.jsonl:3: half a surrogate pair"),
        ] {
            let bad = RELATIONS.replacen(from, to, 1);
            assert_ne!(bad, RELATIONS);
            let error =
                parse("jsonl-relations", RELATION_KEYS, &bad).unwrap().records.remove(1).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn damaged_entities_are_named() {
        const SPANS: &str = "text = 's'\nspans = 'e'\nspan_end = 'inclusive'";
        for (options, record, message) in [
            ("", r#"{"tokens": ["a"], "tags": ["O", "O"]}"#, "`tags` has 2 tags for 1 words"),
            ("", r#"{"tokens": ["a"], "tags": [null]}"#, "`tags`: a tag is missing"),
            ("", r#"{"tokens": ["a"], "tags": "O"}"#, "`tags`: expected a list of tags, found text"),
            (
                "scheme = 'bio'",
                r#"{"tokens": ["a", "b"], "tags": ["B-X", "I-Y"]}"#,
                "word 2 (`b`): `I-Y` continues no Y entity",
            ),
            ("text = 's'", r#"{"s": " ", "tags": []}"#, "`s` is empty"),
            (
                SPANS,
                r#"{"s": "a b", "e": [[0, 1, "X"], [1, 1, "Y"]]}"#,
                "in `e`: the Y entity of words 1 to 1 overlaps another",
            ),
            (SPANS, r#"{"s": "a b", "e": [[0, 2, "X"]]}"#, "span [0, 2] (inclusive) of `e` is out of range"),
            (SPANS, r#"{"s": "a b", "e": [[0, 1]]}"#, "`e`: expected an object or a list of start, end and type"),
            (
                SPANS,
                r#"{"s": "a b", "e": [{"start": 0, "end": 1}]}"#,
                "in `e`: missing key `type`; the record has start, end",
            ),
            (SPANS, r#"{"s": "a b", "e": [[0, 1, null]]}"#, "in `e`: an entity has no type"),
            (SPANS, r#"{"s": "a b", "e": [[0, "1", "X"]]}"#, "in `e`: `1`: expected a whole number, found text"),
            (SPANS, r#"{"s": "a b", "e": {"start": [0], "end": []}}"#, "the lists in `e` have different lengths"),
        ] {
            let error = parse("jsonl-entities", options, record).unwrap().records.remove(0).unwrap_err().to_string();
            assert!(error.starts_with(&format!("a.jsonl:1: {message}")), "{error}");
        }
    }
}
