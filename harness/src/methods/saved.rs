//! What a saved model gives back to its method, so that it predicts as it did at the end of a task.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mkgc_builder::corpus::Extraction;

use super::method::{Method, Session};
use crate::config::Config;
use crate::data::Task;
use crate::error::{Error, Result};
use crate::learner::Learner;

/// The parts of a saved model.
pub struct SavedMethod {
    /// Whether relations or entities are extracted.
    pub kind: Extraction,
    /// Settings that the method was trained with.
    pub config: Config,
    /// The network; none of a method that has none.
    pub learner: Option<Learner>,
    /// The tensors of [`Method::kept`], by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl SavedMethod {
    /// Returns the network.
    ///
    /// # Errors
    /// The model has none.
    pub fn network(&mut self) -> Result<Learner> {
        self.learner.take().ok_or_else(|| missing("network"))
    }

    /// Returns one of the tensors.
    ///
    /// # Errors
    /// The model does not hold it.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor> {
        self.tensors.remove(name).ok_or_else(|| missing(&format!("tensor `{name}`")))
    }
}

fn missing(what: &str) -> Error {
    Error::Usage(format!("the saved model holds no {what}, which its method needs; train it again with --save-model"))
}

/// Makes the error of a method that is saved before it has learned what it predicts with.
pub(super) fn not_learned() -> Error {
    Error::Usage("this process has not learned the task whose model is to be saved".to_owned())
}

/// A method that predicts by its network's own classifier.
struct Classifier(Learner);

impl Method for Classifier {
    fn learn(&mut self, _: &Task, _: &mut Session<'_>) -> Result<()> {
        Err(Error::Usage("a saved model predicts, and learns no more tasks".to_owned()))
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.0)
    }
}

/// Makes a method that predicts by its network's own classifier.
///
/// # Errors
/// The model has no network.
pub fn by_classifier(mut saved: SavedMethod) -> Result<Box<dyn Method>> {
    Ok(Box::new(Classifier(saved.network()?)))
}
