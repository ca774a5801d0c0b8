//! Crops are parts of a picture found by visual grounding or by an object detector. Dictionaries (`.pth`) say which crops
//! belong to a row or a picture. A dictionary is a zip archive that contains one pickled dict.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::pickle::{self, Key};
use crate::corpus::{Corpus, CropKind, PictureFolders, Split};
use crate::error::{Error, Result};
use crate::files::stays_inside;

/// Returns the key of a picture in a dictionary: its file name, or for detected crops the part before the first dot.
pub fn dictionary_key(kind: CropKind, image: &str) -> &str {
    match kind {
        CropKind::Grounding => image,
        CropKind::Detected => image.split('.').next().unwrap_or(image),
    }
}

/// Returns the folders that may contain the crop files of a split; none if there are no files, or only a dictionary.
pub fn crop_folders(pictures: &PictureFolders, kind: CropKind, base: &Path, split: Split) -> Vec<PathBuf> {
    let Some(crops) = pictures.crops_of(kind) else { return Vec::new() };
    let folder = base.join(&crops.folder).join(split.short_name());
    let is_file_of_crops = |entry: std::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_none_or(|extension| extension != "pth"))
    };
    if !std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.any(is_file_of_crops)) {
        return Vec::new();
    }
    let crops = folder.join("crops");
    // The detector's dictionaries name files by their path below the base.
    match kind {
        CropKind::Grounding => vec![crops],
        CropKind::Detected => vec![base.to_path_buf(), crops, folder],
    }
}

/// Reads the dictionary of a kind and split from the first of `dirs` that has it; returns an empty one if none has.
///
/// # Errors
/// The dictionary is damaged.
pub fn find_dictionary(corpus: &Corpus, kind: CropKind, split: Split, dirs: [&Path; 2]) -> Result<Crops> {
    let Some(crops) = corpus.spec.pictures.crops_of(kind) else { return Ok(Crops::default()) };
    let name = &crops.dictionaries[split as usize];
    let candidates = |dir: &Path| {
        let folder = dir.join(&crops.folder);
        [dir.join(name), folder.join(name), folder.join(split.short_name()).join(name)]
    };
    let records = corpus.split(split).last().map_or(0, |last| last.row + 1);
    let path = dirs.into_iter().flat_map(candidates).find(|path| path.is_file());
    path.map_or_else(|| Ok(Crops::default()), |path| Crops::read(&path, records))
}

/// A dictionary: names of crop files by the number of a row in the full file, or by the name of a picture.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crops {
    by_row: BTreeMap<usize, Vec<String>>,
    by_image: BTreeMap<String, Vec<String>>,
}

/// Largest size of an unpacked dictionary; the published ones are below 2 MB. An object takes up to 50 bytes for each of its
/// own in the file.
const MAX_BYTES: u64 = 16 << 20;

impl Crops {
    /// Reads the dictionary of a corpus file with `rows` records.
    ///
    /// # Errors
    /// The file is not a zip archive of a pickled dict from rows or names to lists of file names; a row is beyond the
    /// end of the corpus file; a crop name leaves the folder of the corpus.
    pub fn read(path: &Path, rows: usize) -> Result<Self> {
        let bad = |reason: String| Error::image(path, format!("not a crop dictionary: {reason}"));
        let mut crops = Self::default();
        for (key, names) in pickle::read(&unpacked(path)?).map_err(bad)? {
            if let Some(name) = names.iter().find(|name| !stays_inside(name)) {
                return Err(bad(format!("at key {}: expected a file name, found `{name}`", key.shown())));
            }
            match key {
                Key::Row(row) => match usize::try_from(row) {
                    Ok(row) if row < rows => drop(crops.by_row.insert(row, names)),
                    _ => return Err(bad(format!("row {row}, but the corpus file has {rows} records"))),
                },
                Key::Image(image) => drop(crops.by_image.insert(image, names)),
            }
        }
        Ok(crops)
    }

    /// Returns the crops of a row, found by its number or else by its picture.
    pub fn names(&self, row: usize, image: &str) -> &[String] {
        self.by_row.get(&row).or_else(|| self.by_image.get(image)).map_or(&[], Vec::as_slice)
    }
}

