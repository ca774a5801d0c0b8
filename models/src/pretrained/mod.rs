//! Pre-trained models: finds their files on disk or on the Hugging Face hub, reads them, and writes trained ones the same
//! way.

mod folder;
mod hub;
mod save;
mod shards;
mod weights;

pub use folder::{EncoderFiles, TextFiles, VisionFiles};
pub use hub::{Hub, HubFolder};
pub use save::{save_tensors, save_text, save_vision};
pub(crate) use weights::WeightFile;
