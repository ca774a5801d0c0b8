//! The network a method trains: encoder, head and optimiser behind one interface for RE and NER.

mod encoder;
mod entity;
mod relation;

pub use encoder::{EncoderSource, TINY};

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::TaskKind;
use mkgc_models::bert::Bert;
use mkgc_models::heads::entity::EntityHead;
use mkgc_models::heads::relation::RelationHead;
use mkgc_models::mode::Mode;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;
use mkgc_models::tokenize::WordTokenizer;

use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::Result;

/// What the network says about one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// RE one relation id; NER one tag id per anchor.
    pub labels: Vec<u32>,
    /// RE one logit per label, minus infinity for labels not seen; NER empty (a CRF scores paths, not tags).
    pub scores: Vec<f32>,
}

/// The classes a row holds, with a feature vector for each.
pub type ClassFeatures = Vec<(usize, Vec<f32>)>;

enum Head {
    Relation(RelationHead),
    Entity(EntityHead),
}

/// Everything needed to make fresh networks of one shape.
pub struct Blueprint {
    /// RE or NER.
    pub kind: TaskKind,
    /// Number of labels or tags.
    pub labels: usize,
    /// Encoder files or built-in shape.
    pub encoder: EncoderSource,
    /// Its tokenizer.
    pub tokenizer: WordTokenizer,
    /// Where tensors live.
    pub device: Device,
}

/// An encoder with a head.
pub struct Learner {
    store: ParamStore,
    bert: Bert,
    head: Head,
    device: Device,
    pad: u32,
}

impl Learner {
    /// A network with pre-trained or seeded weights; the head is always seeded.
    pub fn new(blueprint: &Blueprint, config: &Config, seed: u64) -> Result<Self> {
        let store = blueprint.encoder.store(seed, &blueprint.device)?;
        let bert_config = blueprint.encoder.config(blueprint.tokenizer.vocab_size());
        let builder = store.builder();
        let bert = Bert::new(&bert_config, builder.clone())?;
        let (hidden, labels) = (bert_config.hidden_size, blueprint.labels);
        let head = match blueprint.kind {
            TaskKind::Re => Head::Relation(RelationHead::new(hidden, labels, config.head_dropout, builder.pp("head"))?),
            TaskKind::Ner => Head::Entity(EntityHead::new(hidden, labels, config.head_dropout, builder.pp("head"))?),
        };
        blueprint.encoder.check_pretrained(&store)?;
        Ok(Self { store, bert, head, device: blueprint.device.clone(), pad: blueprint.tokenizer.pad_id() })
    }

    /// The named variables.
    pub fn params(&self) -> &ParamStore {
        &self.store
    }

    /// A fresh optimiser over the encoder and the head with their own rates.
    pub fn optimiser(&self, config: &Config) -> Result<AdamW> {
        let (head, encoder) = self.store.vars().into_iter().partition(|(name, _)| name.starts_with("head."));
        let group =
            |name: &str, vars, lr| ParamGroup { name: name.to_owned(), vars, lr, weight_decay: config.weight_decay };
        let groups = vec![group("encoder", encoder, config.lr_encoder), group("head", head, config.lr_head)];
        Ok(AdamW::new(groups, AdamWConfig::default())?)
    }

    /// Pads rows for this network.
    pub fn batch<'a>(&self, examples: &[&'a Example]) -> Result<Batch<'a>> {
        Batch::new(examples.to_vec(), self.pad, &self.device)
    }

    fn hidden(&self, batch: &Batch, mode: &mut Mode) -> Result<Tensor> {
        Ok(self.bert.forward(&batch.ids, &batch.mask, mode)?.last().clone())
    }

    /// Mean loss of a batch over labels with `allowed`, a scalar.
    pub fn loss(&self, batch: &Batch, allowed: &[bool], mode: &mut Mode) -> Result<Tensor> {
        let hidden = self.hidden(batch, mode)?;
        match &self.head {
            Head::Relation(head) => relation::loss(head, &hidden, batch, allowed, mode),
            Head::Entity(head) => entity::loss(head, &hidden, batch, allowed, mode),
        }
    }

    /// Best label (RE) or tag path (NER) per row among `allowed`.
    pub fn predict(&self, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
        let hidden = self.hidden(batch, &mut Mode::Eval)?;
        match &self.head {
            Head::Relation(head) => relation::predict(head, &hidden, batch, allowed),
            Head::Entity(head) => entity::predict(head, &hidden, batch, allowed),
        }
    }

    /// One feature vector per row and class present in it, without dropout: RE the relation feature, NER the mean of
    /// a type's span features. `class_of` maps label ids to classes (`None` for `O`).
    pub fn class_features(&self, batch: &Batch, class_of: &dyn Fn(u32) -> Option<usize>) -> Result<Vec<ClassFeatures>> {
        let hidden = self.hidden(batch, &mut Mode::Eval)?;
        match &self.head {
            Head::Relation(head) => relation::class_features(head, &hidden, batch, class_of),
            Head::Entity(head) => entity::class_features(head, &hidden, batch, class_of),
        }
    }
}
