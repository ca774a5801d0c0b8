//! The format of FewRel (Han et al. 2018, github.com/thunlp/FewRel): one JSON object from each relation to the list of its
//! rows. A row has `tokens`, and for `h` and `t` a list of the mention's name, its Wikidata id, and the indices of its
//! words for each place where it stands.
//!
//! Rows are numbered in the order of the file, over all relations.

use super::json;
use super::raw::{Format, Parsed, RawFile};
use super::relations::{MentionFields, RelationFields};
use super::rows::{Collected, RowFields, RowReader};
use super::sentence::{SentenceFields, WordField};
use super::spans::{SpanEnd, SpanField};
use super::value::{FieldPath, Value};
use crate::error::Result;

/// The key under which a row finds its relation, which is the key of its list in the file.
const RELATION: &str = "relation";

/// The format of FewRel; it has no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FewRel;

impl Format for FewRel {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        let text = json::text(file.bytes).map_err(|damage| damage.at(file.path))?;
        let relations = json::arrays_by_key(text).map_err(|damage| damage.at(file.path))?;
        let fields = RowFields::Relations(fields());
        let reader = RowReader::new(&fields, file);
        let mut records = Collected::default();
        for (relation, pieces) in &relations {
            records.extend(reader.read_pieces(records.len(), pieces, |piece| {
                let mut record = piece.parse()?;
                if let Value::Object(entries) = &mut record {
                    entries.insert(0, (RELATION.to_owned(), Value::Text(relation.clone())));
                }
                Ok(record)
            }));
        }
        reader.finish(records, relations.into_iter().map(|(relation, _)| relation).collect())
    }
}

fn fields() -> RelationFields {
    let mention = |indices, name| MentionFields {
        span: SpanField::One(FieldPath::new(indices)),
        name: Some(FieldPath::new(name)),
    };
    RelationFields {
        sentence: SentenceFields { words: WordField::Tokens(FieldPath::new("tokens")), image: None, id: None },
        head: mention("h.2", "h.0"),
        tail: mention("t.2", "t.0"),
        span_end: SpanEnd::Indices,
        exact_names: false,
        relation: FieldPath::new(RELATION),
        labels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::corpus::types::{Annotation, Relation};

    const GOOD: &str = r#"{"P6": [{"tokens": ["Ann", "Lee", "of", "X"], "h": ["ann lee", "Q1", [[0, 1]]], "t": ["x", "Q2", [[3]]]},
{"tokens": ["a", "b", "a"], "h": ["a", "", [[0], [2]]], "t": ["b", "", [[1]]]}],
"P1": [
{"tokens": ["c", ",", "d"], "h": ["c d", "", [[0, 2]]], "t": ["d", "", [[2]]]}]}
"#;

    fn parsed(text: &str) -> Result<Parsed> {
        FewRel.parse(&RawFile { path: Path::new("train.json"), bytes: text.as_bytes(), classes: &[], none: "none" })
    }

    #[test]
    fn rows_follow_the_file_and_their_list_names_the_relation() {
        for text in [GOOD.to_owned(), GOOD.replace('\n', "\r\n"), format!("\u{feff}{GOOD}")] {
            let parsed = parsed(&text).unwrap();
            assert_eq!(parsed.classes, ["P6", "P1"]);
            assert_eq!(parsed.notes.len(), 2, "{:?}", parsed.notes);
            let rows: Vec<_> = parsed.records.into_iter().map(Result::unwrap).collect();
            assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 2, 4]);
            let Annotation::Relation(relation) = &rows[0].annotation else { panic!() };
            let Relation { head, tail, relation } = &**relation;
            assert_eq!([head.start, head.end, tail.start, tail.end], [0, 2, 3, 4]);
            assert_eq!(&*head.name, "ann lee");
            assert_eq!(relation.as_deref(), Some("P6"));
            let Annotation::Relation(relation) = &rows[2].annotation else { panic!() };
            let Relation { head, relation, .. } = &**relation;
            assert_eq!([head.start, head.end], [0, 3]);
            assert_eq!(relation.as_deref(), Some("P1"));
        }
    }

    #[test]
    fn every_damage_is_named() {
        for (from, to, message) in [
            ("[[1]]", "[[3]]", "train.json:2: span [3, 3] (inclusive) of `t.2` is out of range"),
            ("[[1]]", "1", "train.json:2: `t.2`: expected a list of word indices, found a whole number"),
            ("[[1]]", "[[0]]", "train.json:2: `t.0` is `b`, but the words of its span are `a`"),
            ("[\"b\", \"\", [[1]]]", "{}", "train.json:2: missing key `t.2`"),
            ("\"t\": [\"b\"", "\"h\": [\"b\"", "train.json:2: key `h` is given twice"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let error = parsed(&bad).unwrap().records.remove(1).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (from, to, message) in [
            ("\"P1\"", "\"P6\"", "train.json:3: key `P6` is given twice"),
            ("}]}\n", "}]", "train.json:4: the file ends where `,` or `}` should follow; it is cut off"),
            ("{\"P6\": [", "[", "train.json:1: expected `{`, found `[`"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let error = parsed(&bad).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
