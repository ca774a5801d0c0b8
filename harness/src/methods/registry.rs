//! What there is: each method's source, what it reads, what it stores.

use crate::error::Result;
use crate::learner::Architecture;

/// A method as `mkgc ls methods` shows it.
#[derive(Debug, Clone, Copy)]
pub struct MethodInfo {
    /// Name for `--method`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Paper, or what it is made of.
    pub source: &'static str,
    /// The network.
    pub architecture: Architecture,
    /// What it keeps between tasks, besides the network.
    pub memory: &'static str,
    /// Does it train on rows of earlier tasks?
    pub rehearses: bool,
}

impl MethodInfo {
    /// `text` or `text + image`.
    pub fn modality(&self) -> &'static str {
        if self.multimodal() { "text + image" } else { "text" }
    }

    /// Does it read pictures?
    pub fn multimodal(&self) -> bool {
        self.architecture != Architecture::Text
    }
}

const ROWS: &str = "memory_per_class rows per class";
const NOTHING: &str = "nothing";

/// Every method, in the order of reports.
pub const METHODS: &[MethodInfo] = &[
    MethodInfo {
        name: "majority",
        about: "predicts None for every row, O for every word; no network is trained",
        source: "-",
        architecture: Architecture::Text,
        memory: NOTHING,
        rehearses: false,
    },
    MethodInfo {
        name: "vanilla",
        about: "fine-tunes on each task's rows alone; the floor",
        source: "-",
        architecture: Architecture::Text,
        memory: NOTHING,
        rehearses: false,
    },
    MethodInfo {
        name: "ewc",
        about: "holds weights in place by their Fisher information (online form)",
        source: "Kirkpatrick et al. 2017; Schwarz et al. 2018",
        architecture: Architecture::Text,
        memory: "Fisher information and old weights",
        rehearses: false,
    },
    MethodInfo {
        name: "emr",
        about: "a step on stored rows of an old task before each step on the current one",
        source: "Wang et al. 2019",
        architecture: Architecture::Text,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "emar-bert",
        about: "replays stored rows and pulls them to their class's prototype",
        source: "Han et al. 2020; on BERT as in Wang et al. 2022 (ACA)",
        architecture: Architecture::Text,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "rp-cre",
        about: "refines features by attention to class prototypes, trained on stored rows",
        source: "Cui et al. 2021",
        architecture: Architecture::Text,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "fea",
        about: "adapts to the task's rows, then fine-tunes on the balanced memory alone",
        source: "Wang et al. 2022 (arXiv 2209.00243)",
        architecture: Architecture::Text,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "seq-star",
        about: "freezes the encoder after the first task and each class's weights after its own",
        source: "Zheng et al. 2024 (SEQ*)",
        architecture: Architecture::Text,
        memory: NOTHING,
        rehearses: false,
    },
    MethodInfo {
        name: "concat",
        about: "fine-tunes BERT and a vision transformer joined in the head; no continual-learning device",
        source: "late fusion",
        architecture: Architecture::Dual,
        memory: NOTHING,
        rehearses: false,
    },
    MethodInfo {
        name: "concat-replay",
        about: "concat with the replay of emr",
        source: "late fusion; Wang et al. 2019",
        architecture: Architecture::Dual,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "mkgformer",
        about: "fine-tunes a network whose streams read each other; no continual-learning device",
        source: "Chen et al. 2022",
        architecture: Architecture::Mkgformer,
        memory: NOTHING,
        rehearses: false,
    },
    MethodInfo {
        name: "mkgformer-replay",
        about: "mkgformer with the replay of emr",
        source: "Chen et al. 2022; Wang et al. 2019",
        architecture: Architecture::Mkgformer,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "lmc",
        about: "shared attention keys, distilled attention maps, balanced gradients, replay; as its paper describes it",
        source: "Chen et al. 2023 (arXiv 2305.08698)",
        architecture: Architecture::Dual,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "lmc-released",
        about: "the arithmetic of LMC's released code, whose keys cancel and whose distillation has no gradient",
        source: "zjunlp/ContinueMKGC",
        architecture: Architecture::Dual,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "lmc-replay",
        about: "lmc's network and replay, with shared keys, distillation and modulation off",
        source: "Chen et al. 2023 (arXiv 2305.08698), ablated",
        architecture: Architecture::Dual,
        memory: ROWS,
        rehearses: true,
    },
    MethodInfo {
        name: "joint",
        about: "a fresh network on all rows so far with the corpus's own labels; the upper bound",
        source: "-",
        architecture: Architecture::Text,
        memory: "all rows",
        rehearses: true,
    },
    MethodInfo {
        name: "joint-multimodal",
        about: "joint on the network of concat; the upper bound of methods that see the pictures",
        source: "-",
        architecture: Architecture::Dual,
        memory: "all rows",
        rehearses: true,
    },
];

/// Names accepted by `mkgc train --method`.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    METHODS.iter().map(|method| method.name)
}

/// A method's place in reports; unknown ones come last.
pub fn place(name: &str) -> usize {
    METHODS.iter().position(|known| known.name == name).unwrap_or(METHODS.len())
}

/// Does a method learn from all rows so far at once, and so bound what the others of its modality can reach?
pub fn is_upper_bound(name: &str) -> bool {
    ["joint", "joint-multimodal"].contains(&name)
}

/// A method by name.
pub fn find(name: &str) -> Result<&'static MethodInfo> {
    METHODS.iter().find(|method| method.name == name).ok_or_else(|| super::unknown_method(name))
}
