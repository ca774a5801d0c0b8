//! Opens a saved model for prediction, without its benchmark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor, safetensors};
use mkgc_models::inputs::Visual;
use mkgc_models::pretrained::{TextFiles, VisionFiles};

use super::{CARD, ENCODER, ModelCard, REST, vision_folder};
use crate::config::{Config, VisualSetting};
use crate::data::VisibleLabels;
use crate::error::{Error, Result};
use crate::learner::{Architecture, EncoderSource, Learner, LearnerSpec, opened};
use crate::methods::{Method, MethodSpec, SavedMethod};

/// A saved model, ready to predict.
pub struct SavedModel {
    /// What `mkgc.json` says of the model.
    pub card: ModelCard,
    /// Shape of the network, with the tokenizer that splits its sentences.
    pub spec: Rc<LearnerSpec>,
    /// The method in the state after its last task: it predicts, and learns no more.
    pub method: Box<dyn Method>,
    /// The labels of the tasks learned, which alone may be predicted.
    pub seen: VisibleLabels,
}

impl SavedModel {
    /// Opens the model in `folder`. `find` returns the method of a name: [`crate::methods::registry::find`], or a function
    /// that knows methods of one's own. States and products have the number type `dtype`.
    ///
    /// # Errors
    /// The folder holds no model or a damaged one; a method that is not known; the device is out of memory.
    pub fn open<'m>(
        folder: &Path,
        find: impl Fn(&str) -> Result<&'m MethodSpec>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let card = ModelCard::read(folder)?;
        let method = find(&card.method)?;
        let (text, tokenizer) = opened(&folder.display().to_string(), || TextFiles::shape(folder))?;
        let multimodal = method.architecture != Architecture::Text;
        let vision = multimodal.then(|| VisionFiles::shape(&vision_folder(folder))).transpose()?;
        let spec = Rc::new(LearnerSpec {
            kind: card.dataset.task,
            labels: card.dataset.labels.len(),
            architecture: method.architecture,
            encoder: EncoderSource::seeded(text, vision),
            tokenizer,
            pictures: None,
            device: device.clone(),
            dtype,
        });
        let config = shown(folder, &card)?;
        let weights = Weights { folder, multimodal };
        let mut tensors = rest(&folder.join(REST), device)?;
        let learner = weights.exist().then(|| Learner::saved(&spec, &config, &weights.files())).transpose()?;
        for (name, _) in learner.iter().flat_map(|learner| learner.params().vars()) {
            tensors.remove(&name);
        }
        let labels = card.dataset.label_set();
        let task = card.tasks_learned - 1;
        let seen = VisibleLabels { task, allowed: labels.known_after(task), current: labels.trained_in(task) };
        let named = |error: Error| match error {
            Error::Usage(reason) => Error::Usage(format!("{}: {reason}", folder.display())),
            other => other,
        };
        let saved = SavedMethod { kind: card.dataset.task, config, learner, tensors };
        let method = (method.reopen)(saved).map_err(named)?;
        Ok(Self { card, spec, method, seen })
    }
}

/// Reads the tensors that no encoder has.
fn rest(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let damaged = |_| Error::Usage(format!("{}: is missing or damaged; save the model again", path.display()));
    Ok(safetensors::load(path, device).map_err(damaged)?.into_iter().collect())
}

/// Returns the settings under which the vision stream has its shape although no benchmark's pictures are open.
fn shown(folder: &Path, card: &ModelCard) -> Result<Config> {
    match card.vision.as_ref().map(|vision| vision.layout) {
        Some(Visual::Crops) => {
            let reason = "this model sees crops of phrase grounding and object detection, which mkgc cannot make of a \
                          picture; train one with `--set visual=image`";
            Err(Error::Usage(format!("{}: {reason}", folder.join(CARD).display())))
        }
        Some(Visual::Image) => Ok(Config { visual: VisualSetting::Image, ..card.config.clone() }),
        None => Ok(card.config.clone()),
    }
}

/// The files that hold the variables of a network.
struct Weights<'a> {
    folder: &'a Path,
    multimodal: bool,
}

impl Weights<'_> {
    /// Returns whether the model has a network.
    fn exist(&self) -> bool {
        self.folder.join(ENCODER).is_file()
    }

    fn files(&self) -> Vec<PathBuf> {
        let vision = self.multimodal.then(|| vision_folder(self.folder).join(ENCODER));
        [self.folder.join(ENCODER), self.folder.join(REST)].into_iter().chain(vision).collect()
    }
}
