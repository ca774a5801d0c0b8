//! Pictures of a corpus: where they are, whether they decode, which crops belong to a row.

mod crops;
mod decode;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};

use crate::corpus::{Corpus, CorpusKind, Split, sha256_hex};
use crate::error::{Error, Result};
pub use crops::{CropKind, Crops};
pub use decode::decode;
use decode::{MAX_FILE_BYTES, check};

/// A picture as it goes into a file: original bytes with their hash, and the size the decoder saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Lower-case hexadecimal SHA-256 of `bytes`.
    pub sha256: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Picture {
    fn new(bytes: Vec<u8>, (width, height): (u32, u32)) -> Self {
        Self { sha256: sha256_hex(&bytes), bytes, width, height }
    }
}

/// Sees each usable picture of a build once, with its id, as it was decoded for the check: on several threads at once,
/// in no order. Its error, a reason, stops the build.
pub type Viewer<'a> = &'a (dyn Fn(&str, &RgbImage) -> std::result::Result<(), String> + Sync);

/// The reason given for a file that is not there.
pub(crate) const MISSING: &str = "missing";

/// Side of the grey stand-in for a bad picture, that of CLIP's input.
const PLACEHOLDER_SIDE: u32 = 224;

/// The image folders, crop folders and crop dictionaries of a corpus.
#[derive(Debug)]
pub struct Gallery {
    /// Folders to look into, per split.
    folders: [Vec<PathBuf>; 3],
    /// Per kind and split.
    crop_folders: [[Vec<PathBuf>; 3]; 2],
    crops: [[Crops; 3]; 2],
}

impl Gallery {
    /// Finds folders and dictionaries below `images` (if given) or `raw`. No image folder at all is `None`.
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
        let read = |kind| -> Result<[Crops; 3]> {
            let [train, validation, test] = Split::ALL.map(|split| crops::find(corpus, kind, split, [base, raw]));
            Ok([train?, validation?, test?])
        };
        Ok(Some(Self {
            folders,
            crop_folders: CropKind::ALL
                .map(|kind| Split::ALL.map(|split| crops::folders(corpus.kind, kind, base, split))),
            crops: [read(CropKind::Grounding)?, read(CropKind::Detected)?],
        }))
    }

    /// Crop names of a row, by its number in the full file and its image.
    pub fn crops(&self, kind: CropKind, split: Split, row: usize, image: &str) -> &[String] {
        self.crops[kind as usize][split as usize].of(row, kind.key(image))
    }

    /// Whether there is any folder of crop files.
    pub fn has_crop_files(&self) -> bool {
        self.crop_folders.iter().flatten().any(|folders| !folders.is_empty())
    }

    /// Reads a picture and decodes it; the error says why it cannot be used.
    pub fn load(&self, split: Split, id: &str) -> std::result::Result<(Picture, RgbImage), String> {
        self.picture(split, id, |bytes| decode(bytes).map(|pixels| (pixels.dimensions(), pixels)))
    }

    /// [`Gallery::load`] for those who need no pixels: less work.
    pub fn check(&self, split: Split, id: &str) -> std::result::Result<Picture, String> {
        self.picture(split, id, checked).map(|(picture, ())| picture)
    }

    /// As [`Gallery::check`] for a crop that [`Gallery::crops`] names.
    pub fn check_crop(&self, kind: CropKind, split: Split, name: &str) -> std::result::Result<Picture, String> {
        let folders = &self.crop_folders[kind as usize][split as usize];
        read(folders, name, checked).map(|(picture, ())| picture)
    }

    fn picture<T>(
        &self,
        split: Split,
        id: &str,
        see: impl FnOnce(&[u8]) -> std::result::Result<((u32, u32), T), String>,
    ) -> std::result::Result<(Picture, T), String> {
        if !is_plain(id) {
            return Err("unsafe name: an image id must be a plain file name".to_owned());
        }
        read(&self.folders[split as usize], id, see)
    }
}

/// The size alone, for [`read`].
fn checked(bytes: &[u8]) -> std::result::Result<((u32, u32), ()), String> {
    check(bytes).map(|size| (size, ()))
}

/// Reads `name` from the first folder that has it, with what `see` makes of its bytes besides the size.
fn read<T>(
    folders: &[PathBuf],
    name: &str,
    see: impl FnOnce(&[u8]) -> std::result::Result<((u32, u32), T), String>,
) -> std::result::Result<(Picture, T), String> {
    let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or(MISSING)?;
    let size = fs_err::metadata(&path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("{size} bytes, more than the limit of {MAX_FILE_BYTES}"));
    }
    let bytes = fs_err::read(&path).map_err(|error| error.to_string())?;
    let (size, seen) = see(&bytes)?;
    Ok((Picture::new(bytes, size), seen))
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
    let short = short(split);
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

/// The name of a split in folder names.
fn short(split: Split) -> &'static str {
    if split == Split::Validation { "val" } else { split.name() }
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
    Ok(Picture::new(bytes.into_inner(), (side, side)))
}

/// Pictures that cannot be used, with the reason, by id.
pub type BadImages = BTreeMap<String, String>;
