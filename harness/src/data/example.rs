//! One tokenised row, in a form both tasks share: word pieces, the pieces the head reads, and a gold label for each.

use mkgc_builder::dataset::{Row, RowLabels};
use mkgc_builder::guarded::guarded;
/// Gold label of a word whose tag is not known (see [`crate::config::ReplayO`]).
pub use mkgc_models::heads::UNKNOWN;
use mkgc_models::text::WordTokenizer;

use crate::error::{Error, Result};

/// A tokenised row of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Id of the row in the benchmark, e.g. `train-000123`, by which predictions name it.
    pub id: String,
    /// Word-piece ids with special tokens.
    pub ids: Vec<u32>,
    /// Positions in `ids` that the head reads: RE the two opening markers; NER the first piece of each word kept.
    pub anchors: Vec<u32>,
    /// RE one relation id; NER one tag id per anchor (or [`UNKNOWN`]).
    pub gold: Vec<u32>,
    /// The corpus's own labels, before masking.
    pub original: Vec<u32>,
    /// Words of the row, also those cut off (NER predictions are filled up with `O`).
    pub words: usize,
    /// Task that owns the row.
    pub owner: Option<usize>,
    /// File name of the row's image.
    pub image: Option<String>,
    /// File names of the row's grounding crops.
    pub crops: Vec<String>,
}

impl Example {
    /// Tokenises a row; `max_length` counts pieces, specials and markers.
    ///
    /// # Errors
    /// The mentions need more pieces, or the tokenizer fails. The library behind it panics at some odd `tokenizer.json`.
    pub fn new(row: &Row, tokenizer: &WordTokenizer, max_length: usize) -> Result<Self> {
        let panicked = || {
            let reason = "the tokenizer cannot split it; is the `tokenizer.json` of the encoder one of a BERT?";
            Err(Error::Usage(format!("row `{}`: {reason}", row.id)))
        };
        guarded(|| Self::tokenised(row, tokenizer, max_length)).unwrap_or_else(panicked)
    }

    fn tokenised(row: &Row, tokenizer: &WordTokenizer, max_length: usize) -> Result<Self> {
        let (ids, anchors, gold, original) = match &row.labels {
            RowLabels::Relation { head, tail, relation, original } => {
                let spans = ((head.start, head.end), (tail.start, tail.end));
                let encoding = tokenizer.relation(&row.tokens, spans.0, spans.1, max_length)?;
                let anchors = vec![encoding.head_pos, encoding.tail_pos];
                (encoding.ids, anchors, vec![*relation as u32], vec![*original as u32])
            }
            RowLabels::Entities { tags, original } => {
                let encoding = tokenizer.sentence(&row.tokens, max_length)?;
                let kept = encoding.first_piece.len();
                let cut = |tags: &[usize]| tags.iter().take(kept).map(|tag| *tag as u32).collect();
                (encoding.ids, encoding.first_piece, cut(tags), cut(original))
            }
        };
        let id = row.id.clone();
        let words = row.tokens.len();
        let owner = row.owner_task;
        let image = row.image_id.clone();
        let crops = row.crops.clone();
        Ok(Self { id, ids, anchors, gold, original, words, owner, image, crops })
    }

    /// Returns the row with the corpus's own labels where `allowed` permits them, `None` or `O` (id 0) elsewhere.
    pub fn with_original(mut self, allowed: &[bool]) -> Self {
        self.gold = self.original.iter().map(|label| if allowed[*label as usize] { *label } else { 0 }).collect();
        self
    }

    /// Returns the row with every label that is not `allowed` as `None` or `O`: a protocol may show tags of later
    /// tasks.
    pub fn within(mut self, allowed: &[bool]) -> Self {
        for label in self.gold.iter_mut().filter(|label| !allowed[**label as usize]) {
            *label = 0;
        }
        self
    }

    /// Returns the row with every `O` (id 0) marked [`UNKNOWN`].
    pub fn with_unknown_o(mut self) -> Self {
        for tag in self.gold.iter_mut().filter(|tag| **tag == 0) {
            *tag = UNKNOWN;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entity_beyond_the_limit_is_cut_off_with_its_tags() {
        let tokens: Vec<String> = "a b c d e f".split(' ').map(str::to_owned).collect();
        let tokenizer = WordTokenizer::from_words(tokens.clone()).unwrap();
        let labels = RowLabels::Entities { tags: vec![0, 0, 0, 1, 2, 2], original: vec![3, 0, 0, 1, 2, 2] };
        let id = "test-000000".to_owned();
        let image_id = Some("x.jpg".to_owned());
        let row = Row { id, tokens, owner_task: None, image_id, crops: vec![], labels };
        let example = Example::new(&row, &tokenizer, 6).unwrap();
        assert_eq!((example.ids.len(), example.anchors.as_slice()), (6, [1, 2, 3, 4].as_slice()));
        assert_eq!((example.gold, example.original, example.words), (vec![0, 0, 0, 1], vec![3, 0, 0, 1], 6));
    }

    /// Found by fuzzing: the library loses count of the characters that this pattern, which matches nothing, replaces.
    #[test]
    fn a_tokenizer_that_panics_is_an_error_that_names_the_row() {
        let content = serde_json::json!({
            "version": "1.0", "added_tokens": [], "post_processor": null, "decoder": null,
            "normalizer": {"type": "Replace", "pattern": {"Regex": "^+"}, "content": "a"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4},
                "merges": []},
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs_err::write(&path, content.to_string()).unwrap();
        let tokenizer = WordTokenizer::from_file(&path).unwrap();
        let tokens = ["Ab", "aab", "", "é", "中"].map(str::to_owned).to_vec();
        let labels = RowLabels::Entities { tags: vec![0; 5], original: vec![0; 5] };
        let row = Row { id: "test-000007".to_owned(), tokens, owner_task: None, image_id: None, crops: vec![], labels };
        let error = Example::new(&row, &tokenizer, 12).unwrap_err().to_string();
        assert!(error.contains("`test-000007`: the tokenizer cannot split it"), "{error}");
    }
}
