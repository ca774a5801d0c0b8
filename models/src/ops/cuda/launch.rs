//! Launches kernels: their arguments, checked against what they read and write, their grids, and the memory they fill.
//!
//! Kernels are launched on candle's CUDA stream. `open_gpu` gives all threads the same one, so kernels run in the order
//! of the calls and before anything is freed. The launch itself and memory that a kernel fills need `unsafe`.
#![allow(unsafe_code)]

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as MOST_SHARED;
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as SHARED;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::ops::mask::DropoutMask;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// Threads of a block in most kernels; optimiser.cu counts on this number.
pub(super) const THREADS: u32 = 256;
/// Bytes of shared memory that a block has without asking for more.
const PLAIN_SHARED: u32 = 48 << 10;

/// Writes an operation's `name`, and the `cpu_fwd` that refuses tensors in host memory.
macro_rules! gpu_only {
    ($name:literal $(, $storage:ident $layout:ident)+) => {
        fn name(&self) -> &'static str {
            $name
        }
        fn cpu_fwd(&self $(, $storage: &CpuStorage, $layout: &Layout)+) -> Result<(CpuStorage, Shape)> {
            $(let (_, _) = ($storage, $layout);)+
            bail!("{} by kernels needs a tensor on a GPU", $name)
        }
    };
}
pub(super) use gpu_only;

/// Returns the number of rows, along the last dimension, and their width.
pub(super) fn rows_of(layout: &Layout) -> (usize, usize) {
    let width = layout.dims().last().copied().unwrap_or(1);
    (layout.shape().elem_count() / width.max(1), width)
}

/// An argument of a kernel.
pub(super) enum Arg {
    /// An address in the GPU's memory, or 0 for none.
    At(u64),
    /// A tensor, whose address is checked at the launch.
    Tensor(Memory),
    I32(i32),
    U32(u32),
    U64(u64),
    F32(f32),
}

impl From<usize> for Arg {
    /// Kernels take sizes of one dimension as `int`.
    fn from(size: usize) -> Self {
        Self::I32(size as i32)
    }
}

/// A tensor that a kernel reads or writes.
pub(super) struct Memory {
    /// Address, number type and number of values; none if the values are not contiguous in the GPU's memory.
    actual: Option<(u64, DType, usize)>,
    /// Number type and number of values that the kernel reads or writes.
    expected: (DType, usize),
}

impl Memory {
    /// Returns the address, if the values there are those that the kernel expects.
    pub fn checked(&self, argument: impl std::fmt::Display) -> Result<u64> {
        let (dtype, count) = self.expected;
        match self.actual {
            Some((address, actual, values)) if (actual, values) == self.expected => Ok(address),
            Some((_, actual, values)) => {
                bail!("{argument} takes {count} values of {dtype:?} but got {values} of {actual:?}")
            }
            None => bail!("{argument} got a tensor that is not contiguous in the GPU's memory"),
        }
    }
}

/// Passes a tensor, which has to hold `count` contiguous values of `dtype`, or [`launch`] fails.
pub(super) fn tensor_arg(x: &Tensor, dtype: DType, count: usize) -> Arg {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => input_arg(storage, layout, dtype, count),
        _ => Arg::Tensor(Memory { actual: None, expected: (dtype, count) }),
    }
}

/// Passes a tensor as [`tensor_arg`] does, or no address if there is none.
pub(super) fn optional_arg(x: Option<&Tensor>, dtype: DType, count: usize) -> Arg {
    x.map_or(Arg::At(0), |x| tensor_arg(x, dtype, count))
}

/// Passes an input of an operation, checked as by [`tensor_arg`].
pub(super) fn input_arg(storage: &CudaStorage, layout: &Layout, dtype: DType, count: usize) -> Arg {
    let location = address(storage).zip(layout.contiguous_offsets());
    let actual = location.map(|((address, _), (start, end))| {
        let dtype = storage.dtype();
        (address + (start * dtype.size_in_bytes()) as u64, dtype, end - start)
    });
    Arg::Tensor(Memory { actual, expected: (dtype, count) })
}

/// Passes a whole [`storage`], checked as by [`tensor_arg`].
pub(super) fn output_arg(storage: &CudaStorage, dtype: DType, count: usize) -> Arg {
    let actual = address(storage).map(|(address, values)| (address, storage.dtype(), values));
    Arg::Tensor(Memory { actual, expected: (dtype, count) })
}

/// Returns the three arguments of a dropout mask. Without a mask they keep every value.
pub(super) fn mask_args(mask: Option<DropoutMask>) -> [Arg; 3] {
    let (key, threshold, scale) = mask.map_or((0, 0, 1.0), DropoutMask::parts);
    [Arg::U64(key), Arg::U32(threshold), Arg::F32(scale)]
}

/// How a kernel is launched.
pub(super) struct Launch {
    /// Blocks along x and y.
    pub grid: (u32, u32),
    /// Number of threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
}

