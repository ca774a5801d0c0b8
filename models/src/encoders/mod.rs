//! The encoders of text and pictures, with trainable layers.

mod attention;
mod bert;
mod clip;
mod layer;
mod output;
mod states;

pub use bert::{Bert, BertConfig};
pub use clip::{ClipVision, ClipVisionConfig};
pub use output::StreamOutput;
pub use states::states_at;
