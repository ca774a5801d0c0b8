//! What is predicted for a sentence, and how it is written.

use std::fmt::Write;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::learner::TagConfidence;

/// How predictions are written: as JSON lines or as columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// An object per line, with the fields of [`Labelled`].
    Jsonl,
    /// A line per word with word, tag and the probability of the tag between tabs, and a blank line after each sentence.
    Conll,
}

/// An entity of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entity {
    /// Entity type as the benchmark names it, e.g. `PER`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Index of the first word, from 0.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
    /// Words of the entity, joined by blanks.
    pub text: String,
    /// Probability that these words have their tags.
    pub confidence: Option<f64>,
}

/// What is predicted for a sentence.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Labelled {
    /// The relation between two mentions.
    Relation {
        /// Id that the input gives the sentence, else the number of its line.
        id: String,
        /// Name of the relation between the two mentions, or of "no class".
        prediction: String,
        /// Probability of the relation among the labels seen; none of a method without a network.
        confidence: Option<f64>,
    },
    /// The entities of a sentence.
    Entities {
        /// Id that the input gives the sentence, else the number of its line.
        id: String,
        /// Words of the sentence, each of which has a tag.
        tokens: Vec<String>,
        /// BIO tag of each word.
        prediction: Vec<String>,
        /// Probability of all tags together; none of a method without a network.
        confidence: Option<f64>,
        /// Probability of each word's tag, for the words that the model reads.
        confidences: Vec<f64>,
        /// Entities that the tags mark.
        entities: Vec<Entity>,
    },
}

impl Labelled {
    /// Adds how sure the network is.
    pub(super) fn add_confidence(&mut self, sure: &TagConfidence) {
        let Self::Entities { confidence, confidences, entities, .. } = self else { return };
        *confidence = Some(rounded(sure.path));
        *confidences = sure.words.iter().copied().map(rounded).collect();
        for (entity, span) in entities.iter_mut().zip(&sure.spans) {
            entity.confidence = Some(rounded(*span));
        }
    }

    /// Returns the prediction as text, with the line break at its end.
    ///
    /// # Errors
    /// A word holds a tab or a line break, which columns cannot hold.
    pub fn text(&self, format: OutputFormat) -> Result<String> {
        match (format, self) {
            (OutputFormat::Conll, Self::Entities { tokens, prediction, confidences, .. }) => {
                if let Some(token) = tokens.iter().find(|token| token.contains(['\t', '\n', '\r'])) {
                    let reason =
                        "holds a tab or a line break, which columns cannot hold; leave out --output-format conll";
                    return Err(Error::Usage(format!("the word {token:?} {reason}")));
                }
                let mut text = String::new();
                for (word, (token, tag)) in tokens.iter().zip(prediction).enumerate() {
                    let confidence = confidences.get(word).map(f64::to_string).unwrap_or_default();
                    // Writing to a text does not fail.
                    let _ = writeln!(text, "{token}\t{tag}\t{confidence}");
                }
                text.push('\n');
                Ok(text)
            }
            _ => Ok(serde_json::to_string(self)? + "\n"),
        }
    }
}

/// Returns the share of a label under a softmax over scores.
pub(super) fn probability(scores: &[f32], label: u32) -> f64 {
    let top = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let exp = |score: &f32| (f64::from(*score) - top).exp();
    exp(&scores[label as usize]) / scores.iter().map(exp).sum::<f64>()
}

/// Rounds a probability to six decimals, below which f32 says nothing.
pub(super) fn rounded(probability: f64) -> f64 {
    (probability * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_not_seen_have_no_share() {
        let scores = [1.0, f32::NEG_INFINITY, 1.0 + 3f32.ln()];
        let shares: Vec<f64> = (0..3).map(|label| rounded(probability(&scores, label))).collect();
        assert_eq!(shares, [0.25, 0.0, 0.75]);
    }
}
