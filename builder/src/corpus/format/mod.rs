//! Formats of corpus text files: each turns the bytes of a file into [`Instance`]s and writes rows back as text.

mod lines;
pub mod mnre;
mod python_literal;
pub mod raw;
pub mod twitter;

pub use raw::{ContainedPictures, Format, Parsed, RawFile, Records};
