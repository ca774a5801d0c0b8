//! Finds the picture and crop files of a corpus and reads them.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::crops::{self, Crops};
use super::decode::{MAX_FILE_BYTES, check, decode};
use super::picture::{MISSING, Picture, is_plain_name};
use crate::corpus::{Corpus, CropKind, PictureFolders, Split};
use crate::error::{Error, Result};

/// The image folders, crop folders and crop dictionaries of a corpus.
#[derive(Debug)]
pub struct Gallery {
    /// Folders that may contain the pictures of each split.
    folders: [Vec<PathBuf>; 3],
    /// Folders that may contain the crops of each kind and split.
    crop_folders: [[Vec<PathBuf>; 3]; 2],
    /// The dictionary of each kind and split.
    crops: [[Crops; 3]; 2],
}

impl Gallery {
    /// Finds folders and dictionaries below `images` or, if it is not given, below `raw`. Returns `None` if `raw` has no
    /// folder of pictures.
    ///
    /// # Errors
    /// `images` is given but has no folder of pictures; a crop dictionary is damaged.
    pub fn open(corpus: &Corpus, raw: &Path, images: Option<&Path>) -> Result<Option<Self>> {
        let base = images.unwrap_or(raw);
        let pictures = &corpus.spec.pictures;
        let folders = Split::ALL.map(|split| image_folders(pictures, base, split, images.is_some()));
        if folders.iter().all(Vec::is_empty) {
            let expected = expected_folders(pictures);
            return match images {
                Some(path) => Err(Error::image(path, format!("no image folder; expected {expected}"))),
                None => Ok(None),
            };
        }
        let dictionaries = |kind| -> Result<[Crops; 3]> {
            let found = Split::ALL.map(|split| crops::find_dictionary(corpus, kind, split, [base, raw]));
            let [train, validation, test] = found;
            Ok([train?, validation?, test?])
        };
        Ok(Some(Self {
            folders,
            crop_folders: CropKind::ALL
                .map(|kind| Split::ALL.map(|split| crops::crop_folders(pictures, kind, base, split))),
            crops: [dictionaries(CropKind::Grounding)?, dictionaries(CropKind::Detected)?],
        }))
    }

    /// Returns the names of a row's crops, given the row's number in the full file and its picture.
    pub fn crops(&self, kind: CropKind, split: Split, row: usize, image: &str) -> &[String] {
        self.crops[kind as usize][split as usize].names(row, crops::dictionary_key(kind, image))
    }

    /// Returns whether there is any folder of crop files.
    pub fn has_crop_files(&self) -> bool {
        self.crop_folders.iter().flatten().any(|folders| !folders.is_empty())
    }

    /// Reads and decodes a picture.
    ///
    /// # Errors
    /// The picture cannot be used; the error is the reason.
    pub fn load(&self, split: Split, id: &str) -> std::result::Result<(Picture, RgbImage), String> {
        self.picture(split, id, |bytes| decode(bytes).map(|pixels| (pixels.dimensions(), pixels)))
    }

    /// Reads a picture and checks that it decodes, which is less work than [`Gallery::load`].
    ///
    /// # Errors
    /// The picture cannot be used; the error is the reason.
    pub fn check(&self, split: Split, id: &str) -> std::result::Result<Picture, String> {
        self.picture(split, id, checked).map(|(picture, ())| picture)
    }

    /// Reads a crop that [`Gallery::crops`] names and checks that it decodes.
    ///
    /// # Errors
    /// The crop cannot be used; the error is the reason.
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
        if !is_plain_name(id) {
            return Err("unsafe name: an image id must be a plain file name".to_owned());
        }
        read(&self.folders[split as usize], id, see)
    }
}

/// Checks that the bytes of a picture decode, for [`read`].
fn checked(bytes: &[u8]) -> std::result::Result<((u32, u32), ()), String> {
    check(bytes).map(|size| (size, ()))
}

/// Reads `name` from the first folder that has it. `see` turns its bytes into the size and whatever else the caller needs.
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

/// Lists the folders that may contain pictures, for messages.
fn expected_folders(pictures: &PictureFolders) -> String {
    let folders = pictures.images.iter().map(|folder| folder.replace("{split}", "{train,val,test}") + "/");
    folders.collect::<Vec<_>>().join(" or ")
}

/// Returns the existing folders that may contain the pictures of a split; with `bare`, `base` itself is one of them.
fn image_folders(pictures: &PictureFolders, base: &Path, split: Split, bare: bool) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = pictures.images_of(split).map(|folder| base.join(folder)).collect();
    if bare {
        folders.push(base.to_path_buf());
    }
    folders.retain(|folder| folder.is_dir());
    folders
}
