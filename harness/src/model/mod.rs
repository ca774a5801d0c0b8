//! A saved model: the network after a task, in a folder that `transformers` opens and `mkgc predict` predicts with.
//!
//! | file | content |
//! |---|---|
//! | `config.json`, `model.safetensors` | the text encoder under the names of transformers' `BertModel`, and the labels |
//! | `tokenizer.json`, `tokenizer_config.json` | its tokenizer, with the markers of mentions |
//! | `vision/` | the vision encoder under the names of `CLIPVisionModel`, and its preprocessing |
//! | `mkgc.safetensors` | all else that predicts: head, CRF, shared keys, fusion, prototypes, memory network |
//! | `mkgc.json` | the [`ModelCard`] |

mod card;
mod open;
mod save;

pub use card::{MODEL_VERSION, ModelCard};
pub use open::SavedModel;
pub use save::{ModelState, save};

use std::path::{Path, PathBuf};

/// Name of the file that says what a model is.
const CARD: &str = "mkgc.json";
/// Name of the file with the encoder's tensors, in the folder of each encoder.
const ENCODER: &str = "model.safetensors";
/// Name of the file with all other tensors.
const REST: &str = "mkgc.safetensors";

/// Returns the folder of the vision encoder.
fn vision_folder(model: &Path) -> PathBuf {
    model.join("vision")
}

/// Returns whether a folder holds a saved model.
pub fn is_model(folder: &Path) -> bool {
    folder.join(CARD).is_file()
}
