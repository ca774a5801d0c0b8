//! Crops: parts of a picture found by visual grounding or by an object detector, and the dictionaries (`.pth`) that
//! say which belong to a row or a picture. A dictionary is a zip archive that holds one pickled dict. Only plain values
//! are read; a pickle that asks for a function or a class is refused, so nothing in the file can run.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use serde_pickle::{DeOptions, HashableValue, Value};

use super::short;
use crate::corpus::{Corpus, CorpusKind, Split};
use crate::error::{Error, Result};

/// Where a crop comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CropKind {
    /// Visual grounding: objects the sentence speaks of.
    Grounding,
    /// An object detector that sees the picture only.
    Detected,
}

impl CropKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grounding, Self::Detected];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grounding => "grounding",
            Self::Detected => "detected",
        }
    }

    /// The key of a picture in the dictionary: its file name, or what stands before the first dot of it.
    pub(super) fn key(self, image: &str) -> &str {
        match self {
            Self::Grounding => image,
            Self::Detected => image.split('.').next().unwrap_or(image),
        }
    }
}

/// The folder below the base that holds the crops of a kind, as the corpora are published.
fn home(corpus: CorpusKind, kind: CropKind) -> &'static str {
    match (corpus, kind) {
        (CorpusKind::Mnre, CropKind::Grounding) => "img_vg",
        (CorpusKind::Mnre, CropKind::Detected) => "img_detect",
        (CorpusKind::Twitter2017, CropKind::Grounding) => "twitter2017_aux_images",
        (CorpusKind::Twitter2017, CropKind::Detected) => "twitter17_detect",
    }
}

/// Folders that may hold the crop files of a split; none if the corpus came without, or with a dictionary alone.
pub(super) fn folders(corpus: CorpusKind, kind: CropKind, base: &Path, split: Split) -> Vec<PathBuf> {
    let folder = base.join(home(corpus, kind)).join(short(split));
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

/// The dictionary of a kind and split from the first folder that has it; an empty one if none has.
///
/// # Errors
/// A damaged dictionary.
pub(super) fn find(corpus: &Corpus, kind: CropKind, split: Split, dirs: [&Path; 2]) -> Result<Crops> {
    let short = short(split);
    let name = match (corpus.kind, kind) {
        (CorpusKind::Mnre, CropKind::Grounding) if split == Split::Validation => "mre_dev_dict.pth".to_owned(),
        (CorpusKind::Mnre, CropKind::Grounding) => format!("mre_{short}_dict.pth"),
        (CorpusKind::Mnre, CropKind::Detected) => format!("{short}_img2crop.pth"),
        (CorpusKind::Twitter2017, CropKind::Grounding) => format!("twitter2017_{short}_dict.pth"),
        (CorpusKind::Twitter2017, CropKind::Detected) => "twitter17_img2crop.pth".to_owned(),
    };
    let home = home(corpus.kind, kind);
    let places = |dir: &Path| [dir.join(&name), dir.join(home).join(&name), dir.join(home).join(short).join(&name)];
    let records = corpus.split(split).last().map_or(0, |last| last.row + 1);
    let path = dirs.into_iter().flat_map(places).find(|path| path.is_file());
    path.map_or_else(|| Ok(Crops::default()), |path| Crops::read(&path, records))
}

/// Crop file names by full-file row number (MNRE) or by image file name (Twitter-2017, detectors).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crops {
    by_row: BTreeMap<usize, Vec<String>>,
    by_image: BTreeMap<String, Vec<String>>,
}

/// Larger dictionaries are refused; the published ones are below 2 MB.
const MAX_BYTES: u64 = 256 << 20;

impl Crops {
    /// Reads a dictionary of a corpus file with `rows` records.
    ///
    /// # Errors
    /// Not a zip archive of a pickled dict from row or name to a list of file names; a row beyond the corpus file; a
    /// crop name that is not a file name or a path below the corpus's folder.
    pub fn read(path: &Path, rows: usize) -> Result<Self> {
        let bad = |reason: String| Error::image(path, format!("not a crop dictionary: {reason}"));
        let value =
            serde_pickle::value_from_slice(&pickle(path)?, DeOptions::new()).map_err(|error| bad(error.to_string()))?;
        let Value::Dict(entries) = value else { return Err(bad("the pickled value is not a dict".to_owned())) };
        let mut crops = Self::default();
        for (key, value) in entries {
            let names = names(value).map_err(|reason| bad(format!("at key {key}: {reason}")))?;
            match key {
                HashableValue::I64(row) => match usize::try_from(row) {
                    Ok(row) if row < rows => drop(crops.by_row.insert(row, names)),
                    _ => return Err(bad(format!("row {row}, but the corpus file has {rows} records"))),
                },
                HashableValue::String(image) => drop(crops.by_image.insert(image, names)),
                other => return Err(bad(format!("key {other} is neither a row number nor a name"))),
            }
        }
        Ok(crops)
    }

    /// The crops of a row; none if the dictionary does not know it.
    pub fn of(&self, row: usize, image: &str) -> &[String] {
        self.by_row.get(&row).or_else(|| self.by_image.get(image)).map_or(&[], Vec::as_slice)
    }
}

/// The bytes of `<any folder>/data.pkl` in the archive.
fn pickle(path: &Path) -> Result<Vec<u8>> {
    let bad = |error: zip::result::ZipError| {
        Error::image(path, format!("not a zip archive as torch.save writes it: {error}"))
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(fs_err::read(path)?)).map_err(bad)?;
    let name = archive.file_names().find(|name| name.ends_with("data.pkl")).map(str::to_owned);
    let name = name.ok_or_else(|| Error::image(path, "the archive holds no data.pkl"))?;
    let entry = archive.by_name(&name).map_err(bad)?;
    let mut bytes = Vec::new();
    entry.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::image(path, format!("data.pkl unpacks to more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

fn names(value: Value) -> std::result::Result<Vec<String>, String> {
    let Value::List(items) = value else { return Err("expected a list of file names".to_owned()) };
    let name = |item| match item {
        Value::String(name) if is_below(&name) => Ok(name),
        other => Err(format!("expected a file name, found {other}")),
    };
    items.into_iter().map(name).collect()
}

/// A file name, or a path that stays below the folder it is joined to.
fn is_below(name: &str) -> bool {
    name.split('/').all(|part| part == "." || super::is_plain(part))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        assert_eq!(by_row.of(3, "x.jpg"), ["a.png"]);
        assert!(by_row.of(2, "x.jpg").is_empty());
        let by_image =
            Crops::read(&archive(dir.path(), &dict(HashableValue::String("x.jpg".to_owned()), "b.png")), 4).unwrap();
        assert_eq!(by_image.of(0, "x.jpg"), ["b.png"]);
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
    }
}
