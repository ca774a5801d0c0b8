//! Pre-trained models: finds their files on disk or on the Hugging Face hub, and reads them.

mod folder;
mod hub;
mod shards;
mod weights;

pub use folder::{EncoderFiles, TextFiles, VisionFiles};
pub use hub::{Hub, HubFolder};
pub(crate) use weights::WeightFile;
