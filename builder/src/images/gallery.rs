//! Finds the picture and crop files of a corpus and reads them.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::crops::{self, Crops};
use super::decode::{MAX_FILE_BYTES, check, decode};
use super::find::find;
use super::picture::{MISSING, Picture, picture_key};
use crate::corpus::{Corpus, CropKind, PictureFolders, Split, find as find_corpus};
use crate::error::{Error, Result};
use crate::files::stays_inside;

/// Where a gallery looks for pictures, and what it does with a damaged crop dictionary.
#[derive(Debug, Clone, Copy)]
pub struct GalleryOptions<'a> {
    /// Folder of the corpus files.
    pub raw: &'a Path,
    /// Folder of the pictures, if not below `raw`.
    pub images: Option<&'a Path>,
    /// For each split the folders with pictures that were inside the corpus files; empty where there were none.
    pub contained: &'a [Vec<PathBuf>; 3],
    /// Whether rows were dealt to other splits than those of their files: any split then shows pictures of any folder, and
    /// there are no crops, since dictionaries go by the number of a row in its file.
    pub dealt: bool,
    /// Go on without any crops if a dictionary is damaged.
    pub drop_bad_crops: bool,
}

/// The image folders, crop folders and crop dictionaries of a corpus.
#[derive(Debug)]
pub struct Gallery {
    /// Folders that may contain the pictures of each split.
    folders: [Vec<PathBuf>; 3],
    /// Where these folders are, for people: below `raw` or `images`.
    looked_in: Vec<String>,
    crops: CropFiles,
    /// Why the corpus is used without its crops, if it is.
    crops_dropped: Option<String>,
    /// Whether a row may come from the files of any split, so that a name must be that of one picture only.
    dealt: bool,
}

/// The crop folders and dictionaries of a corpus, by kind and split.
#[derive(Debug, Default)]
struct CropFiles {
    /// Folders that may contain the crops.
    folders: [[Vec<PathBuf>; 3]; 2],
    dictionaries: [[Crops; 3]; 2],
}

/// A picture that was found in one of the folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file and its size.
    pub picture: Picture,
    /// Whether the file has another extension than the name.
    pub renamed: bool,
    /// Whether another folder of the split has a different file of this name, which is not used.
    pub ambiguous: bool,
}

/// The result of looking for a picture: the error is why it cannot be used.
type Looked<T> = std::result::Result<T, String>;

impl Gallery {
    /// Finds folders and dictionaries below `images` or, if it is not given, below `raw`. Returns `None` if no row names a
    /// picture, or if there is no folder of pictures.
    ///
    /// # Errors
    /// `images` is given but has no folder of pictures; none of the folders that a corpus of one's own names is there; a crop dictionary is damaged and may not be left out.
    pub fn open(corpus: &Corpus, options: &GalleryOptions<'_>) -> Result<Option<Self>> {
        if corpus.text_only() {
            return Ok(None);
        }
        let pictures = &corpus.spec.pictures;
        let base = options.images.unwrap_or(options.raw);
        let known = Split::ALL.map(|split| image_folders(pictures, base, split, options.images.is_some()));
        let mut folders =
            Split::ALL.map(|split| [&options.contained[split as usize][..], &known[split as usize]].concat());
        if options.dealt {
            let all = distinct(folders.iter().flatten().cloned());
            folders = Split::ALL.map(|_| all.clone());
        }
        if let Some(path) = options.images
            && known.iter().all(Vec::is_empty)
        {
            let missing = if path.is_dir() { "no image folder" } else { "no such folder, so no image folder" };
            return Err(Error::image(path, format!("{missing}; expected {}", expected_folders(pictures))));
        }
        if folders.iter().all(Vec::is_empty) {
            // The folders of known corpora may be missing, because pictures are not always given away.
            return match pictures.images.first().filter(|_| find_corpus(&corpus.spec.name).is_err()) {
                Some(named) => {
                    let reason = "no such folder, which `images` of the protocol names; correct it, or leave `images` \
                                  out to build without pictures";
                    Err(Error::image(&base.join(named), reason))
                }
                None => Ok(None),
            };
        }
        let (crops, crops_dropped) = match CropFiles::find(corpus, base, options.raw) {
            _ if options.dealt => (CropFiles::default(), None),
            Err(Error::Image { path, reason }) if options.drop_bad_crops => {
                (CropFiles::default(), Some(format!("{}: {reason}", place(&path, options))))
            }
            Err(Error::Image { path, reason }) => {
                return Err(Error::image(&path, format!("{reason}; --on-bad-crops drop builds without crops")));
            }
            found => (found?, None),
        };
        let looked_in = distinct(known.iter().flatten().map(|folder| place(folder, options)));
        Ok(Some(Self { folders, looked_in, crops, crops_dropped, dealt: options.dealt }))
    }

    /// Returns whether splits have folders of their own, so that the same name may be that of another picture in another
    /// split.
    pub fn by_split(&self) -> bool {
        let [train, validation, test] = &self.folders;
        train != validation || train != test
    }

    /// Returns the key of a picture in lists of the benchmark's pictures.
    pub fn key(&self, split: Split, name: &str) -> String {
        picture_key(self.by_split().then_some(split), name)
    }

    /// Returns the folders in which pictures are looked for, relative to that of the corpus or of its pictures.
    pub fn looked_in(&self) -> &[String] {
        &self.looked_in
    }

    /// Returns why the crops of the corpus were left out, if they were.
    pub fn crops_dropped(&self) -> Option<&str> {
        self.crops_dropped.as_deref()
    }

