//! Entity spans: exact-match counts over spans read from BIO tags, as seqeval's default mode reads them (an `I-` without
//! its `B-` starts a span).

use std::collections::BTreeSet;

use mkgc_builder::bio::Tag;

use super::Counts;

/// A span: sentence, type, first word, one past the last word.
pub type Span<'a> = (usize, &'a str, usize, usize);

/// Scores of one set of sentences.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanScores {
    /// Counts over all types.
    pub micro: Counts,
    /// Counts per type, in the order given.
    pub per_type: Vec<Counts>,
}

/// Compares BIO tag sequences; only spans of `types` count.
pub fn score(gold: &[Vec<&str>], predicted: &[Vec<&str>], types: &[&str]) -> SpanScores {
    let (gold, predicted) = (all_spans(gold), all_spans(predicted));
    let count = |kind: &&str| {
        let of = |spans: &BTreeSet<Span>| spans.iter().filter(|span| span.1 == *kind).count();
        let correct = gold.intersection(&predicted).filter(|span| span.1 == *kind).count();
        Counts { correct, predicted: of(&predicted), gold: of(&gold) }
    };
    let per_type: Vec<Counts> = types.iter().map(count).collect();
    SpanScores { micro: per_type.iter().copied().sum(), per_type }
}

/// Every span of a list of tag sequences.
pub fn all_spans<'a>(sentences: &[Vec<&'a str>]) -> BTreeSet<Span<'a>> {
    let of = |(index, tags): (usize, &Vec<&'a str>)| {
        spans(tags).into_iter().map(move |(kind, start, end)| (index, kind, start, end))
    };
    sentences.iter().enumerate().flat_map(of).collect()
}

/// The spans `(type, start, end)` of a tag sequence.
pub fn spans<'a>(tags: &[&'a str]) -> Vec<(&'a str, usize, usize)> {
    let mut found: Vec<(&str, usize, usize)> = Vec::new();
    let mut open = false;
    for (word, &tag) in tags.iter().enumerate() {
        let Some(tag @ (Tag::Begin(kind) | Tag::Inside(kind))) = Tag::parse(tag) else {
            open = false;
            continue;
        };
        match found.last_mut() {
            Some(last) if open && tag == Tag::Inside(last.0) => last.2 = word + 1,
            _ => found.push((kind, word, word + 1)),
        }
        open = true;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::spans;

    #[test]
    fn spans_follow_the_conll_reading() {
        let tags = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC", "B-LOC"];
        assert_eq!(spans(&tags), [("PER", 0, 2), ("PER", 2, 3), ("LOC", 3, 4), ("LOC", 5, 6), ("LOC", 6, 7)]);
        assert!(spans(&["O", "O"]).is_empty());
    }
}
