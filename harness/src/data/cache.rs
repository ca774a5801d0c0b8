//! Prepared pixels on disk: pictures are decoded and resized once, for every run that sees them.
//!
//! A file holds pictures of one size, bytes `[3, S, S]` each, an index (JSON: their names and CRC-32C sums in order),
//! and a tail: SHA-256 of the index, its length, a mark. It is written to a temporary sibling and renamed, so that other
//! processes never read half a file, and checked as a whole when it is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use image::RgbImage;
use memmap2::Mmap;
use mkgc_builder::dataset::{BenchmarkFolder, IMAGES_FILE};
use mkgc_builder::files::{parent_folder, persist, sha256_hex};
use mkgc_models::pixels::resize_crop;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::console::note;
use crate::error::{Error, Result};

/// Part of every file's name: raise it when `decode`, `resize_crop` or a crate behind them changes a pixel.
const PREPROCESSING: u32 = 2;

/// Names of files that are being written begin with this.
const UNFINISHED: &str = ".mkgc-pixels-";

/// How long nobody has written to an unfinished file that a killed process left.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// The last bytes of a file, with the version of its layout.
const MARK: &[u8; 8] = b"mkgcpix2";
/// Bytes of the tail: SHA-256, length, mark.
const TAIL: usize = 32 + 8 + 8;

/// Name and CRC-32C of each picture: against damage, not malice, and far less work than a hash.
type Checksums = Vec<(String, u32)>;

/// Returns the folder of prepared pixels: `$MKGC_CACHE`, else `$XDG_CACHE_HOME/mkgc`, else `~/.cache/mkgc`.
///
/// # Errors
/// None of these is known.
pub fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let own = || Some(set("XDG_CACHE_HOME").or_else(home)?.join("mkgc"));
    let missing = || Error::Usage("no home folder: set MKGC_CACHE to a folder for prepared pictures".to_owned());
    set("MKGC_CACHE").or_else(own).ok_or_else(missing)
}

/// Returns the path of the prepared pictures of a benchmark, `side` pixels a side.
pub fn images(folder: &Path, benchmark: &BenchmarkFolder, side: usize) -> PathBuf {
    prepared_path(folder, benchmark, IMAGES_FILE, "images", side)
}

/// Returns the path of the prepared pixels of an images or crops file, or of its shards. If images are embedded in the
/// rows, the key covers all files of the benchmark. Benchmarks with the same pictures share the path.
pub(super) fn prepared_path(
    folder: &Path,
    benchmark: &BenchmarkFolder,
    file: &'static str,
    kind: &str,
    side: usize,
) -> PathBuf {
    let manifest = benchmark.manifest();
    let sums: Vec<&str> = manifest.parts(file).map(|part| part.sha256.as_str()).collect();
    let content = match sums[..] {
        [whole] => whole.to_owned(),
        [] => sha256_hex(manifest.files.iter().map(|file| file.sha256.as_str()).collect::<String>().as_bytes()),
        _ => sha256_hex(sums.concat().as_bytes()),
    };
    let version = env!("CARGO_PKG_VERSION");
    folder.join(format!("{kind}-{content}-{side}-v{version}.{PREPROCESSING}.pixels"))
}

/// Prepares pictures on any number of threads and writes them.
pub struct PixelWriter {
    side: usize,
    written: Mutex<Written>,
}

struct Written {
    file: NamedTempFile,
    index: Checksums,
    known: BTreeSet<String>,
}

