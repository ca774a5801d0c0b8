//! Entity spans: counts exact matches of spans, which are read from BIO tags as seqeval's default mode does (an `I-`
//! without its `B-` starts a span).

use std::collections::BTreeSet;

use mkgc_builder::bio::Tag;

use super::counts::Counts;

/// A span: its sentence, its type, its first word, and one past its last word.
pub type Span<'a> = (usize, &'a str, usize, usize);

/// The scores of a set of sentences.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanScores {
    /// Counts summed over the types given, from which micro-F1 follows.
    pub micro: Counts,
    /// Counts per type, in the order given.
    pub per_type: Vec<Counts>,
}

/// Compares BIO tag sequences, sentence by sentence. Only spans of `types` count.
pub fn score(gold: &[Vec<&str>], predicted: &[Vec<&str>], types: &[&str]) -> SpanScores {
    let gold = all_spans(gold);
    let predicted = all_spans(predicted);
    let count = |kind: &&str| Counts {
        correct: gold.intersection(&predicted).filter(|span| span.1 == *kind).count(),
        predicted: predicted.iter().filter(|span| span.1 == *kind).count(),
        gold: gold.iter().filter(|span| span.1 == *kind).count(),
    };
    let per_type: Vec<Counts> = types.iter().map(count).collect();
    SpanScores { micro: per_type.iter().copied().sum(), per_type }
}

/// Returns every span of a list of tag sequences.
pub fn all_spans<'a>(sentences: &[Vec<&'a str>]) -> BTreeSet<Span<'a>> {
    let in_sentence = |(index, tags): (usize, &Vec<&'a str>)| {
        spans(tags).into_iter().map(move |(kind, start, end)| (index, kind, start, end))
    };
    sentences.iter().enumerate().flat_map(in_sentence).collect()
}

/// Returns the spans `(type, start, end)` of a tag sequence.
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
