//! The network a method trains: encoders, head and variables behind one interface for RE and NER, with or without
//! pictures.

mod architecture;
mod encoder;
mod entity;
mod head;
mod items;
mod prediction;
mod relation;
mod spec;

pub use architecture::Architecture;
pub use encoder::{EncoderSource, TINY, opened};
pub use entity::TagConfidence;
pub use items::Items;
pub use prediction::{Answer, Prediction};
pub use spec::LearnerSpec;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::inputs::Inputs;
use mkgc_models::mode::Mode;
#[cfg(test)]
use mkgc_models::networks::Encoded;
use mkgc_models::networks::Network;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::{Error, Result};
use crate::run::checkpoint::State;
use head::{Head, HeadShape};

/// A network: encoders, a head and their variables.
pub struct Learner {
    spec: Rc<LearnerSpec>,
    store: ParamStore,
    network: Network,
    head: Head,
}

/// The results of a forward pass.
pub struct Forward {
    /// What the classifier reads: RE `[B, F]`, NER `[B, W, F]`.
    pub features: Tensor,
    /// Features without a joint head's own dropout, for [`Learner::stream_scores`] during training.
    pub undropped: Tensor,
    /// Attention logits of the text layers that share keys, `[B, heads, T, T]` each.
    pub text_maps: Vec<Tensor>,
    /// Attention logits of the vision layers that share keys, `[B, heads, V, V]` each.
    pub vision_maps: Vec<Tensor>,
}

impl Learner {
    /// Makes a network with pre-trained or seeded weights; the head is always seeded.
    ///
    /// # Errors
    /// Settings that no network of this shape can have; weights that lack a variable.
    pub fn new(spec: &Rc<LearnerSpec>, config: &Config, seed: u64) -> Result<Self> {
        let learner = Self::over(spec, config, spec.encoder.store(seed, &spec.device)?)?;
        spec.encoder.check_pretrained(&learner.store)?;
        Ok(learner)
    }

    /// Makes a network whose variables all have their values from safetensors files.
    ///
    /// # Errors
    /// Settings that no network of this shape can have; a variable that no file holds, or in another shape.
    pub fn saved(spec: &Rc<LearnerSpec>, config: &Config, files: &[PathBuf]) -> Result<Self> {
        let mut store = ParamStore::new(0, spec.device.clone());
        for path in files {
            store = store.with_pretrained(path)?;
        }
        let learner = Self::over(spec, config, store)?;
        learner.store.require_pretrained("")?;
        Ok(learner)
    }

    /// Makes a network of the variables of a store.
    fn over(spec: &Rc<LearnerSpec>, config: &Config, store: ParamStore) -> Result<Self> {
        let builder = store.builder();
        let vocabulary = spec.tokenizer.vocab_size();
        let seen = (config, spec.visual_form(config));
        let network = spec.encoder.network(spec.architecture, vocabulary, seen, builder.clone())?;
        let labels = spec.labels;
        let dropout = config.head_dropout;
        let shape = HeadShape { streams: spec.encoder.widths(), labels, dropout, reads: config.head };
        let head = Head::new(spec.kind, spec.architecture, &shape, builder.pp("head"))?;
        Ok(Self { spec: Rc::clone(spec), store, network, head })
    }

    /// Returns the variables of network and head by name.
    pub fn params(&self) -> &ParamStore {
        &self.store
    }

