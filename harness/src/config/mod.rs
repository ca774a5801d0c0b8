//! The settings of a training run and where each came from: flag > TOML recipe > the method's default.

mod check;
mod choices;
mod resolve;
pub mod settings;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use mkgc_builder::corpus::Extraction;
use mkgc_models::losses::distillation::Pooling;
use mkgc_models::networks::Key;

pub use choices::{HeadInput, Replay, ReplayO, Schedule, Selection, Softmax, VisualSetting};
pub use resolve::{Accepted, Overrides, Recipe, Resolved, resolve, unknown};

/// All settings of a run. Rates are per optimiser step; lengths are word pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Passes over each task's training rows.
    pub epochs: usize,
    /// Number of rows in each optimiser step.
    pub batch_size: usize,
    /// AdamW rate of the encoder.
    pub lr_encoder: f64,
    /// AdamW rate of the head (and the CRF).
    pub lr_head: f64,
    /// AdamW rate of LMC's shared keys.
    pub lr_key: f64,
    /// AdamW rate of LMC's position biases.
    pub lr_bias: f64,
    /// AdamW rate of RP-CRE's memory network.
    pub lr_memory_network: f64,
    /// How the rates go over the steps of a phase, such as a task's epochs.
    #[serde(default)]
    pub schedule: Schedule,
    /// Share of a phase's steps over which the rate of a linear schedule rises.
    #[serde(default)]
    pub warmup: f64,
    /// AdamW decoupled weight decay; 0 is Adam.
    pub weight_decay: f64,
    /// A fresh optimiser (moments at zero) for each task, instead of one for the whole stream (LMC).
    pub optimiser_per_task: bool,
    /// Largest L2 norm of the gradients, which are scaled down to it; 0 is no limit.
    pub clip_norm: f64,
    /// What the head reads of the text (relations; entity heads read every word).
    pub head: HeadInput,
    /// Hold encoder, head and memory network to `clip_norm` each, as RP-CRE's code does, instead of all together.
    #[serde(default)]
    pub clip_apart: bool,
    /// Dropout rate of the head's input.
    pub head_dropout: f64,
    /// Longest input, special tokens and markers included; longer rows are cut.
    pub max_length: usize,
    /// Labels that compete in the loss.
    pub softmax: Softmax,
    /// Stored rows per class (replay methods).
    pub memory_per_class: usize,
    /// NER: store `memory_per_class` sentences without any entity of the task as well, as if `O` were a class.
    #[serde(default)]
    pub memory_outside: bool,
    /// How stored rows are chosen.
    pub selection: Selection,
    /// Passes over the memory: LMC's replay phase, RP-CRE's training of the memory network.
    pub memory_epochs: usize,
    /// Rounds of activation and reconsolidation (EMAR).
    pub rounds: usize,
    /// How EMR mixes stored rows with rows of the current task.
    pub replay: Replay,
    /// How `O` is treated in replayed sentences: `mask` leaves the tag open, because the word may belong to a class of
    /// another task; `keep` trains on it as `O`.
    pub replay_o: ReplayO,
    /// Size of a query and key of RP-CRE's memory network.
    pub key_size: usize,
    /// Weight λ of EWC's penalty (λ/2)·ΣF(θ-θ*)², where `ewc_grid` is empty.
    pub ewc_lambda: f64,
    /// Weights λ to choose from: at the second task, EWC trains with each and keeps the one with the best micro-F1 on the
    /// validation rows of the first two tasks. While the largest is at most one standard error below the best, ten times
    /// that is tried too, up to 1e12. Empty: `ewc_lambda` as it is.
    #[serde(default)]
    pub ewc_grid: Vec<f64>,
    /// Decay γ of EWC's Fisher information from task to task.
    pub ewc_gamma: f64,
    /// Most rows per task that EWC's Fisher information is estimated from.
    pub fisher_rows: usize,
    /// What the vision stream is shown (multimodal methods).
    pub visual: VisualSetting,
    /// Upper layers whose attention LMC shares and distils: 3 of 12 by default, so 1 of a six-layer encoder's.
    pub shared_layers: usize,
    /// Origin of the keys in the layers with interaction.
    pub key: Key,
    /// Pooling of attention maps in LMC's distillation.
    pub pooling: Pooling,
    /// Weight λ of LMC's distillation.
    pub lambda: f64,
    /// Strength α of LMC's gradient modulation; 0 is none.
    pub alpha: f64,
    /// Gaussian noise on modulated gradients (LMC).
    pub noise: bool,
    /// Upper layers in which MKGformer's streams read each other.
    pub interaction_layers: usize,
    /// Hide text padding from MKGformer's vision stream (the released code does not).
    pub mask_text_padding: bool,
    /// Seed of initialisation, shuffling, dropout and memory selection.
    pub train_seed: u64,
}

impl Config {
    /// Returns the defaults that methods share: those of the BERT line of methods (RP-CRE's first phase), 10 epochs, batch
    /// 16, Adam at 1e-5 and 1e-3, gradients clipped to 10, and everything that only some methods have switched off. Each
    /// method changes what its own source sets otherwise.
    pub fn shared(kind: Extraction) -> Self {
        Self {
            epochs: 10,
            batch_size: 16,
            lr_encoder: 1e-5,
            lr_head: 1e-3,
            lr_key: 1e-6,
            lr_bias: 1e-5,
            lr_memory_network: 1e-4,
            schedule: Schedule::Constant,
            warmup: 0.0,
            weight_decay: 0.0,
            optimiser_per_task: true,
            clip_norm: 10.0,
            head: HeadInput::Markers,
            clip_apart: false,
            head_dropout: if kind == Extraction::Relations { 0.5 } else { 0.1 },
            max_length: 128,
            softmax: Softmax::Seen,
            memory_per_class: 10,
            memory_outside: true,
            selection: Selection::Kmeans,
            memory_epochs: 10,
            rounds: 2,
            replay: Replay::Alternate,
            replay_o: ReplayO::Mask,
            key_size: 256,
            ewc_lambda: 1e3,
            ewc_grid: vec![1e4, 1e5, 1e6, 1e7, 1e8, 1e9],
            ewc_gamma: 1.0,
            fisher_rows: 2000,
            visual: VisualSetting::Auto,
            shared_layers: 0,
            key: Key::Own,
            pooling: Pooling::Both,
            lambda: 0.0,
            alpha: 0.0,
            noise: false,
            interaction_layers: 4,
            mask_text_padding: true,
            train_seed: 42,
        }
    }
}
