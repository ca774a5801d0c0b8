//! Pre-trained models: finds their files on disk or on the Hugging Face hub, and reads them.

mod folder;
mod hub;
mod weights;

pub use folder::{TextFiles, VisionFiles};
pub use hub::{Hub, HubFolder};
pub(crate) use weights::WeightFile;