impl PixelWriter {
    /// Starts a file in `folder`, which is made if need be, and deletes those that killed processes left there.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(folder: &Path, side: usize) -> Result<Self> {
        remove_abandoned(folder);
        let start = |()| tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder);
        let file = fs_err::create_dir_all(folder).and_then(start);
        let file = file.map_err(|error| unwritable(folder, &error))?;
        Ok(Self { side, written: Mutex::new(Written { file, index: Checksums::new(), known: BTreeSet::new() }) })
    }

    /// Resizes a picture and appends it; one of a name that is there already is left out.
    ///
    /// # Errors
    /// A picture of no pixels; the file cannot be written.
    pub fn add(&self, name: &str, picture: &RgbImage) -> Result<()> {
        let planes = resize_crop(picture, self.side)?;
        let sum = crc32c::crc32c(&planes);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.known.insert(name.to_owned()) {
            written.index.push((name.to_owned(), sum));
            written.append(&planes)?;
        }
        Ok(())
    }

    /// Ends the file and renames it to `path`, which lies in the folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self, path: &Path) -> Result<()> {
        let mut written = self.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        let index = serde_json::to_vec(&written.index)?;
        let length = (index.len() as u64).to_le_bytes();
        written.append(&[&index, &Sha256::digest(&index)[..], &length, MARK].concat())?;
        Ok(persist(written.file, path)?)
    }
}

impl Written {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| unwritable(self.file.path(), &error))
    }
}

/// Deletes unfinished files that nobody writes to any more; what cannot be deleted stays.
fn remove_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|written| written.elapsed().ok());
        if unfinished && age.is_some_and(|age| age > ABANDONED) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    let remedy = "set MKGC_CACHE to a folder with room that can be written";
    Error::Usage(format!("cannot keep prepared pictures in {}: {error}; {remedy}", path.display()))
}

/// A file of prepared pictures, mapped into memory.
pub struct PixelFile {
    map: Mmap,
    size: usize,
    at: BTreeMap<String, usize>,
}

impl PixelFile {
    /// Opens the file at `path` or, where there is none or a damaged one, makes it with what `fill` adds.
    ///
    /// # Errors
    /// The file cannot be written; an error of `fill`.
    pub fn open_or_make(path: &Path, side: usize, fill: impl FnOnce(&PixelWriter) -> Result<()>) -> Result<Self> {
        if path.exists() {
            match Self::open(path, side) {
                Ok(file) => return Ok(file),
                Err(reason) => note(format_args!("warning: {}: {reason}; it is made again", path.display())),
            }
        }
        note(format_args!("preparing pictures, once: {}", path.display()));
        let writer = PixelWriter::create(parent_folder(path), side)?;
        fill(&writer)?;
        writer.finish(path)?;
        Self::open(path, side).map_err(|reason| Error::Usage(format!("{}: {reason}", path.display())))
    }

    /// Opens a file and checks every byte of it; the error says what is wrong with it.
    fn open(path: &Path, side: usize) -> std::result::Result<Self, String> {
        let map = mapped(path).map_err(|error| error.to_string())?;
        let size = 3 * side * side;
        let (planes, index) = parts(&map)?;
        if planes.len() != index.len() * size {
            return Err(format!("{} bytes for {} pictures of {size} bytes", planes.len(), index.len()));
        }
        let whole = |((_, sum), plane): (&(String, u32), &[u8])| crc32c::crc32c(plane) == *sum;
        if !index.par_iter().zip(planes.par_chunks_exact(size.max(1))).all(whole) {
            return Err("a picture does not have its CRC-32C".to_owned());
        }
        let at = index.into_iter().enumerate().map(|(n, (name, _))| (name, n * size)).collect();
        Ok(Self { map, size, at })
    }

    /// Returns the bytes `[3, S, S]` of a picture; none if the file does not hold it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.at.get(name).map(|at| &self.map[*at..at + self.size])
    }
}

/// Splits a file into pictures and index.
fn parts(map: &[u8]) -> std::result::Result<(&[u8], Checksums), String> {
    let cut = || "it is cut off".to_owned();
    let (rest, tail) = map.split_at(map.len().saturating_sub(TAIL));
    let (hash, length) = tail.strip_suffix(MARK).and_then(|tail| tail.split_last_chunk()).ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok();
    let (planes, index) = rest.split_at(length.and_then(|length| rest.len().checked_sub(length)).ok_or_else(cut)?);
    if Sha256::digest(index)[..] != *hash {
        return Err("its index does not have its SHA-256".to_owned());
    }
    Ok((planes, serde_json::from_slice(index).map_err(|error| error.to_string())?))
}

