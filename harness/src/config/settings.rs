//! What each setting is measured in and where its shared default comes from, and groups of settings that methods read
//! together. What a setting means is told at the field of [`super::Config`].

/// A setting as `mkgc ls settings METHOD` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    /// Key in recipes and in `run.json`.
    pub key: &'static str,
    /// Unit of the value, or the values to choose from.
    pub unit: &'static str,
    /// Where the value of [`super::Config::shared`] comes from. A method that has another default names its own source.
    pub source: &'static str,
}

const HERE: &str = "this project";
const RP_CRE: &str = "Cui et al. 2021 (RP-CRE, first phase)";
const LMC: &str = "Chen et al. 2023 (LMC)";
const EWC: &str = "Schwarz et al. 2018 (online EWC)";
const MKGFORMER: &str = "Chen et al. 2022 (MKGformer)";

const fn setting(key: &'static str, unit: &'static str, source: &'static str) -> SettingSpec {
    SettingSpec { key, unit, source }
}

/// Every setting, in the order of [`super::Config`].
pub const SETTINGS: &[SettingSpec] = &[
    setting("epochs", "passes", RP_CRE),
    setting("batch_size", "rows", RP_CRE),
    setting("lr_encoder", "per step", RP_CRE),
    setting("lr_head", "per step", RP_CRE),
    setting("lr_key", "per step", LMC),
    setting("lr_bias", "per step", LMC),
    setting("lr_memory_network", "per step", HERE),
    setting("schedule", "constant | linear", RP_CRE),
    setting("warmup", "share of steps", RP_CRE),
    setting("weight_decay", "per unit of the rate", RP_CRE),
    setting("optimiser_per_task", "true | false", RP_CRE),
    setting("clip_norm", "L2 norm", RP_CRE),
    setting("head", "markers | cls", RP_CRE),
    setting("clip_apart", "true | false", HERE),
    setting("head_dropout", "probability", HERE),
    setting("max_length", "word pieces", HERE),
    setting("softmax", "seen | all | current", HERE),
    setting("memory_per_class", "rows", HERE),
    setting("memory_outside", "true | false", LMC),
    setting("selection", "kmeans | random", RP_CRE),
    setting("memory_epochs", "passes", HERE),
    setting("rounds", "rounds", HERE),
    setting("replay", "alternate | concat", "Wang et al. 2019 (EMR)"),
    setting("replay_o", "mask | keep", HERE),
    setting("key_size", "dimensions", HERE),
    setting("ewc_lambda", "weight", HERE),
    setting("ewc_grid", "weights", HERE),
    setting("ewc_gamma", "factor per task", EWC),
    setting("fisher_rows", "rows", HERE),
    setting("visual", "auto | image | crops | blank | shuffled", HERE),
    setting("shared_layers", "layers", HERE),
    setting("key", "own | matrix | vector | released", HERE),
    setting("pooling", "both | width | height | none", LMC),
    setting("lambda", "weight", HERE),
    setting("alpha", "strength", HERE),
    setting("noise", "true | false", HERE),
    setting("interaction_layers", "layers", MKGFORMER),
    setting("mask_text_padding", "true | false", HERE),
    setting("train_seed", "seed", HERE),
];

/// Settings that every method reads.
pub const EVERY_METHOD: &[&str] = &["max_length", "train_seed"];

/// Settings that every method reads that trains a network.
pub const TRAINING: &[&str] = &[
    "epochs",
    "batch_size",
    "lr_encoder",
    "lr_head",
    "schedule",
    "warmup",
    "weight_decay",
    "clip_norm",
    "clip_apart",
    "head",
    "head_dropout",
    "softmax",
];

/// Settings that every method reads that stores rows chosen by class.
pub const STORED_ROWS: &[&str] = &["memory_per_class", "memory_outside", "selection"];