/// The number that files of `torch.save` begin with, as a pickled integer, unless they are zip archives.
const OLD_FORMAT: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Returns the bytes of `<any folder>/data.pkl` in the archive.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let bad = |error: zip::result::ZipError| {
        Error::image(path, format!("not a zip archive as torch.save writes it: {error}"))
    };
    let bytes = fs_err::read(path)?;
    if memmem::find(&bytes[..bytes.len().min(32)], &OLD_FORMAT).is_some() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let python = format!("import torch; torch.save(torch.load('{name}'), '{name}')");
        let reason = format!("written in the format that torch had before version 1.6; write it again: `{python}`");
        return Err(Error::image(path, reason));
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(bad)?;
    let name = archive.file_names().find(|name| name.ends_with("data.pkl")).map(str::to_owned);
    let name = name.ok_or_else(|| Error::image(path, "the archive holds no data.pkl"))?;
    let entry = archive.by_name(&name).map_err(bad)?;
    let mut bytes = Vec::new();
    let damaged = |error: std::io::Error| Error::image(path, format!("a damaged zip archive ({error}); get it again"));
    entry.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::image(path, format!("data.pkl unpacks to more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_pickle::{HashableValue, Value};

    use super::*;

    fn archive(dir: &Path, pickle: &[u8]) -> PathBuf {
        let path = dir.join("crops.pth");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("archive/data.pkl", options).unwrap();
        zip.write_all(pickle).unwrap();
        zip.finish().unwrap();
        path
    }

    fn dict(key: HashableValue, name: &str) -> Vec<u8> {
        let value = Value::Dict([(key, Value::List(vec![Value::String(name.to_owned())]))].into());
        serde_pickle::value_to_vec(&value, serde_pickle::SerOptions::new().proto_v2()).unwrap()
    }

    #[test]
    fn crops_are_found_by_row_or_by_image() {
        let dir = tempfile::tempdir().unwrap();
        let by_row = Crops::read(&archive(dir.path(), &dict(HashableValue::I64(3), "a.png")), 4).unwrap();
        assert_eq!(by_row.names(3, "x.jpg"), ["a.png"]);
        assert!(by_row.names(2, "x.jpg").is_empty());
        let by_image =
            Crops::read(&archive(dir.path(), &dict(HashableValue::String("x.jpg".to_owned()), "b.png")), 4).unwrap();
        assert_eq!(by_image.names(0, "x.jpg"), ["b.png"]);
    }

    #[test]
    fn hostile_and_damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        // os.system("true"): GLOBAL, MARK, string, TUPLE, REDUCE.
        let code = b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truet\x52.".to_vec();
        for (pickle, message) in [
            (code, "not a crop dictionary"),
            (dict(HashableValue::I64(4), "a.png"), "row 4, but the corpus file has 4 records"),
            (dict(HashableValue::I64(0), "../a.png"), "expected a file name"),
            (dict(HashableValue::I64(0), "/etc/a.png"), "expected a file name"),
            (dict(HashableValue::I64(0), "a/../../b.png"), "expected a file name"),
            (b"\x80\x02}".to_vec(), "not a crop dictionary"),
        ] {
            let error = Crops::read(&archive(dir.path(), &pickle), 4).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("crops.pth"), "{error}");
        }
        let path = dir.path().join("text.pth");
        std::fs::write(&path, "hello").unwrap();
        assert!(Crops::read(&path, 1).unwrap_err().to_string().contains("not a zip archive"));
        // A byte of the pickle has changed since the archive was written.
        let path = archive(dir.path(), b"\x80\x02}q\x00.");
        let mut bytes = std::fs::read(&path).unwrap();
        let pickle = bytes.windows(2).position(|pair| pair == b"\x80\x02").unwrap();
        bytes[pickle + 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Crops::read(&path, 1).unwrap_err().to_string();
        assert!(error.contains("a damaged zip archive") && error.contains("crops.pth"), "{error}");
    }

    /// The first bytes of `torch.save({}, path, _use_new_zipfile_serialization=False)`.
    #[test]
    fn the_old_format_of_torch_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mre_train_dict.pth");
        let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00";
        std::fs::write(&path, head).unwrap();
        let error = Crops::read(&path, 1).unwrap_err().to_string();
        let python = "import torch; torch.save(torch.load('mre_train_dict.pth'), 'mre_train_dict.pth')";
        assert!(error.contains(python), "{error}");
    }
}
