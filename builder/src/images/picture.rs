//! A picture as it goes into a benchmark, and the stand-in for one that cannot be used.

use std::collections::BTreeMap;
use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use crate::corpus::Split;
use crate::error::{Error, Result};
use crate::files::sha256_hex;

/// A picture as it goes into a file: the original bytes with their hash, and the size in pixels as it is shown, that is
/// once it is turned as the file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Lower-case hexadecimal SHA-256 of `bytes`.
    pub sha256: String,
    /// Width in pixels, once the picture is turned as its file states.
    pub width: u32,
    /// Height in pixels, once the picture is turned as its file states.
    pub height: u32,
}

impl Picture {
    /// Hashes the bytes of a picture of a known size.
    pub(super) fn new(bytes: Vec<u8>, (width, height): (u32, u32)) -> Self {
        Self { sha256: sha256_hex(&bytes), bytes, width, height }
    }
}

/// Names a picture in lists of a benchmark's pictures: by its file name or, where splits have pictures of their own and a
/// name may be that of another picture in another split, as `split/name`.
pub fn picture_key(split: Option<Split>, name: &str) -> String {
    split.map_or_else(|| name.to_owned(), |split| format!("{split}/{name}"))
}

/// Receives each usable picture of a build once, with its key ([`picture_key`]), as it was decoded for the check. It is
/// called on several threads and in no particular order. An error, given as its reason, stops the build.
pub type Viewer<'a> = &'a (dyn Fn(&str, &RgbImage) -> std::result::Result<(), String> + Sync);

/// Pictures that cannot be used, with the reason, by key ([`picture_key`]).
pub type BadImages = BTreeMap<String, String>;

/// The reason given for a file that is not there.
pub(crate) const MISSING: &str = "missing";

/// Side of the grey stand-in in pixels; CLIP reads pictures of this size.
const PLACEHOLDER_SIDE: u32 = 224;

/// Returns the grey PNG that stands in for a picture that cannot be used.
///
/// # Errors
/// Encoding to memory fails, which does not happen in practice.
pub fn placeholder() -> Result<Picture> {
    let side = PLACEHOLDER_SIDE;
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(side, side, Rgb([128; 3]))
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::Usage(format!("cannot encode the placeholder: {error}")))?;
    Ok(Picture::new(bytes.into_inner(), (side, side)))
}
