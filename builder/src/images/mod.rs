//! Pictures of a corpus: where they are, whether they decode, and which crops belong to a row.

mod crops;
mod decode;
mod find;
mod gallery;
mod orientation;
mod pickle;
mod picture;

pub use crate::corpus::CropKind;
pub use crops::Crops;
pub use decode::{check, decode};
pub use gallery::{Found, Gallery, GalleryOptions};
pub(crate) use picture::MISSING;
pub use picture::{BadImages, Picture, Viewer, picture_key, placeholder};