/// Maps a file for reading.
#[allow(unsafe_code, reason = "a map of a file is memory that others could change; see below")]
fn mapped(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: files here are written under another name, renamed in and from then on only replaced as a whole or
    // deleted, which leaves the mapped one as it is: nothing writes to the memory behind the map or cuts it short.
    unsafe { Mmap::map(&file) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use image::Rgb;
    use tempfile::TempDir;

    use super::*;

    /// A file of two pictures of two shades, and how often it was made.
    struct DamageCase {
        dir: TempDir,
        made: usize,
    }

    impl DamageCase {
        fn path(&self) -> PathBuf {
            self.dir.path().join("new/images.pixels")
        }

        fn open(&mut self) -> PixelFile {
            let made = &mut self.made;
            let fill = |writer: &PixelWriter| {
                *made += 1;
                [("a", 1), ("b", 2), ("a", 1)]
                    .into_iter()
                    .try_for_each(|(name, shade)| writer.add(name, &RgbImage::from_pixel(5, 4, Rgb([shade; 3]))))
            };
            let path = self.dir.path().join("new/images.pixels");
            let file = PixelFile::open_or_make(&path, 2, fill).unwrap();
            assert_eq!((file.get("a"), file.get("b")), (Some(&[1; 12][..]), Some(&[2; 12][..])));
            assert_eq!(file.get("c"), None);
            file
        }
    }

    #[test]
    fn a_file_is_made_once_and_a_damaged_one_again() {
        let mut case = DamageCase { dir: tempfile::tempdir().unwrap(), made: 0 };
        let first = case.open();
        case.open();
        assert_eq!(case.made, 1);
        let good = fs_err::read(case.path()).unwrap();
        assert_eq!(good.len() - TAIL - 24, serde_json::to_vec(&parts(&good).unwrap().1).unwrap().len());
        let mut made = 1;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            for bad in [bad, good[..at].to_vec()] {
                // As the file system would leave it: another file of the same name.
                fs_err::remove_file(case.path()).unwrap();
                fs_err::write(case.path(), &bad).unwrap();
                made += 1;
                case.open();
                assert_eq!(case.made, made, "byte {at} of {}", good.len());
            }
        }
        assert_eq!(fs_err::read(case.path()).unwrap(), good);
        assert_eq!(first.get("b"), Some(&[2; 12][..]), "a file in use outlives its replacement");
        let left = fs_err::read_dir(case.path().parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "temporary files are left behind");
    }

    #[test]
    fn what_a_killed_process_left_is_deleted_and_what_is_being_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let hours = |hours: u64| std::time::SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        for (name, age) in [(".mkgc-pixels-old", 25), (".mkgc-pixels-live", 23), ("images.pixels", 25)] {
            File::create(path(name)).unwrap().set_modified(hours(age)).unwrap();
        }
        drop(PixelWriter::create(dir.path(), 2).unwrap());
        assert!(!path(".mkgc-pixels-old").exists());
        assert!(path(".mkgc-pixels-live").exists() && path("images.pixels").exists());
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_of_another_size_is_made_again() {
        let mut case = DamageCase { dir: tempfile::tempdir().unwrap(), made: 0 };
        case.open();
        assert!(PixelFile::open(&case.path(), 1).err().unwrap().contains("24 bytes for 2 pictures of 3 bytes"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("file"), "").unwrap();
        let error = PixelWriter::create(&dir.path().join("file/cache"), 2).err().unwrap().to_string();
        assert!(error.contains("file/cache") && error.contains("MKGC_CACHE"), "{error}");
    }
}
