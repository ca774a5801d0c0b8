//! The same operations on a GPU: kernels of `models/kernels`, for f32 and bf16, products by cuBLAS. Each gives what its
//! twin on the CPU gives, dropout masks included ([`check`]); nothing waits for the GPU.
//!
//! Kernels are launched on candle's stream. [`open_gpu`] gives all threads the same one, so they run in the order of the
//! calls and before anything is freed. `unsafe` is in this file and in `open.rs`: the launch itself, memory that a kernel
//! fills, and the settings of the driver.
#![allow(unsafe_code)]

mod attention;
pub(super) mod check;
mod crf;
mod layers;
mod open;
mod optimiser;
mod sublayer;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as MOST_SHARED;
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as SHARED;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail,
};

pub(super) use crf::{crf_nll, viterbi};
pub(crate) use layers::cross_entropy;
pub(super) use layers::{dropout, embedding, layer_norm, softmax};
pub use open::{GpuError, open_gpu};
pub(crate) use optimiser::{Noisy, Stepped, adamw, add_noise};
pub(super) use sublayer::{DeviceInner, sublayer};

use super::dropout::Mask;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// Threads of most blocks.
const THREADS: u32 = 256;
/// Shared memory that a block has without asking, bytes.
const PLAIN_SHARED: u32 = 48 << 10;

/// Whether the kernels serve a tensor; else the composition of candle's operations does.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16) && x.elem_count() > 0 && !super::is_composed()
}

/// An argument of a kernel.
enum Arg {
    /// An address in the GPU's memory; 0 for none.
    At(u64),
    /// A tensor.
    Tensor(Memory),
    I32(i32),
    U32(u32),
    U64(u64),
    F32(f32),
}

impl From<usize> for Arg {
    /// Sizes of one dimension.
    fn from(size: usize) -> Self {
        Self::I32(size as i32)
    }
}

/// A tensor that a kernel is given.
struct Memory {
    /// Address, number type and number of values; none where they are not one after another in the GPU's memory.
    is: Option<(u64, DType, usize)>,
    /// What the kernel reads or writes there.
    wants: (DType, usize),
}

impl Memory {
    /// The address, if what lies there is what the kernel wants.
    fn checked(&self, argument: impl std::fmt::Display) -> Result<u64> {
        let (dtype, count) = self.wants;
        match self.is {
            Some((address, is, values)) if (is, values) == self.wants => Ok(address),
            Some((_, is, values)) => bail!("{argument} takes {count} values of {dtype:?} but got {values} of {is:?}"),
            None => bail!("{argument} got a tensor that is not contiguous in the GPU's memory"),
        }
    }
}

/// A tensor as an argument: `count` values of `dtype`, one after another, or [`launch`] fails.
fn given(x: &Tensor, dtype: DType, count: usize) -> Arg {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => read(storage, layout, dtype, count),
        _ => Arg::Tensor(Memory { is: None, wants: (dtype, count) }),
    }
}

/// The same of a tensor that may be left out.
fn given_some(x: Option<&Tensor>, dtype: DType, count: usize) -> Arg {
    x.map_or(Arg::At(0), |x| given(x, dtype, count))
}

/// The same of an operation's input.
fn read(storage: &CudaStorage, layout: &Layout, dtype: DType, count: usize) -> Arg {
    let is = address(storage).zip(layout.contiguous_offsets());
    let is = is.map(|((address, _), (start, end))| {
        let is = storage.dtype();
        (address + (start * is.size_in_bytes()) as u64, is, end - start)
    });
    Arg::Tensor(Memory { is, wants: (dtype, count) })
}

/// The same of a whole [`storage`].
fn made(storage: &CudaStorage, dtype: DType, count: usize) -> Arg {
    let is = address(storage).map(|(address, values)| (address, storage.dtype(), values));
    Arg::Tensor(Memory { is, wants: (dtype, count) })
}

/// The three arguments of a mask; one that keeps everything if there is none.
fn mask(mask: Option<Mask>) -> [Arg; 3] {
    let (key, threshold, scale) = mask.map_or((0, 0, 1.0), Mask::parts);
    [Arg::U64(key), Arg::U32(threshold), Arg::F32(scale)]
}

/// Grid, threads of a block, bytes of shared memory.
struct Shape3 {
    grid: (u32, u32),
    threads: u32,
    shared: u32,
}

impl Shape3 {
    fn new(blocks: usize, threads: u32) -> Self {
        Self { grid: (blocks as u32, 1), threads, shared: 0 }
    }

    /// A block per row of `width` values.
    fn rows(rows: usize, width: usize) -> Self {
        Self::new(rows, (width as u32).next_multiple_of(32).min(THREADS))
    }

    /// A warp per row.
    fn warps(rows: usize) -> Self {
        Self::new(rows.div_ceil(4), 128)
    }

