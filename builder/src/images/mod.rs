//! Pictures of a corpus: where they are, whether they decode, and which crops belong to a row.

mod crops;
mod decode;
mod gallery;
mod picture;

pub use crate::corpus::CropKind;
pub use decode::decode;
pub use gallery::Gallery;
pub(crate) use picture::MISSING;
pub use picture::{BadImages, Picture, Viewer, placeholder};
