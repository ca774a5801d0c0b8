//! Spans of words as corpora write them: as a pair, an object, two fields, or a list of indices; half-open or inclusive.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sentence::{Field, wrong};
use super::value::{FieldPath, Value};
use crate::corpus::words::Words;

/// What the numbers of a span mean. Every index is 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanEnd {
    /// The first word, and one past the last.
    Exclusive,
    /// The first word, and the last.
    Inclusive,
    /// Every word; or several lists of them, one for each place where the mention stands, of which the first counts.
    Indices,
}

/// Where a record has the span of a mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SpanField {
    /// A field with both numbers (as a list, or as an object with the keys `start` and `end`) or with indices.
    One(FieldPath),
    /// A field with the first number, and one with the second.
    Two(FieldPath, FieldPath),
}

/// The words of a mention.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<usize>,
    /// The words, if the corpus lists each: they may leave some of the range out.
    listed: Option<Vec<usize>>,
}

impl Span {
    /// Returns the text of the words that the corpus marks.
    pub(super) fn text(&self, words: &Words) -> String {
        let listed = |indices: &Vec<usize>| joined(words, indices.iter().copied());
        self.listed.as_ref().map_or_else(|| joined(words, self.range.clone()), listed)
    }
}

/// Joins words of a sentence by blanks.
pub(super) fn joined(words: &Words, indices: impl Iterator<Item = usize>) -> String {
    // Finding each word from the start would take hours for a mention of a million words.
    let words: Vec<&str> = words.iter().collect();
    indices.filter_map(|index| words.get(index).copied()).collect::<Vec<_>>().join(" ")
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { range, listed: None }
    }
}

/// Counts what was read otherwise than the letter of the corpus says. Rows are read in parallel, so the counts are
/// atomic; sums do not depend on the order.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Lists of indices that leave words out between the first and the last.
    gaps: AtomicUsize,
    /// Mentions that stand in several places.
    repeated: AtomicUsize,
}

impl Tally {
    /// Returns what was counted, as sentences for the summary.
    pub(super) fn notes(&self) -> Vec<String> {
        let gaps = self.gaps.load(Ordering::Relaxed);
        let repeated = self.repeated.load(Ordering::Relaxed);
        let gap = |n| format!("{n} mentions with gaps between their words were read from the first word to the last");
        let repeat = |n| format!("of {n} mentions that are marked in several places, the first place was read");
        [(gaps > 0).then(|| gap(gaps)), (repeated > 0).then(|| repeat(repeated))].into_iter().flatten().collect()
    }
}

impl SpanField {
    /// Reads the span of a mention in a sentence of `words` words.
    pub(super) fn read(&self, record: &Value, end: SpanEnd, words: usize, tally: &Tally) -> Field<Span> {
        match self {
            Self::One(path) => {
                let value = path.find(record)?;
                match end {
                    SpanEnd::Indices => indices(path, value, words, tally),
                    end => Ok(between(&path.0, pair(path, value)?, end, words)?.into()),
                }
            }
            Self::Two(start, last) => {
                let pair = [whole(start, start.find(record)?)?, whole(last, last.find(record)?)?];
                Ok(between(&format!("{}, {}", start.0, last.0), pair, end, words)?.into())
            }
        }
    }

    /// Returns the fields that are read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        let (first, second) = match self {
            Self::One(path) => (path, None),
            Self::Two(start, end) => (start, Some(end)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Returns the whole number that a field has.
pub(super) fn whole(path: &FieldPath, value: &Value) -> Field<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(wrong(path, "a whole number", other)),
    }
}

/// Reads a list of two numbers, or an object with the keys `start` and `end`.
fn pair(path: &FieldPath, value: &Value) -> Field<[i64; 2]> {
    match value {
        Value::List(items) => match items.as_slice() {
            [Value::Int(start), Value::Int(end)] => Ok([*start, *end]),
            _ => Err(format!("`{}`: expected a span of two whole numbers", path.0)),
        },
        Value::Object(_) => {
            let number = |key: &str| {
                let inner = FieldPath(format!("{}.{key}", path.0));
                whole(&inner, FieldPath::new(key).find(value).map_err(|reason| format!("`{}`: {reason}", path.0))?)
            };
            Ok([number("start")?, number("end")?])
        }
        other => Err(wrong(path, "a span of two whole numbers", other)),
    }
}

/// Makes a half-open range of the two numbers of a span.
pub(super) fn between(place: &str, [start, last]: [i64; 2], end: SpanEnd, words: usize) -> Field<Range<usize>> {
    let past = if end == SpanEnd::Inclusive { last.checked_add(1) } else { Some(last) };
    match (usize::try_from(start), past.and_then(|past| usize::try_from(past).ok())) {
        (Ok(start), Some(past)) if start < past && past <= words => Ok(start..past),
        (Ok(first), Some(past)) => {
            let kind = if end == SpanEnd::Inclusive { " (inclusive)" } else { "" };
            let wrong = if first >= past {
                "is empty: it ends before its first word".to_owned()
            } else {
                format!("is out of range: the sentence has {words} words (spans count words, not characters)")
            };
            Err(format!("span [{start}, {last}]{kind} of `{place}` {wrong}"))
        }
        _ => Err(format!("span [{start}, {last}] of `{place}` is out of range: words are counted from 0")),
    }
}

