//! The network a method trains: encoders, head and variables behind one interface for RE and NER, with or without
//! pictures.

mod encoder;
mod entity;
mod head;
mod items;
mod relation;

pub use encoder::{EncoderSource, TINY};
pub use items::Items;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use candle_core::{DType, Device, Tensor};
use mkgc_builder::corpus::TaskKind;
use mkgc_models::inputs::{Inputs, Visual};
use mkgc_models::mode::Mode;
#[cfg(test)]
use mkgc_models::networks::Encoded;
use mkgc_models::networks::Network;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;
use mkgc_models::text::WordTokenizer;

use crate::config::Config;
use crate::data::{Batch, Example, Pictures};
use crate::error::{Error, Result};
use head::{Head, HeadShape};

/// What the network says about one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// RE one relation id; NER one tag id per anchor.
    pub labels: Vec<u32>,
    /// RE one logit per label, minus infinity for labels not seen; NER empty (a CRF scores paths, not tags).
    pub scores: Vec<f32>,
}

/// What a network says about one row; with two streams, also what each half of its head says alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Of the whole head.
    pub joint: Prediction,
    /// Labels as [`Prediction::labels`], of the text half; empty for networks of one stream.
    pub text: Vec<u32>,
    /// The same of the vision half.
    pub vision: Vec<u32>,
}

impl From<Prediction> for Answer {
    fn from(joint: Prediction) -> Self {
        Self { joint, text: Vec::new(), vision: Vec::new() }
    }
}

/// Which network a method has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// BERT alone.
    Text,
    /// BERT and CLIP side by side, joined in the head; LMC's shared keys where the settings ask for them.
    Dual,
    /// MKGformer: the streams read each other in their upper layers.
    Mkgformer,
}

/// Everything needed to make fresh networks of one shape.
pub struct Blueprint {
    /// RE or NER.
    pub kind: TaskKind,
    /// Number of labels or tags.
    pub labels: usize,
    /// The network's plan.
    pub architecture: Architecture,
    /// Encoder files or built-in shapes.
    pub encoder: EncoderSource,
    /// The text encoder's tokenizer.
    pub tokenizer: WordTokenizer,
    /// The pictures of the benchmark, for architectures that read them.
    pub pictures: Option<Pictures>,
    /// Where tensors live.
    pub device: Device,
    /// Number type of states and products; weights are f32.
    pub dtype: DType,
}

impl Blueprint {
    /// What the vision stream sees: what the pictures are, or, without any, what the settings say.
    fn form(&self, config: &Config) -> Visual {
        self.pictures.as_ref().map_or_else(|| config.visual.form(false), Pictures::form)
    }

    /// Pads rows for a network of this shape, with their pictures if it reads them.
    ///
    /// # Errors
    /// Pictures that cannot be read.
    pub fn batch<'b>(&self, examples: &[&'b Example]) -> Result<Batch<'b>> {
        let mut batch = Batch::new(examples.to_vec(), self.tokenizer.pad_id(), &self.device)?;
        if let Some(pictures) = &self.pictures {
            batch.pixels = Some(pictures.pixels(examples, &self.device)?);
        }
        Ok(batch)
    }

    /// Hands the batch of each plan's rows to `each`, in order and with the rest of the plan, while a thread makes the
    /// next: a GPU does not wait for it.
    ///
    /// # Errors
    /// As [`Blueprint::batch`]; an error of `each`.
    pub fn batches<'b, T: Send>(
        &self,
        plans: Vec<(T, Vec<&'b Example>)>,
        mut each: impl FnMut(T, &Batch<'b>) -> Result<()>,
    ) -> Result<()> {
        let made = plans.into_iter().map(|(plan, rows)| Ok((plan, self.batch(&rows)?)));
        // No room: the thread keeps the one it has made until `each` is done with the one before.
        let (sender, receiver) = mpsc::sync_channel(0);
        thread::scope(|scope| {
            scope.spawn(move || made.map(|made| sender.send(made)).all(|sent| sent.is_ok()));
            receiver.into_iter().try_for_each(|made: Result<_>| made.and_then(|(plan, batch)| each(plan, &batch)))
        })
    }
}

/// Encoders with a head.
pub struct Learner {
    blueprint: Rc<Blueprint>,
    store: ParamStore,
    network: Network,
    head: Head,
}

/// What a forward pass gives.
pub struct Forward {
    /// What the classifier reads: RE `[B, F]`, NER `[B, W, F]`.
    pub features: Tensor,
    /// The same without a joint head's own dropout: what [`Learner::stream_scores`] asks each stream about in training.
    pub undropped: Tensor,
    /// Attention logits of the text layers that share keys, `[B, heads, T, T]` each.
    pub text_maps: Vec<Tensor>,
    /// The same of the vision layers, `[B, heads, V, V]`.
    pub vision_maps: Vec<Tensor>,
}