    /// A thread per value, and some more for many.
    fn values(count: usize) -> Self {
        Self::new(count.div_ceil(THREADS as usize).min(1 << 14), THREADS)
    }
}

/// Starts the kernel `name`.
fn launch(device: &CudaDevice, name: &str, shape: &Shape3, arguments: &[Arg]) -> Result<()> {
    let function = device.get_or_load_custom_func(name, "mkgc", PTX)?.into_cuda_function();
    if shape.shared > PLAIN_SHARED {
        function.set_attribute(SHARED, shape.shared as i32).w()?;
    }
    let place = |(n, argument): (usize, &Arg)| match argument {
        Arg::Tensor(memory) => memory.checked(format_args!("argument {n} of the kernel {name}")),
        _ => Ok(0),
    };
    let places = arguments.iter().enumerate().map(place).collect::<Result<Vec<u64>>>()?;
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    for (argument, place) in arguments.iter().zip(&places) {
        match argument {
            Arg::Tensor(_) => builder.arg(place),
            Arg::At(value) | Arg::U64(value) => builder.arg(value),
            Arg::I32(value) => builder.arg(value),
            Arg::U32(value) => builder.arg(value),
            Arg::F32(value) => builder.arg(value),
        };
    }
    let (x, y) = shape.grid;
    let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (shape.threads, 1, 1), shared_mem_bytes: shape.shared };
    // SAFETY: callers pass what the kernel's parameters say; tensors have the sizes that it is told, as checked above, and
    // live until the call returns; what is freed later is freed in the stream's order.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// Name of the form of a kernel for a number type.
fn form(name: &str, dtype: DType) -> String {
    format!("{name}_{}", if dtype == DType::BF16 { "bf16" } else { "f32" })
}

/// Shared memory that a block may ask for, bytes.
fn most_shared(device: &CudaDevice) -> Result<u32> {
    Ok(device.cuda_stream().context().attribute(MOST_SHARED).w()? as u32)
}

fn device(x: &Tensor) -> Result<CudaDevice> {
    Ok(x.device().as_cuda_device()?.clone())
}

/// Address of a storage and its number of values; none of a number type that no kernel takes.
fn address(storage: &CudaStorage) -> Option<(u64, usize)> {
    fn of<T: DeviceRepr>(slice: &CudaSlice<T>, device: &CudaDevice) -> (u64, usize) {
        let stream = device.cuda_stream();
        let (address, _guard) = slice.device_ptr(&stream);
        (address, slice.len())
    }
    Some(match &storage.slice {
        CudaStorageSlice::F32(slice) => of(slice, &storage.device),
        CudaStorageSlice::BF16(slice) => of(slice, &storage.device),
        CudaStorageSlice::U32(slice) => of(slice, &storage.device),
        CudaStorageSlice::F64(slice) => of(slice, &storage.device),
        _ => return None,
    })
}

/// Memory for a kernel to fill.
fn storage(device: &CudaDevice, count: usize, dtype: DType) -> Result<CudaStorage> {
    // SAFETY: callers have a kernel write every value before anything reads it.
    let slice = unsafe {
        match dtype {
            DType::F32 => CudaStorageSlice::F32(device.alloc(count)?),
            DType::BF16 => CudaStorageSlice::BF16(device.alloc(count)?),
            DType::F64 => CudaStorageSlice::F64(device.alloc(count)?),
            DType::U32 => CudaStorageSlice::U32(device.alloc(count)?),
            _ => bail!("no kernel makes this number type"),
        }
    };
    Ok(CudaStorage { slice, device: device.clone() })
}

/// A tensor for a kernel to fill, on the device of `like`.
fn empty(like: &Tensor, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
    struct Empty(Shape, DType);
    impl CustomOp1 for Empty {
        fn name(&self) -> &'static str {
            "empty"
        }
        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            bail!("kernels fill the memory of a GPU")
        }
        fn cuda_fwd(&self, like: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
            Ok((storage(&like.device, self.0.elem_count(), self.1)?, self.0.clone()))
        }
    }
    like.apply_op1_no_bwd(&Empty(shape.into(), dtype))
}

/// Σ g over the rows of `g` `[M, W]`, `[W]` f32.
fn column_sums(g: &Tensor) -> Result<Tensor> {
    let (rows, width) = g.dims2()?;
    let sums = empty(g, width, DType::F32)?;
    let (g_given, sums_given) = (given(g, g.dtype(), rows * width), given(&sums, DType::F32, width));
    let arguments = [g_given, Arg::At(0), Arg::At(0), sums_given, Arg::At(0), rows.into(), width.into()];
    launch(&device(g)?, &form("column_sums", g.dtype()), &Shape3::new(width.div_ceil(32), 1024), &arguments)?;
    Ok(sums)
}
