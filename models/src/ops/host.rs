//! Reads tensors in host memory as slices.

use std::ops::Range;

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, WithDType};

/// Returns the values of a contiguous tensor from its storage, as candle hands it to an operation.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("the tensor is not contiguous") };
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// A contiguous f32 tensor in host memory, locked for reading.
pub(super) struct Host<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Host<'a> {
    pub fn new(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        match layout.contiguous_offsets() {
            Some((start, end)) => Ok(Self { storage, range: start..end }),
            None => candle_core::bail!("the tensor is not contiguous"),
        }
    }

    pub fn values(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok(&storage.as_slice::<f32>()?[self.range.clone()]),
            _ => candle_core::bail!("the tensor is not in host memory"),
        }
    }
}
