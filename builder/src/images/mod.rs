//! Pictures of a corpus: where they are, whether they decode, which crops belong to a row.

mod crops;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use crate::corpus::{Corpus, CorpusKind, Split};
use crate::error::{Error, Result};
pub use crops::Crops;

/// A picture as it goes into a file: original bytes, and the size the decoder saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Limits against decompression bombs: file size, side length in pixels, memory of one decoded picture.
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Side of the grey stand-in for a bad picture, that of CLIP's input.
const PLACEHOLDER_SIDE: u32 = 224;

/// The image folders and crop dictionaries of a corpus.
#[derive(Debug)]
pub struct Gallery {
    /// Folders to look into, per split.
    folders: [Vec<PathBuf>; 3],
    crops: [Crops; 3],
}

impl Gallery {
    /// Finds folders and dictionaries below `images` (if given) or `raw`. No folder at all is `None`.
    ///
    /// # Errors
    /// `images` is given but holds no image folder; a damaged crop dictionary.
    pub fn open(corpus: &Corpus, raw: &Path, images: Option<&Path>) -> Result<Option<Self>> {
        let base = images.unwrap_or(raw);
        let folders = Split::ALL.map(|split| folders(corpus.kind, base, split, images.is_some()));
        if folders.iter().all(Vec::is_empty) {
            return match images {
                Some(path) => Err(Error::image(path, format!("no image folder; expected {}", expected(corpus.kind)))),
                None => Ok(None),
            };
        }
        let crops = [
            crops(corpus, Split::Train, [base, raw])?,
            crops(corpus, Split::Validation, [base, raw])?,
            crops(corpus, Split::Test, [base, raw])?,
        ];
        Ok(Some(Self { folders, crops }))
    }

    /// Crop file names of a row, by its number in the full file.
    pub fn crops(&self, split: Split, row: usize, image: &str) -> &[String] {
        self.crops[split as usize].of(row, image)
    }

    /// Reads a picture and decodes it once to see that it is whole; the error says why it cannot be used.
    pub fn load(&self, split: Split, id: &str) -> std::result::Result<Picture, String> {
        let bytes = self.bytes(split, id)?;
        let (width, height) = decoded_size(&bytes).map_err(|error| format!("does not decode: {error}"))?;
        Ok(Picture { bytes, width, height })
    }

    fn bytes(&self, split: Split, id: &str) -> std::result::Result<Vec<u8>, String> {
        if !is_plain(id) {
            return Err("unsafe name: an image id must be a plain file name".to_owned());
        }
        let path = self.folders[split as usize].iter().map(|folder| folder.join(id)).find(|path| path.is_file());
        let path = path.ok_or("missing")?;
        let size = fs_err::metadata(&path).map_err(|error| error.to_string())?.len();
        if size > MAX_FILE_BYTES {
            return Err(format!("{size} bytes, more than the limit of {MAX_FILE_BYTES}"));
        }
        fs_err::read(&path).map_err(|error| error.to_string())
    }
}

/// A plain file name: no separator, no parent, nothing hidden in it.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id != "." && id != ".." && !id.contains(['/', '\\', '\0', ':'])
}

fn expected(kind: CorpusKind) -> &'static str {
    match kind {
        CorpusKind::Mnre => "img_org/{train,val,test}/",
        CorpusKind::Twitter2017 => "twitter2017_images/",
    }
}

/// Existing folders that may hold the pictures of a split; with `bare`, the base folder itself counts.
fn folders(kind: CorpusKind, base: &Path, split: Split, bare: bool) -> Vec<PathBuf> {
    let short = if split == Split::Validation { "val" } else { split.name() };
    let mut folders = match kind {
        CorpusKind::Mnre => vec![base.join("img_org").join(short), base.join(short)],
        CorpusKind::Twitter2017 => vec![base.join("twitter2017_images")],
    };
    if bare {
        folders.push(base.to_path_buf());
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// The crop dictionary of a split from the first folder that has it; an empty one if none has.
fn crops(corpus: &Corpus, split: Split, dirs: [&Path; 2]) -> Result<Crops> {
    let name = match (corpus.kind, split) {
        (CorpusKind::Mnre, Split::Validation) => "mre_dev_dict.pth".to_owned(),
        (CorpusKind::Mnre, _) => format!("mre_{split}_dict.pth"),
        (CorpusKind::Twitter2017, Split::Validation) => "twitter2017_val_dict.pth".to_owned(),
        (CorpusKind::Twitter2017, _) => format!("twitter2017_{split}_dict.pth"),
    };
    let records = corpus.split(split).last().map_or(0, |last| last.row + 1);
    let path = dirs.iter().map(|dir| dir.join(&name)).find(|path| path.is_file());
    path.map_or_else(|| Ok(Crops::default()), |path| Crops::read(&path, records))
}

fn decoded_size(bytes: &[u8]) -> image::ImageResult<(u32, u32)> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let decoded = reader.decode()?;
    Ok((decoded.width(), decoded.height()))
}

/// A grey PNG that stands in for a picture that cannot be used.
///
/// # Errors
/// None in practice: encoding to memory.
pub fn placeholder() -> Result<Picture> {
    let side = PLACEHOLDER_SIDE;
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(side, side, Rgb([128; 3]))
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::Usage(format!("cannot encode the placeholder: {error}")))?;
    Ok(Picture { bytes: bytes.into_inner(), width: side, height: side })
}

/// Pictures that cannot be used, with the reason, by id.
pub type BadImages = BTreeMap<String, String>;