    /// Returns the names of a row's crops, given the row's number in the full file and its picture.
    pub fn crops(&self, kind: CropKind, split: Split, row: usize, image: &str) -> &[String] {
        let dictionary = &self.crops.dictionaries[kind as usize][split as usize];
        dictionary.names(row, crops::dictionary_key(kind, image))
    }

    /// Returns whether there is any folder of crop files.
    pub fn has_crop_files(&self) -> bool {
        self.crops.folders.iter().flatten().any(|folders| !folders.is_empty())
    }

    /// Returns the bytes that reading a picture takes; 0 if there is none to read.
    pub fn size(&self, split: Split, name: &str) -> u64 {
        size(&self.folders[split as usize], name)
    }

    /// Returns the bytes that reading a crop takes; 0 if there is none to read.
    pub fn crop_size(&self, kind: CropKind, split: Split, name: &str) -> u64 {
        size(&self.crops.folders[kind as usize][split as usize], name)
    }

    /// Reads and decodes a picture.
    ///
    /// # Errors
    /// The picture cannot be used; the error is the reason.
    pub fn load(&self, split: Split, name: &str) -> Looked<(Found, RgbImage)> {
        self.read(split, name, |bytes| decode(bytes).map(|pixels| (pixels.dimensions(), pixels)))
    }

    /// Reads a picture and checks that it decodes, which is less work than [`Gallery::load`].
    ///
    /// # Errors
    /// The picture cannot be used; the error is the reason.
    pub fn check(&self, split: Split, name: &str) -> Looked<Found> {
        self.read(split, name, checked).map(|(found, ())| found)
    }

    fn read<T>(
        &self,
        split: Split,
        name: &str,
        see: impl FnOnce(&[u8]) -> Looked<((u32, u32), T)>,
    ) -> Looked<(Found, T)> {
        let folders = &self.folders[split as usize];
        let ambiguous = stays_inside(name) && differ(folders, name);
        if self.dealt && ambiguous {
            let reason = "the folders of several splits have different pictures of this name, and `[split]` has dealt the \
                          rows anew; give each picture a name of its own";
            return Err(reason.to_owned());
        }
        let (found, seen) = read(folders, name, see)?;
        Ok((Found { ambiguous, ..found }, seen))
    }

    /// Reads a crop that [`Gallery::crops`] names and checks that it decodes.
    ///
    /// # Errors
    /// The crop cannot be used; the error is the reason.
    pub fn check_crop(&self, kind: CropKind, split: Split, name: &str) -> Looked<Picture> {
        read(&self.crops.folders[kind as usize][split as usize], name, checked).map(|(found, ())| found.picture)
    }
}

impl CropFiles {
    /// Finds the crop folders below `base` and the dictionaries below `base` or `raw`.
    fn find(corpus: &Corpus, base: &Path, raw: &Path) -> Result<Self> {
        let dictionaries = |kind| -> Result<[Crops; 3]> {
            let found = Split::ALL.map(|split| crops::find_dictionary(corpus, kind, split, [base, raw]));
            let [train, validation, test] = found;
            Ok([train?, validation?, test?])
        };
        let folders = |kind| Split::ALL.map(|split| crops::crop_folders(&corpus.spec.pictures, kind, base, split));
        Ok(Self {
            folders: CropKind::ALL.map(folders),
            dictionaries: [dictionaries(CropKind::Grounding)?, dictionaries(CropKind::Detected)?],
        })
    }
}

/// Checks that the bytes of a picture decode, for [`read`].
fn checked(bytes: &[u8]) -> Looked<((u32, u32), ())> {
    check(bytes).map(|size| (size, ()))
}

/// Returns the bytes that [`read`] reads.
fn size(folders: &[PathBuf], name: &str) -> u64 {
    let file = Some(name).filter(|name| stays_inside(name)).and_then(|name| find(folders, name));
    let size = file.and_then(|file| std::fs::metadata(file.path).ok()).map_or(0, |metadata| metadata.len());
    if size > MAX_FILE_BYTES { 0 } else { size }
}

/// Reads the file of a name. `see` turns its bytes into the size and whatever else the caller needs.
fn read<T>(folders: &[PathBuf], name: &str, see: impl FnOnce(&[u8]) -> Looked<((u32, u32), T)>) -> Looked<(Found, T)> {
    if !stays_inside(name) {
        return Err("unsafe name: the name of a picture must be a path below its folder".to_owned());
    }
    let file = find(folders, name).ok_or(MISSING)?;
    let size = fs_err::metadata(&file.path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("{size} bytes, more than the limit of {MAX_FILE_BYTES}"));
    }
    let bytes = fs_err::read(&file.path).map_err(|error| error.to_string())?;
    let (size, seen) = see(&bytes)?;
    Ok((Found { picture: Picture::new(bytes, size), renamed: file.renamed, ambiguous: false }, seen))
}

/// Returns whether several folders have a file of a name and the files are not the same.
fn differ(folders: &[PathBuf], name: &str) -> bool {
    let mut files = folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file());
    let Some(first) = files.next() else { return false };
    let content = |path: &Path| std::fs::read(path).ok();
    files.any(|other| content(&other) != content(&first))
}

/// Keeps the first of equal values.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

/// Names a folder or file by its path below `images` or `raw`, so that a benchmark does not depend on where they are.
fn place(path: &Path, options: &GalleryOptions<'_>) -> String {
    let bases = options.images.into_iter().chain([options.raw]);
    let below = bases.filter_map(|base| path.strip_prefix(base).ok()).next().unwrap_or(path);
    if below.as_os_str().is_empty() { ".".to_owned() } else { below.to_string_lossy().into_owned() }
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
