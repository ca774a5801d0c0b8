//! Writes a model, whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use mkgc_builder::files::{Replacing, StagedFolder, Target};
use mkgc_models::pretrained::{save_tensors, save_text, save_vision};

use super::{CARD, ENCODER, ModelCard, REST, vision_folder};
use crate::error::{Error, Result};
use crate::files::{sync_files, write_json};
use crate::learner::{Architecture, LearnerSpec};
use crate::methods::Method;
use crate::run::record::RunRecord;

/// A method after a task, with what its model is described by.
pub struct ModelState<'a> {
    /// The method, of which the network and the tensors of [`Method::kept`] are saved.
    pub method: &'a dyn Method,
    /// Shape of the network, from which the files of encoders and tokenizer are written.
    pub spec: &'a LearnerSpec,
    /// The run that trained the method; its settings and its benchmark are described.
    pub record: &'a RunRecord,
    /// Number of tasks that the method has learned.
    pub tasks_learned: usize,
}

/// Writes the model into `folder`, where it replaces an earlier model. The folder appears once it is whole.
///
/// # Errors
/// The folder cannot be written, or holds something else.
pub fn save(folder: &Path, state: &ModelState<'_>) -> Result<()> {
    let replacing = Replacing { holding: Some(CARD), refusal: "holds files that are no saved model; move them away" };
    let staged = StagedFolder::create(Target::open(folder, replacing)?)?;
    fill(&staged.path(), state)?;
    // The checkpoint that is written next says that the task is learned, so the model must be on the disk before it.
    sync_files(&staged.path())?;
    Ok(staged.install()?)
}

fn fill(folder: &Path, state: &ModelState<'_>) -> Result<()> {
    let ModelState { method, spec, record, tasks_learned } = state;
    let external = || Error::Usage("another program trained this model; only mkgc's own can be saved".to_owned());
    let trained = record.trained().ok_or_else(external)?;
    let (text, vision) = spec.encoder.configs(spec.tokenizer.vocab_size());
    let labels = &record.dataset.labels;
    save_text(folder, &text, &spec.tokenizer, labels)?;
    let mut parts = Parts::default();
    if let Some(learner) = method.learner() {
        learner.params().tensors()?.into_iter().for_each(|(name, tensor)| parts.add(name, tensor));
        save_tensors(&folder.join(ENCODER), &parts.text)?;
    }
    if let Some(vision) = vision.filter(|_| spec.architecture != Architecture::Text) {
        let folder = vision_folder(folder);
        fs_err::create_dir(&folder)?;
        save_vision(&folder, &vision)?;
        save_tensors(&folder.join(ENCODER), &parts.vision)?;
    }
    parts.rest.extend(method.kept()?);
    save_tensors(&folder.join(REST), &parts.rest)?;
    write_json(&folder.join(CARD), &ModelCard::new(record, trained, spec.architecture, *tasks_learned))
}

/// The tensors of a model by the file that holds them.
#[derive(Default)]
struct Parts {
    text: BTreeMap<String, Tensor>,
    vision: BTreeMap<String, Tensor>,
    rest: BTreeMap<String, Tensor>,
}

impl Parts {
    /// Files a variable by its name, which is that of transformers for the encoders.
    fn add(&mut self, name: String, tensor: Tensor) {
        let part = match name.split('.').next() {
            Some("embeddings" | "encoder") => &mut self.text,
            Some("vision_model") => &mut self.vision,
            _ => &mut self.rest,
        };
        part.insert(name, tensor);
    }
}