    /// Returns the network's variables for a checkpoint.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn state(&self) -> Result<State> {
        Ok(State { tensors: self.store.tensors()? })
    }

    /// Sets the network's variables to those of a checkpoint.
    ///
    /// # Errors
    /// The checkpoint is of another network.
    pub fn restore(&self, state: &State) -> Result<()> {
        Ok(self.store.load(&state.network())?)
    }

    /// Returns whether the network extracts relations or entities.
    pub fn kind(&self) -> Extraction {
        self.spec.kind
    }

    /// Returns the device that tensors are on.
    pub fn device(&self) -> &Device {
        &self.spec.device
    }

    /// Makes an optimiser over all variables, its moments at zero, each parameter group with its own rate.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn optimiser(&self, config: &Config) -> Result<AdamW> {
        self.optimiser_with(config, Vec::new())
    }

    /// Makes an optimiser over all variables and over `further` groups of variables outside the network.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn optimiser_with(&self, config: &Config, further: Vec<ParamGroup>) -> Result<AdamW> {
        let mut groups: BTreeMap<&str, ParamGroup> = BTreeMap::new();
        for (name, var) in self.store.vars() {
            let (group, lr) = group_of(&name, config);
            let new = || ParamGroup { name: group.to_owned(), vars: vec![], lr, weight_decay: config.weight_decay };
            groups.entry(group).or_insert_with(new).vars.push((name, var));
        }
        let groups = groups.into_values().chain(further).collect();
        Ok(AdamW::new(groups, AdamWConfig::default())?.clipping_apart(config.clip_apart))
    }

    /// Pads rows into a batch for this network, with their pictures if it reads them.
    ///
    /// # Errors
    /// Pictures that cannot be read.
    pub fn batch<'b>(&self, examples: &[&'b Example]) -> Result<Batch<'b>> {
        self.spec.batch(examples)
    }

    /// Prepares batches on a background thread (see [`LearnerSpec::batches`]).
    ///
    /// # Errors
    /// Pictures that cannot be read; an error of `each`.
    pub fn batches<'b, T: Send>(
        &self,
        plans: Vec<(T, Vec<&'b Example>)>,
        each: impl FnMut(T, &Batch<'b>) -> Result<()>,
    ) -> Result<()> {
        self.spec.batches(plans, each)
    }

    fn inputs<'b>(&self, batch: &'b Batch) -> Inputs<'b> {
        let pixels = batch.pixels.as_ref();
        Inputs { ids: &batch.ids, mask: &batch.mask, pixels, dtype: self.spec.dtype }
    }

    /// Returns all states of the encoders.
    #[cfg(test)]
    pub(crate) fn encoded(&self, batch: &Batch, mode: &mut Mode<'_>) -> Result<Encoded> {
        Ok(self.network.forward(&self.inputs(batch), mode)?)
    }

    /// Runs the encoders and computes the head's features.
    ///
    /// # Errors
    /// A batch without pictures for a network that reads them.
    pub fn forward(&self, batch: &Batch, mode: &mut Mode<'_>) -> Result<Forward> {
        let encoded = self.network.read(&self.inputs(batch), &self.head.positions(batch)?, mode)?;
        let features = self.head.features(&encoded, batch, mode)?;
        let undropped = match mode {
            Mode::Train(_) if self.head.joint() => self.head.features(&encoded, batch, &mut Mode::Eval)?,
            _ => features.clone(),
        };
        Ok(Forward { features, undropped, text_maps: encoded.text_maps, vision_maps: encoded.vision_maps })
    }

    /// Scores features: relations logits `[B, L]`, entities emissions `[B, W, L]`.
    ///
    /// # Errors
    /// Features of another shape.
    pub fn scores(&self, features: &Tensor) -> Result<Tensor> {
        self.head.scores(features)
    }

    /// Scores the text and the vision half of the features of a joint head, each alone.
    ///
    /// # Errors
    /// A head that joins no streams.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let scores = self.head.stream_scores(features)?;
        scores.ok_or_else(|| Error::Usage("this network has no joint head, so no scores of single streams".to_owned()))
    }

    /// Scores the text half with the bracket of LMC's released code (see `methods::lmc`).
    pub(crate) fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        let scores = self.head.bracketed_text_scores(features)?;
        scores.ok_or_else(|| Error::Usage("only a joint relation head has such scores".to_owned()))
    }

    /// Computes the mean loss of scores, a scalar; only `allowed` labels compete.
    ///
    /// # Errors
    /// Scores of another shape.
    pub fn task_loss(&self, scores: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
        match self.head.crf() {
            Some(crf) => entity::loss(crf, scores, batch, allowed),
            None => relation::loss(scores, batch, allowed),
        }
    }

    /// Chooses the best label (relations) or tag path (entities) of each row among `allowed`, by scores.
    ///
    /// # Errors
    /// Scores of another shape.
    pub fn decide(&self, scores: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
        match self.head.crf() {
            Some(crf) => entity::predict(crf, scores, batch, allowed),
            None => relation::predict(scores, allowed),
        }
    }

    /// Returns how sure an entity network is of a row's tags, given its scores `[B, W, L]`; none for relations, whose
    /// scores say it.
    ///
    /// # Errors
    /// Scores of another shape.
    pub fn tag_confidence(
        &self,
        scores: &Tensor,
        row: usize,
        tags: &[u32],
        spans: &[Range<usize>],
        allowed: &[bool],
    ) -> Result<Option<TagConfidence>> {
        let Some(crf) = self.head.crf() else { return Ok(None) };
        Ok(Some(entity::confidence(crf, &scores.get(row)?, tags, spans, allowed)?))
    }

    /// Computes the mean loss of a batch, a scalar; only `allowed` labels compete.
    ///
    /// # Errors
    /// Returns the errors of [`Learner::forward`].
    pub fn loss(&self, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let forward = self.forward(batch, mode)?;
        self.task_loss(&self.scores(&forward.features)?, batch, allowed)
    }

    /// Returns whether the head joins two streams, so that [`Learner::stream_scores`] can score each alone.
    pub fn two_streams(&self) -> bool {
        self.spec.architecture == Architecture::Dual
    }

    /// Predicts a batch and what the text and the vision half of a joint head predict alone, from one forward pass.
    ///
    /// # Errors
    /// A head that joins no streams.
    pub fn answer(&self, batch: &Batch, allowed: &[bool]) -> Result<Vec<Answer>> {
        let features = self.forward(batch, &mut Mode::Eval)?.features;
        let (text, vision) = self.stream_scores(&features)?;
        let decide = |scores: &Tensor| self.decide(scores, batch, allowed);
        let halves = decide(&text)?.into_iter().zip(decide(&vision)?);
        let joined = decide(&self.scores(&features)?)?.into_iter().zip(halves);
        Ok(joined.map(|(joint, (text, vision))| Answer { joint, text: text.labels, vision: vision.labels }).collect())
    }

    /// Computes the features of the items whose label `keep` accepts, without dropout; none if there are no such items.
    ///
    /// # Errors
    /// Returns the errors of [`Learner::forward`].
    pub fn items(&self, batch: &Batch, keep: impl Fn(u32) -> bool) -> Result<Option<Items>> {
        Items::select(self.kind(), &self.forward(batch, &mut Mode::Eval)?.features, batch, keep)
    }
}

/// Returns the parameter group of a variable and its learning rate.
///
/// The feature layer of a relation head, `head.dense` and `head.norm`, belongs to the encoder, as in RP-CRE's and ACA's
/// code: it makes the features that prototypes, k-means and the memory network work on.
fn group_of(name: &str, config: &Config) -> (&'static str, f64) {
    let feature_layer = ["head.dense.", "head.norm."].iter().any(|layer| name.starts_with(layer));
    if name.starts_with("head.") && !feature_layer {
        ("head", config.lr_head)
    } else if name.starts_with("shared.") {
        ("key", config.lr_key)
    } else if name.contains(".position_bias.") {
        ("bias", config.lr_bias)
    } else {
        ("encoder", config.lr_encoder)
    }
}