impl Learner {
    /// A network with pre-trained or seeded weights; the head is always seeded.
    pub fn new(blueprint: &Rc<Blueprint>, config: &Config, seed: u64) -> Result<Self> {
        let encoder = &blueprint.encoder;
        let store = encoder.store(seed, &blueprint.device)?;
        let builder = store.builder();
        let vocabulary = blueprint.tokenizer.vocab_size();
        let seen = (config, blueprint.form(config));
        let network = encoder.network(blueprint.architecture, vocabulary, seen, builder.clone())?;
        let (labels, dropout) = (blueprint.labels, config.head_dropout);
        let shape = HeadShape { streams: encoder.widths(), labels, dropout, reads: config.head };
        let head = Head::new(blueprint.kind, blueprint.architecture, &shape, builder.pp("head"))?;
        encoder.check_pretrained(&store)?;
        Ok(Self { blueprint: Rc::clone(blueprint), store, network, head })
    }

    /// The named variables.
    pub fn params(&self) -> &ParamStore {
        &self.store
    }

    /// RE or NER.
    pub fn kind(&self) -> TaskKind {
        self.blueprint.kind
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.blueprint.device
    }

    /// A fresh optimiser over all variables, each group with its own rate.
    pub fn optimiser(&self, config: &Config) -> Result<AdamW> {
        self.optimiser_with(config, Vec::new())
    }

    /// The same with further groups for variables outside the network.
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

    /// As [`Blueprint::batch`].
    pub fn batch<'b>(&self, examples: &[&'b Example]) -> Result<Batch<'b>> {
        self.blueprint.batch(examples)
    }

    /// Hands batches over as [`Blueprint::batches`] does.
    ///
    /// # Errors
    /// As there.
    pub fn batches<'b, T: Send>(
        &self,
        plans: Vec<(T, Vec<&'b Example>)>,
        each: impl FnMut(T, &Batch<'b>) -> Result<()>,
    ) -> Result<()> {
        self.blueprint.batches(plans, each)
    }

    fn inputs<'b>(&self, batch: &'b Batch) -> Inputs<'b> {
        let pixels = batch.pixels.as_ref();
        Inputs { ids: &batch.ids, mask: &batch.mask, pixels, dtype: self.blueprint.dtype }
    }

    /// Returns all states of the encoders.
    #[cfg(test)]
    pub(crate) fn encoded(&self, batch: &Batch, mode: &mut Mode<'_>) -> Result<Encoded> {
        Ok(self.network.forward(&self.inputs(batch), mode)?)
    }

    /// Encoders and the head's features.
    pub fn forward(&self, batch: &Batch, mode: &mut Mode<'_>) -> Result<Forward> {
        let encoded = self.network.read(&self.inputs(batch), &self.head.positions(batch)?, mode)?;
        let features = self.head.features(&encoded, batch, mode)?;
        let undropped = match mode {
            Mode::Train(_) if self.head.joint() => self.head.features(&encoded, batch, &mut Mode::Eval)?,
            _ => features.clone(),
        };
        Ok(Forward { features, undropped, text_maps: encoded.text_maps, vision_maps: encoded.vision_maps })
    }

    /// RE logits `[B, L]`, NER emissions `[B, W, L]` of features.
    pub fn scores(&self, features: &Tensor) -> Result<Tensor> {
        self.head.scores(features)
    }

    /// The scores of the text and the vision half of a joint head.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let scores = self.head.stream_scores(features)?;
        scores.ok_or_else(|| Error::Usage("this network has no joint head, so no scores of single streams".to_owned()))
    }

    /// The text's scores with the bracket of LMC's released code (see `methods::lmc`).
    pub(crate) fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        let scores = self.head.bracketed_text_scores(features)?;
        scores.ok_or_else(|| Error::Usage("only a joint relation head has such scores".to_owned()))
    }

    /// Mean loss of scores over labels with `allowed`, a scalar.
    pub fn task_loss(&self, scores: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
        match self.head.crf() {
            Some(crf) => entity::loss(crf, scores, batch, allowed),
            None => relation::loss(scores, batch, allowed),
        }
    }

    /// Best label (RE) or tag path (NER) per row among `allowed`, by scores.
    pub fn decide(&self, scores: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
        match self.head.crf() {
            Some(crf) => entity::predict(crf, scores, batch, allowed),
            None => relation::predict(scores, allowed),
        }
    }

    /// Mean loss of a batch over labels with `allowed`, a scalar.
    pub fn loss(&self, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let forward = self.forward(batch, mode)?;
        self.task_loss(&self.scores(&forward.features)?, batch, allowed)
    }

    /// Best label (RE) or tag path (NER) per row among `allowed`.
    pub fn predict(&self, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
        let forward = self.forward(batch, &mut Mode::Eval)?;
        self.decide(&self.scores(&forward.features)?, batch, allowed)
    }

    /// Does the head join two streams, so that [`Learner::stream_scores`] tells them apart?
    pub fn two_streams(&self) -> bool {
        self.blueprint.architecture == Architecture::Dual
    }

    /// As [`Learner::predict`], with what the text and the vision half of a joint head say alone, from one forward pass.
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

    /// The items of rows whose label `keep` accepts, without dropout; None if there are none.
    pub fn items(&self, batch: &Batch, keep: impl Fn(u32) -> bool) -> Result<Option<Items>> {
        Items::of(self.kind(), &self.forward(batch, &mut Mode::Eval)?.features, batch, keep)
    }
}

/// Parameter group of a variable and its learning rate.
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
