//! Where the encoders come from: Hugging Face folders, or small built-in shapes with seeded weights.

use std::path::PathBuf;

use candle_core::Device;
use candle_nn::VarBuilder;
use mkgc_builder::guarded::guarded;
use mkgc_models::encoders::{Bert, BertConfig, ClipVisionConfig};
use mkgc_models::heads::StreamSizes;
use mkgc_models::inputs::Visual;
use mkgc_models::networks::{Dual, DualConfig, Mkgformer, MkgformerConfig, Network};
use mkgc_models::params::ParamStore;
use mkgc_models::pretrained::{TextFiles, VisionFiles};
use mkgc_models::text::WordTokenizer;

use super::Architecture;
use crate::config::Config;
use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::run::record::EncoderRecord;

/// Name that selects a built-in encoder instead of a folder or a repository.
pub const TINY: &str = "tiny";

/// Shapes and weights of the text encoder and, for multimodal methods, the vision encoder.
pub struct EncoderSource {
    text: BertConfig,
    vision: Option<ClipVisionConfig>,
    /// Files of the text encoder's weights; none for seeded ones.
    text_weights: Vec<PathBuf>,
    /// Files of the vision encoder's weights; none for seeded ones.
    vision_weights: Vec<PathBuf>,
}

/// Opens files of the encoder `name`, whose tokenizer may be one at which the library behind it panics.
///
/// # Errors
/// The library panics; what `open` fails for.
pub fn opened<T>(name: &str, open: impl FnOnce() -> mkgc_models::error::Result<T>) -> Result<T> {
    let reason = "its `tokenizer.json` is damaged, or not one of a BERT";
    Ok(guarded(open).ok_or_else(|| Error::Usage(format!("encoder {name}: {reason}")))??)
}

impl EncoderSource {
    /// Describes encoders of these shapes with seeded weights.
    pub fn seeded(text: BertConfig, vision: Option<ClipVisionConfig>) -> Self {
        Self { text, vision, text_weights: Vec::new(), vision_weights: Vec::new() }
    }

    /// Opens `tiny`, a folder with `config.json`, `tokenizer.json` and `model.safetensors`, or a repository of the
    /// Hugging Face hub; the record says which files these are.
    pub fn open(name: &str, benchmark: &Benchmark) -> Result<(Self, WordTokenizer, EncoderRecord)> {
        if name == TINY {
            let tokenizer = WordTokenizer::from_words(benchmark.training_words()?)?;
            return Ok((Self::seeded(tiny_text(), None), tokenizer, EncoderRecord::built_in(name)));
        }
        let files = opened(name, || TextFiles::open(name))?;
        let record = EncoderRecord::new(name, &files.files)?;
        let source = Self { text_weights: files.files.weights, ..Self::seeded(files.config, None) };
        Ok((source, files.tokenizer, record))
    }

    /// Adds a vision encoder: `tiny` (as wide and deep as the text encoder), a folder or a repository with a CLIP
    /// model.
    pub fn open_vision(&mut self, name: &str) -> Result<EncoderRecord> {
        if name == TINY {
            self.vision = Some(tiny_vision(&self.text));
            return Ok(EncoderRecord::built_in(name));
        }
        let files = VisionFiles::open(name)?;
        let record = EncoderRecord::new(name, &files.files)?;
        self.vision = Some(files.config);
        self.vision_weights = files.files.weights;
        Ok(record)
    }

    /// Returns the side of the vision encoder's input in pixels; none without a vision encoder.
    pub fn image_size(&self) -> Option<usize> {
        self.vision.as_ref().map(|vision| vision.image_size)
    }

    /// Returns the longest text that the text encoder reads, in word pieces.
    pub fn positions(&self) -> usize {
        self.text.max_position_embeddings
    }

    /// Returns the hidden sizes of text and vision (0 without a vision encoder).
    pub(super) fn widths(&self) -> StreamSizes {
        let vision = self.vision.as_ref().map_or(0, |vision| vision.hidden_size);
        StreamSizes { text: self.text.hidden_size, vision }
    }

    /// Returns the shapes, with room for a vocabulary.
    pub fn configs(&self, vocabulary: usize) -> (BertConfig, Option<ClipVisionConfig>) {
        let vocab_size = vocabulary.max(self.text.vocab_size);
        (BertConfig { vocab_size, ..self.text.clone() }, self.vision.clone())
    }

    /// Makes a store of variables that take the pre-trained values when the network asks for them.
    pub fn store(&self, seed: u64, device: &Device) -> Result<ParamStore> {
        let mut store = ParamStore::new(seed, device.clone());
        for files in [&self.text_weights, &self.vision_weights] {
            store = store.with_shards(files)?;
        }
        Ok(store)
    }

    /// Makes the network over these encoders.
    pub(super) fn network(
        &self,
        architecture: Architecture,
        vocabulary: usize,
        (config, visual): (&Config, Visual),
        vb: VarBuilder<'static>,
    ) -> Result<Network> {
        let (text, vision) = self.configs(vocabulary);
        let vision = || vision.ok_or_else(|| Error::Usage("this network needs a vision encoder".to_owned()));
        Ok(match architecture {
            Architecture::Text => Network::Text(Bert::new(&text, vb)?),
            Architecture::Dual => {
                let shared_layers = config.shared_layers;
                let key = config.key;
                let max_text = config.max_length;
                let vision = vision()?;
                Network::Dual(Dual::new(&DualConfig { text, vision, visual, shared_layers, key, max_text }, vb)?)
            }
            Architecture::Mkgformer => {
                let interaction_layers = config.interaction_layers;
                let mask_text_padding = config.mask_text_padding;
                let config = MkgformerConfig { text, vision: vision()?, visual, interaction_layers, mask_text_padding };
                Network::Mkgformer(Mkgformer::new(&config, vb)?)
            }
        })
    }

    /// Checks that given weights hold every variable of the encoders.
    pub fn check_pretrained(&self, store: &ParamStore) -> Result<()> {
        let text = &self.text_weights;
        for (prefix, weights) in
            [("embeddings.", text), ("encoder.layer.", text), ("vision_model.", &self.vision_weights)]
        {
            if !weights.is_empty() {
                store.require_pretrained(prefix)?;
            }
        }
        Ok(())
    }
}

fn tiny_text() -> BertConfig {
    BertConfig {
        vocab_size: 0,
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 128,
        max_position_embeddings: 128,
        ..BertConfig::default()
    }
}

/// Returns a vision encoder with width, depth and heads of the text encoder, so that the streams can share keys, for
/// 32-pixel pictures in four patches.
fn tiny_vision(text: &BertConfig) -> ClipVisionConfig {
    ClipVisionConfig {
        hidden_size: text.hidden_size,
        intermediate_size: text.intermediate_size,
        num_hidden_layers: text.num_hidden_layers,
        num_attention_heads: text.num_attention_heads,
        image_size: 32,
        patch_size: 16,
        ..ClipVisionConfig::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Found by fuzzing: the library cuts the prefix off a token that is shorter.
    #[test]
    fn a_tokenizer_that_panics_when_it_is_read_is_an_error_that_names_the_encoder() {
        let content = serde_json::json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "model": {"type": "BPE", "unk_token": "[UNK]", "continuing_subword_prefix": "######",
                "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "ab": 6}, "merges": [["a", "b"]]},
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs_err::write(&path, content.to_string()).unwrap();
        let error = opened("odd", || WordTokenizer::from_file(&path)).err().unwrap().to_string();
        assert_eq!(error, "encoder odd: its `tokenizer.json` is damaged, or not one of a BERT");
    }
}
