//! The format of TACRED (Zhang et al. 2017, nlp.stanford.edu/projects/tacred): a JSON list of objects with `id`, `token`,
//! `relation`, and the first and last word of subject and object (`subj_start`, `subj_end`, `obj_start`, `obj_end`).
//!
//! The head of a relation is its subject. Other keys, such as `stanford_ner`, are ignored. One object per line is read,
//! too: TACRED is often passed on that way.

use super::jsonl::read_records;
use super::parts::Parts;
use super::raw::{Format, Parsed, RawFile};
use super::relations::{MentionFields, RelationFields};
use super::rows::{RowFields, RowReader};
use super::sentence::{SentenceFields, WordField};
use super::spans::{SpanEnd, SpanField};
use super::value::FieldPath;
use crate::error::Result;

/// The format of TACRED; it has no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tacred;

impl Format for Tacred {
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
    let records = read_records(&reader, file.path, parts)?;
    reader.finish(records, Vec::new())
}

fn fields() -> RelationFields {
    let mention = |start, end| {
        let span = SpanField::Two(FieldPath::new(start), FieldPath::new(end));
        MentionFields { span, name: None }
    };
    RelationFields {
        sentence: SentenceFields {
            words: WordField::Tokens(FieldPath::new("token")),
            image: None,
            id: Some(FieldPath::new("id")),
        },
        head: mention("subj_start", "subj_end"),
        tail: mention("obj_start", "obj_end"),
        span_end: SpanEnd::Inclusive,
        exact_names: false,
        relation: FieldPath::new("relation"),
        labels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::corpus::format::Records;
    use crate::corpus::types::{Annotation, Relation};

    const GOOD: &str = r#"[{"id": "e7", "docid": "d", "relation": "org:founded_by", "token": ["Ann", "Lee", "runs", "X"],
"subj_end": 3, "subj_start": 3, "obj_start": 0, "obj_end": 1, "subj_type": "ORGANIZATION", "stanford_ner": ["O"]},
{"id": "e8", "relation": "no_relation", "token": ["a", "b"], "subj_start": 0, "subj_end": 0, "obj_start": 1, "obj_end": 1}]
"#;

    fn parsed(text: &str) -> Records {
        let classes = ["org:founded_by".to_owned()];
        let file =
            RawFile { path: Path::new("train.json"), bytes: text.as_bytes(), classes: &classes, none: "no_relation" };
        Tacred.parse(&file).unwrap().records
    }

    #[test]
    fn spans_are_inclusive_and_the_subject_is_the_head() {
        let lines = GOOD.trim().trim_matches(['[', ']']).replace(",\n\"", ",\"").replace("},\n{", "}\n{");
        for text in [GOOD.to_owned(), GOOD.replace('\n', "\r\n"), format!("\u{feff}{GOOD}"), lines] {
            let rows: Vec<_> = parsed(&text).into_iter().map(Result::unwrap).collect();
            let Annotation::Relation(relation) = &rows[0].annotation else { panic!() };
            let Relation { head, tail, relation } = &**relation;
            assert_eq!([head.start, head.end, tail.start, tail.end], [3, 4, 0, 2]);
            assert_eq!([&*head.name, &*tail.name], ["X", "Ann Lee"]);
            assert_eq!(relation.as_deref(), Some("org:founded_by"));
            assert_eq!(rows[0].id.as_deref(), Some("e7"));
            assert_eq!(rows[0].image, None);
            let Annotation::Relation(relation) = &rows[1].annotation else { panic!() };
            let relation = &relation.relation;
            assert_eq!(*relation, None);
            assert_eq!(rows[1].row, 1);
        }
        assert_eq!(parsed(GOOD)[1].as_ref().unwrap().line, 3);
    }

    #[test]
    fn every_damage_is_named() {
        for (from, to, message) in [
            ("\"obj_end\": 1}]", "\"obj_end\": 2}]", "span [1, 2] (inclusive) of `obj_start, obj_end` is out of range"),
            ("\"subj_start\": 0", "\"subj_start\": 1", "span [1, 0] (inclusive) of `subj_start, subj_end`"),
            ("\"subj_start\": 0", "\"subj_start\": \"0\"", "`subj_start`: expected a whole number, found text"),
            ("\"no_relation\"", "\"org:founded\"", "unknown relation `org:founded` (did you mean `org:founded_by`?)"),
            ("\"id\": \"e8\", ", "", "missing key `id`; the record has relation, token"),
            ("\"id\": \"e8\", ", "\"id\": \"e8\", \"id\": \"e9\", ", "key `id` is given twice"),
            ("[\"a\", \"b\"]", "\"a b\"", "`token`: expected a list of words, found text"),
            ("[\"a\", \"b\"]", "[\"a\", 1]", "`token`: expected a list of words, found a whole number in it"),
            ("[\"a\", \"b\"]", "[]", "`token` is empty"),
            ("[\"a\", \"b\"]", "[\"a\", \"\\ud83d\"]", "half a surrogate pair"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let records = parsed(&bad);
            assert!(records[0].is_ok());
            let error = records[1].as_ref().unwrap_err().to_string();
            assert!(error.starts_with(&format!("train.json:3: {message}")), "{error}");
        }
    }

    #[test]
    fn a_damaged_list_is_an_error_of_the_whole_file() {
        let bad = GOOD.replacen("},\n{", "}\n{", 1);
        let file = RawFile { path: Path::new("train.json"), bytes: bad.as_bytes(), classes: &[], none: "no_relation" };
        let error = Tacred.parse(&file).unwrap_err().to_string();
        assert_eq!(error, "train.json:3: expected `,` or `]`, found `{`");
    }
}
