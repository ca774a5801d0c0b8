//! Reads tensors of a safetensors file one at a time. Reading the whole file at once would double the memory of its
//! weights.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::error::{Error, Result};

/// An open file whose header has been read.
pub(crate) struct WeightFile {
    path: PathBuf,
    tensors: BTreeMap<String, TensorInfo>,
    /// Offset of the tensors in the file, in bytes.
    start: u64,
}

impl WeightFile {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |reason: &dyn std::fmt::Display| Error::encoder(path, format!("not a safetensors file: {reason}"));
        let mut file = fs_err::File::open(path)?;
        let length = file.metadata()?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|error| bad(&error))?;
        let size = u64::from_le_bytes(size);
        if size > length {
            return Err(bad(&format!("a header of {size} bytes in a file of {length}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(|error| bad(&error))?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| bad(&error))?;
        let start = 8 + size;
        let data = metadata.data_len() as u64;
        // The header may speak of any size, so that a sum could be beyond the largest number.
        if length.checked_sub(start) != Some(data) {
            return Err(bad(&format!("{length} bytes, but its header speaks of {data} after the first {start}")));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Self { path: path.to_path_buf(), tensors, start })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the tensors in order.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// Returns the shape of a tensor, or none if the file lacks it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| info.shape.as_slice())
    }

    /// Reads a tensor into host memory, as f32.
    pub fn read(&self, name: &str) -> candle_core::Result<Tensor> {
        let Some(TensorInfo { dtype, shape, data_offsets: (begin, end) }) = self.tensors.get(name) else {
            candle_core::bail!("{}: no tensor `{name}`", self.path.display());
        };
        // Whole numbers are quantised weights, which mean nothing without their scales.
        if !matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            let remedy = "give weights of F16, BF16, F32 or F64";
            candle_core::bail!("{}: tensor `{name}` holds {dtype:?}; {remedy}", self.path.display());
        }
        let mut file = fs_err::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start + *begin as u64))?;
        let mut bytes = vec![0; end - begin];
        file.read_exact(&mut bytes)?;
        Tensor::from_raw_buffer(&bytes, (*dtype).try_into()?, shape, &Device::Cpu)?.to_dtype(DType::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_read_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let a = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((2, 3)).unwrap();
        let b = (&a + 1.0).unwrap().to_dtype(DType::BF16).unwrap();
        candle_core::safetensors::save(&[("a", a.clone()), ("b", b)].into_iter().collect(), &path).unwrap();
        let file = WeightFile::open(&path).unwrap();
        assert_eq!((file.names().count(), file.shape("b").unwrap()), (2, &[2, 3][..]));
        let read = |name: &str| file.read(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(read("a"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read("b"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let whole = Tensor::new(&[1i64, 2], &Device::Cpu).unwrap();
        let numbers = folder.path().join("numbers.safetensors");
        candle_core::safetensors::save(&[("a", whole)].into_iter().collect(), &numbers).unwrap();
        let error = WeightFile::open(&numbers).unwrap().read("a").unwrap_err().to_string();
        assert!(error.contains("tensor `a` holds I64; give weights of F16"), "{error}");
        assert!(file.read("c").unwrap_err().to_string().contains("model.safetensors: no tensor `c`"));
        let whole = fs_err::read(&path).unwrap();
        let header = format!(r#"{{"x":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, u64::MAX);
        let endless = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        for (bytes, reason) in [
            (&endless[..], "not a safetensors file"),
            (&whole[..whole.len() - 1], "its header speaks of"),
            (&whole[..20], "not a safetensors file"),
            (&whole[..3], "not a safetensors file"),
            (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "a header of"),
        ] {
            fs_err::write(&path, bytes).unwrap();
            let error = WeightFile::open(&path).err().unwrap().to_string();
            assert!(error.contains("model.safetensors") && error.contains(reason), "{error}");
        }
    }
}