impl Launch {
    pub fn new(blocks: usize, threads: u32) -> Self {
        Self { grid: (blocks as u32, 1), threads, shared: 0 }
    }

    /// Launches a block per row of `width` values.
    pub fn rows(rows: usize, width: usize) -> Self {
        Self::new(rows, (width as u32).next_multiple_of(32).min(THREADS))
    }

    /// Launches a warp per row.
    pub fn warps(rows: usize) -> Self {
        Self::new(rows.div_ceil(4), 128)
    }

    /// Launches a thread per value; beyond 2¹⁴ blocks each thread takes several values.
    pub fn values(count: usize) -> Self {
        Self::new(count.div_ceil(THREADS as usize).min(1 << 14), THREADS)
    }
}

/// Starts the kernel `name`, without waiting for it.
pub(super) fn launch(device: &CudaDevice, name: &str, shape: &Launch, arguments: &[Arg]) -> Result<()> {
    let function = device.get_or_load_custom_func(name, "mkgc", PTX)?.into_cuda_function();
    if shape.shared > PLAIN_SHARED {
        function.set_attribute(SHARED, shape.shared as i32).w()?;
    }
    let address = |(n, argument): (usize, &Arg)| match argument {
        Arg::Tensor(memory) => memory.checked(format_args!("argument {} of the kernel {name}", n + 1)),
        _ => Ok(0),
    };
    let addresses = arguments.iter().enumerate().map(address).collect::<Result<Vec<u64>>>()?;
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    for (argument, address) in arguments.iter().zip(&addresses) {
        match argument {
            Arg::Tensor(_) => builder.arg(address),
            Arg::At(value) | Arg::U64(value) => builder.arg(value),
            Arg::I32(value) => builder.arg(value),
            Arg::U32(value) => builder.arg(value),
            Arg::F32(value) => builder.arg(value),
        };
    }
    let (x, y) = shape.grid;
    let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (shape.threads, 1, 1), shared_mem_bytes: shape.shared };
    // SAFETY: callers pass what the kernel's parameters declare. Tensors have the sizes that the kernel is told, as
    // checked above, and live until the call returns; memory freed later is freed in the order of the CUDA stream.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// Returns the name of a kernel's version for a number type.
pub(super) fn kernel_name(name: &str, dtype: DType) -> String {
    format!("{name}_{}", if dtype == DType::BF16 { "bf16" } else { "f32" })
}

/// Returns the bytes of shared memory that a block may ask for.
pub(super) fn max_shared_memory(device: &CudaDevice) -> Result<u32> {
    Ok(device.cuda_stream().context().attribute(MOST_SHARED).w()? as u32)
}

pub(super) fn device(x: &Tensor) -> Result<CudaDevice> {
    Ok(x.device().as_cuda_device()?.clone())
}

/// Returns a storage's address and number of values, or none if no kernel takes its number type.
fn address(storage: &CudaStorage) -> Option<(u64, usize)> {
    fn slice_address<T: DeviceRepr>(slice: &CudaSlice<T>, device: &CudaDevice) -> (u64, usize) {
        let stream = device.cuda_stream();
        let (address, _guard) = slice.device_ptr(&stream);
        (address, slice.len())
    }
    Some(match &storage.slice {
        CudaStorageSlice::F32(slice) => slice_address(slice, &storage.device),
        CudaStorageSlice::BF16(slice) => slice_address(slice, &storage.device),
        CudaStorageSlice::U32(slice) => slice_address(slice, &storage.device),
        CudaStorageSlice::F64(slice) => slice_address(slice, &storage.device),
        _ => return None,
    })
}

/// Allocates memory for a kernel to fill.
pub(super) fn storage(device: &CudaDevice, count: usize, dtype: DType) -> Result<CudaStorage> {
    // SAFETY: callers launch a kernel that writes every value before anything reads it.
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

/// Allocates a tensor for a kernel to fill, on the device of `like`.
pub(super) fn empty(like: &Tensor, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
    struct EmptyOp(Shape, DType);
    impl CustomOp1 for EmptyOp {
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
    like.apply_op1_no_bwd(&EmptyOp(shape.into(), dtype))
}

/// Returns Σ g over the rows of `g` `[M, W]`, `[W]` f32.
pub(super) fn column_sums(g: &Tensor) -> Result<Tensor> {
    let (rows, width) = g.dims2()?;
    let sums = empty(g, width, DType::F32)?;
    let input = tensor_arg(g, g.dtype(), rows * width);
    let output = tensor_arg(&sums, DType::F32, width);
    let arguments = [input, Arg::At(0), Arg::At(0), output, Arg::At(0), rows.into(), width.into()];
    let shape = Launch::new(width.div_ceil(32), 1024);
    launch(&device(g)?, &kernel_name("column_sums", g.dtype()), &shape, &arguments)?;
    Ok(sums)
}
