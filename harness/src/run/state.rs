//! The state of a method as tensors, which checkpoints hold.

use std::collections::BTreeMap;

use candle_core::Tensor;

/// What a method needs to go on in another process, besides its stored rows: tensors by part and name.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The network's variables by name; tensors of other parts as `part:name`.
    pub tensors: BTreeMap<String, Tensor>,
}

impl State {
    /// Adds the tensors of a part.
    pub fn with(mut self, part: &str, tensors: BTreeMap<String, Tensor>) -> Self {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{part}:{name}"), tensor)));
        self
    }

    /// Removes the tensors of a part and returns them by name.
    pub fn take(&mut self, part: &str) -> BTreeMap<String, Tensor> {
        let prefix = format!("{part}:");
        let (taken, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.tensors).into_iter().partition(|(name, _)| name.starts_with(&prefix));
        self.tensors = rest;
        taken.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
    }

    /// Returns the network's variables by name.
    pub fn network(&self) -> BTreeMap<String, Tensor> {
        let network = self.tensors.iter().filter(|(name, _)| !name.contains(':'));
        network.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }
}
