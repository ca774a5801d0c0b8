//! Crop dictionaries (`.pth`): zip archives that hold one pickled dict. Only plain values are read; a pickle that
//! asks for a function or a class is refused, so nothing in the file can run.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use serde_pickle::{DeOptions, HashableValue, Value};

use crate::error::{Error, Result};

/// Crop file names by full-file row number (MNRE) or by image file name (Twitter-2017).
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
    /// crop name that is not a plain file name.
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
        Value::String(name) if super::is_plain(&name) => Ok(name),
        other => Err(format!("expected a file name, found {other}")),
    };
    items.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn archive(dir: &Path, pickle: &[u8]) -> std::path::PathBuf {
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
