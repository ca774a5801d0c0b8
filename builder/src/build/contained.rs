//! Writes the pictures that are inside corpus files to a temporary folder, where they are found like any others.

use std::path::{Path, PathBuf};

use crate::corpus::format::ContainedPictures;
use crate::corpus::{self, CorpusSpec, Split};
use crate::error::{Error, Result};
use crate::files::stays_inside;

/// The pictures of a corpus's files, on disk until [`Contained::remove`].
#[derive(Debug, Default)]
pub struct Contained {
    /// The folder of all of them; `None` if the files contain none.
    root: Option<PathBuf>,
    /// The folder with the pictures of each split, in the order of [`Split::ALL`]; none where its files contain none.
    pub folders: [Vec<PathBuf>; 3],
}

impl Contained {
    /// Writes the pictures of each split's files to a folder in `root`, which is created if there are any.
    ///
    /// # Errors
    /// A corpus file cannot be read, or contains two pictures of one name; a picture cannot be written.
    pub fn unpack(spec: &CorpusSpec, raw: &Path, root: &Path) -> Result<Self> {
        let mut contained = Self::default();
        for split in Split::ALL {
            let folder = root.join(split.name());
            for path in corpus::find_files(raw, split, &spec.files[split as usize], None)? {
                if let Some(pictures) = spec.format.pictures(&path)? {
                    fs_err::create_dir_all(&folder)?;
                    unpack_file(&path, pictures, &folder)?;
                    contained.folders[split as usize] = vec![folder.clone()];
                    contained.root = Some(root.to_path_buf());
                }
            }
        }
        Ok(contained)
    }

    /// Deletes the pictures again.
    ///
    /// # Errors
    /// The folder cannot be deleted.
    pub fn remove(self) -> Result<()> {
        match self.root {
            Some(root) => Ok(fs_err::remove_dir_all(root)?),
            None => Ok(()),
        }
    }
}

/// Writes the pictures of a corpus file to `folder`. One of an unsafe name is left out, which its row is told later.
fn unpack_file(file: &Path, pictures: ContainedPictures, folder: &Path) -> Result<()> {
    for picture in pictures {
        let (name, bytes) = picture?;
        if !stays_inside(&name) {
            continue;
        }
        let path = folder.join(&name);
        if path.is_file() && fs_err::read(&path)? != bytes {
            let reason = format!("contains a second picture called `{name}`; give different pictures different names");
            return Err(Error::dataset(file, reason));
        }
        fs_err::create_dir_all(path.parent().unwrap_or(folder))?;
        fs_err::write(path, bytes)?;
    }
    Ok(())
}
