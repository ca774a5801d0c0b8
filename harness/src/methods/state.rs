//! A method's state between tasks, for checkpoints: tensors by part and name.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::Result;
use crate::learner::Learner;

/// What a later process needs to go on.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The network's variables by name; others as `part:name`.
    pub tensors: BTreeMap<String, Tensor>,
}

impl State {
    /// The network's variables.
    pub fn new(learner: &Learner) -> Result<Self> {
        Ok(Self { tensors: learner.params().tensors()? })
    }

    /// Adds a part.
    pub fn with(mut self, part: &str, tensors: BTreeMap<String, Tensor>) -> Self {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{part}:{name}"), tensor)));
        self
    }

    /// Takes a part out.
    pub fn take(&mut self, part: &str) -> BTreeMap<String, Tensor> {
        let prefix = format!("{part}:");
        let (own, rest) =
            std::mem::take(&mut self.tensors).into_iter().partition(|(name, _)| name.starts_with(&prefix));
        self.tensors = rest;
        let own: BTreeMap<String, Tensor> = own;
        own.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
    }

    /// Sets the network's variables.
    pub fn restore(&mut self, learner: &Learner) -> Result<()> {
        let values = self.tensors.iter().filter(|(name, _)| !name.contains(':'));
        Ok(learner.params().load(&values.map(|(name, tensor)| (name.clone(), tensor.clone())).collect())?)
    }
}
