//! The pictures of sentences, decoded and resized as those of a benchmark.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mkgc_builder::error::plain_io;
use mkgc_builder::images::decode;
use mkgc_models::inputs::Pixels;
use mkgc_models::pixels::{normalise, resize_crop};
use rayon::prelude::*;

use super::Sentence;
use crate::error::{Error, Result};

/// Says how a sentence names its picture.
const REMEDY: &str = "give its path, in JSON lines as `image`, in columns as a line `IMGID:<name>` before the words, for \
                      `<name>.jpg`";

/// What a method looks at.
pub(super) struct SentencePictures<'a> {
    /// Name of the method, for messages.
    pub method: &'a str,
    /// Folder that relative paths begin at.
    pub folder: &'a Path,
    /// Side of the vision encoder's input in pixels.
    pub side: usize,
    /// Whether zeros are shown in place of pictures, as by the control `visual = "blank"`.
    pub blank: bool,
}

impl SentencePictures<'_> {
    /// Returns the normalised pixels of the sentences' pictures, `[B, 3, side, side]`.
    ///
    /// # Errors
    /// A sentence without a picture, or one that cannot be read.
    pub fn pixels(&self, sentences: &[&Sentence], device: &Device) -> Result<Pixels> {
        let side = self.side;
        let values: Vec<Vec<f32>> = sentences.par_iter().map(|one| self.picture(one)).collect::<Result<_>>()?;
        Ok(Pixels::Image(Tensor::from_vec(values.concat(), (sentences.len(), 3, side, side), device)?))
    }

    /// Checks that a sentence names a file, without reading it.
    ///
    /// # Errors
    /// It names no picture, or the file is missing.
    pub fn check(&self, sentence: &Sentence) -> Result<()> {
        if self.blank {
            return Ok(());
        }
        let path = self.path(sentence)?;
        let found = fs_err::metadata(&path).map_err(|error| unreadable(sentence, &path, &error))?;
        if !found.is_file() {
            return Err(sentence.place.error(&format!("picture {}: is no file", path.display())));
        }
        Ok(())
    }

    fn path(&self, sentence: &Sentence) -> Result<PathBuf> {
        let method = self.method;
        let missing = || sentence.place.error(&format!("`{method}` looks at a picture of each sentence: {REMEDY}"));
        Ok(self.folder.join(sentence.image.as_ref().ok_or_else(missing)?))
    }

    fn picture(&self, sentence: &Sentence) -> Result<Vec<f32>> {
        if self.blank {
            return Ok(vec![0.0; 3 * self.side * self.side]);
        }
        let path = self.path(sentence)?;
        let refused = |reason: String| sentence.place.error(&format!("picture {}: {reason}", path.display()));
        let bytes = fs_err::read(&path).map_err(|error| unreadable(sentence, &path, &error))?;
        let planes = resize_crop(&decode(&bytes).map_err(refused)?, self.side);
        Ok(normalise(&planes.map_err(|error| refused(error.to_string()))?))
    }
}

/// Makes the error about a picture that is missing or cannot be read.
fn unreadable(sentence: &Sentence, path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        ErrorKind::NotFound => format!(
            "no such picture: {}; relative paths begin at --images, or else at the folder of the input",
            path.display()
        ),
        _ => plain_io(error),
    };
    sentence.place.error(&reason)
}