/// Reads a list of the indices of a mention's words, or several of them.
fn indices(path: &FieldPath, value: &Value, words: usize, tally: &Tally) -> Field<Span> {
    let expected = || format!("`{}`: expected a list of word indices", path.0);
    let Value::List(items) = value else { return Err(wrong(path, "a list of word indices", value)) };
    let first = match items.as_slice() {
        [Value::List(first), rest @ ..] => {
            tally.repeated.fetch_add(usize::from(!rest.is_empty()), Ordering::Relaxed);
            first
        }
        _ => items,
    };
    let numbers: Vec<i64> = first.iter().map(|item| whole(path, item)).collect::<Field<_>>()?;
    let (Some(&start), Some(&last)) = (numbers.iter().min(), numbers.iter().max()) else { return Err(expected()) };
    let range = between(&path.0, [start, last], SpanEnd::Inclusive, words)?;
    tally.gaps.fetch_add(usize::from(range.len() != numbers.len()), Ordering::Relaxed);
    let listed = numbers.iter().filter_map(|number| usize::try_from(*number).ok()).collect();
    Ok(Span { range, listed: Some(listed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, end: SpanEnd, tally: &Tally) -> Field<Range<usize>> {
        let record = serde_json::from_str(json).unwrap();
        SpanField::One(FieldPath::new("s")).read(&record, end, 3, tally).map(|span| span.range)
    }

    #[test]
    fn spans_are_pairs_objects_or_indices() {
        let tally = Tally::default();
        for (json, end, range) in [
            (r#"{"s": [0, 2]}"#, SpanEnd::Exclusive, 0..2),
            (r#"{"s": [0, 2]}"#, SpanEnd::Inclusive, 0..3),
            (r#"{"s": {"start": 1, "end": 2}}"#, SpanEnd::Exclusive, 1..2),
            (r#"{"s": [[0, 1]]}"#, SpanEnd::Indices, 0..2),
            (r#"{"s": [1]}"#, SpanEnd::Indices, 1..2),
            (r#"{"s": [[2], [0]]}"#, SpanEnd::Indices, 2..3),
            (r#"{"s": [[2, 0]]}"#, SpanEnd::Indices, 0..3),
        ] {
            assert_eq!(read(json, end, &tally), Ok(range), "{json}");
        }
        assert_eq!(tally.notes().len(), 2);
        assert!(tally.notes()[0].starts_with("1 mentions with gaps"));
        let record = serde_json::from_str(r#"{"from": 1, "h": {"to": 2}}"#).unwrap();
        let two = SpanField::Two(FieldPath::new("from"), FieldPath::new("h.to"));
        assert_eq!(two.read(&record, SpanEnd::Inclusive, 3, &tally), Ok((1..3).into()));
        assert_eq!(
            two.read(&record, SpanEnd::Inclusive, 2, &tally),
            Err("span [1, 2] (inclusive) of `from, h.to` is out of range: the sentence has 2 words (spans count words, not \
                 characters)"
                .to_owned())
        );
    }

    #[test]
    fn damaged_spans_are_refused() {
        for (json, end, message) in [
            ("{}", SpanEnd::Exclusive, "missing key `s`"),
            (r#"{"s": [0, 4]}"#, SpanEnd::Exclusive, "span [0, 4] of `s` is out of range: the sentence has 3 words"),
            (r#"{"s": [0, 3]}"#, SpanEnd::Inclusive, "span [0, 3] (inclusive) of `s` is out of range"),
            (r#"{"s": [1, 1]}"#, SpanEnd::Exclusive, "span [1, 1] of `s` is empty: it ends before its first word"),
            (r#"{"s": [2, 1]}"#, SpanEnd::Inclusive, "span [2, 1] (inclusive) of `s` is empty"),
            (r#"{"s": [-1, 1]}"#, SpanEnd::Exclusive, "span [-1, 1] of `s` is out of range"),
            (r#"{"s": [0, 9223372036854775807]}"#, SpanEnd::Inclusive, "span [0, 9223372036854775807]"),
            (r#"{"s": [0, 1.0]}"#, SpanEnd::Exclusive, "`s`: expected a span of two whole numbers"),
            (r#"{"s": [[0, 1]]}"#, SpanEnd::Exclusive, "`s`: expected a span of two whole numbers"),
            (r#"{"s": "0"}"#, SpanEnd::Exclusive, "`s`: expected a span of two whole numbers, found text"),
            (r#"{"s": {"start": 0}}"#, SpanEnd::Exclusive, "`s`: missing key `end`"),
            (r#"{"s": {"start": 0, "end": "1"}}"#, SpanEnd::Exclusive, "`s.end`: expected a whole number, found text"),
            (r#"{"s": []}"#, SpanEnd::Indices, "`s`: expected a list of word indices"),
            (r#"{"s": [[]]}"#, SpanEnd::Indices, "`s`: expected a list of word indices"),
            (r#"{"s": [[0, "1"]]}"#, SpanEnd::Indices, "`s`: expected a whole number, found text"),
            (r#"{"s": [[3]]}"#, SpanEnd::Indices, "span [3, 3] (inclusive) of `s` is out of range"),
        ] {
            let error = read(json, end, &Tally::default()).unwrap_err();
            assert!(error.starts_with(message), "{json}: {error}");
        }
    }
}
