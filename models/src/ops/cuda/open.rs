//! Opens a GPU so that tensors made on one thread can be used on another.
//!
//! Invariant: every call of the process that works on a GPU goes to ONE CUDA stream. candle's own `Device::new_cuda`
//! takes the driver's stream per thread, so a batch that a second thread uploads might be read before it has arrived.
//! With one CUDA stream, work runs in the order of the calls, and tensors need no events of their own. cudarc's
//! tracking of them is therefore switched off: it would create two events for each allocation. The driver's settings
//! need `unsafe`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::result::{DriverError, device as driver, init, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
};
use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as KEPT;
use candle_core::{DType, Device};

use crate::error::without_backtrace;

/// `CUDA_COMPUTE_CAP` of the build: the compute capability, times ten, that the kernels were compiled for.
const BUILT_FOR: &str = env!("MKGC_CUDA_COMPUTE_CAP");

/// From this capability on, times ten, candle compiles its kernels for one architecture alone (`sm_90a`).
const ALONE_FROM: usize = 90;

/// The first capability, times ten, with bf16 arithmetic.
const WITH_BF16: usize = 80;

/// Why a GPU cannot be used, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The driver sees no GPU, or refuses to work.
    #[error(
        "no usable GPU ({0}): check that `nvidia-smi` lists one and that CUDA_VISIBLE_DEVICES does not hide it, or use \
         --device cpu"
    )]
    None(String),
    /// No GPU has this number.
    #[error("there is no GPU {ordinal}: this machine has {count}, numbered from 0")]
    Ordinal {
        /// The number that was asked for.
        ordinal: usize,
        /// How many GPUs there are.
        count: usize,
    },
    /// The kernels were compiled for other GPUs.
    #[error(
        "GPU {ordinal} has compute capability {}, but this mkgc was built for {} {}: build it with CUDA_COMPUTE_CAP={}",
        dotted(*has), dotted(*built), if *built < ALONE_FROM { "and later" } else { "only" }, (*has).min(80)
    )]
    Capability {
        /// The GPU's number, as in `cuda:N`.
        ordinal: usize,
        /// The compute capability of that GPU, times ten.
        has: usize,
        /// The capability, times ten, that the kernels were compiled for.
        built: usize,
    },
    /// The GPU has no arithmetic for a number type.
    #[error("GPU {ordinal} has compute capability {}, and bf16 needs 8.0 or later: use --dtype f32", dotted(*has))]
    Bf16 {
        /// The GPU's number, as in `cuda:N`.
        ordinal: usize,
        /// The compute capability of that GPU, times ten.
        has: usize,
    },
    /// candle could not open the GPU.
    #[error("GPU {ordinal}: {source}")]
    Open {
        /// The GPU's number, as in `cuda:N`.
        ordinal: usize,
        /// The error that candle reports.
        source: candle_core::Error,
    },
}

/// Formats a capability times ten: 80 becomes `8.0`.
fn dotted(capability: usize) -> String {
    format!("{}.{}", capability / 10, capability % 10)
}

/// GPUs that are open, by number: runs of one process share a device, its CUDA stream and its compiled kernels.
static OPEN: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());

/// Opens GPU `ordinal` for tensors of `dtype`, or returns the device that is open already.
///
/// # Errors
/// There is no driver or no such GPU, or the GPU is older than the kernels or has no arithmetic for `dtype`.
pub fn open_gpu(ordinal: usize, dtype: DType) -> Result<Device, GpuError> {
    check(ordinal, dtype)?;
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = open.get(&ordinal) {
        return Ok(device.clone());
    }
    let device =
        with_one_stream(ordinal).map_err(|source| GpuError::Open { ordinal, source: without_backtrace(source) })?;
    open.insert(ordinal, device.clone());
    Ok(device)
}

/// Returns how many GPUs the driver shows to this process, 0 without a driver. None of them is opened.
pub fn gpu_count() -> usize {
    let count = init().and_then(|()| driver::get_count());
    count.ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Asks the driver whether the GPU can run the kernels, so that the error names the reason before candle fails.
fn check(ordinal: usize, dtype: DType) -> Result<(), GpuError> {
    let none = |error: DriverError| GpuError::None(error.to_string());
    init().map_err(none)?;
    let count = driver::get_count().map_err(none)? as usize;
    if count == 0 {
        return Err(GpuError::None("the driver lists none".to_owned()));
    }
    if ordinal >= count {
        return Err(GpuError::Ordinal { ordinal, count });
    }
    let card = driver::get(ordinal as i32).map_err(none)?;
    // SAFETY: `card` is a device that the driver has just returned.
    let attribute = |which| unsafe { driver::get_attribute(card, which) }.map_err(none);
    let has = (attribute(MAJOR)? * 10 + attribute(MINOR)?) as usize;
    let built = BUILT_FOR.trim_end_matches(char::is_alphabetic).parse().unwrap_or(0);
    suits(ordinal, has, built, dtype)
}

/// Refuses a GPU of capability `has` that cannot run kernels compiled for `built`, or has no arithmetic for `dtype`.
fn suits(ordinal: usize, has: usize, built: usize, dtype: DType) -> Result<(), GpuError> {
    if !can_run(built, has) {
        return Err(GpuError::Capability { ordinal, has, built });
    }
    if dtype == DType::BF16 && has < WITH_BF16 {
        return Err(GpuError::Bf16 { ordinal, has });
    }
    Ok(())
}

/// Returns whether kernels that were compiled for the capability `built` run on a GPU of capability `has`.
fn can_run(built: usize, has: usize) -> bool {
    if built < ALONE_FROM { has >= built } else { has == built }
}

fn with_one_stream(ordinal: usize) -> candle_core::Result<Device> {
    use candle_core::cuda_backend::WrapErr;
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    // By default the pool returns freed memory to the driver at every wait, and the next step asks for it again.
    let mut everything = u64::MAX;
    // SAFETY: all work of the process on this GPU is on this one CUDA stream, so its order is that of the calls; the
    // attribute of the pool is a u64.
    unsafe {
        cuda.disable_event_tracking();
        // A GPU without pools, as some virtual ones are, works without.
        if let Ok(pool) = driver::get_default_mem_pool(cuda.cuda_stream().context().cu_device()) {
            mem_pool::set_attribute(pool, KEPT, (&raw mut everything).cast()).w()?;
        }
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_8_0_serves_every_later_gpu_and_one_for_9_0_serves_that_alone() {
        let served = |built: usize| [75, 80, 86, 89, 90, 100].map(|has| can_run(built, has));
        assert_eq!(served(80), [false, true, true, true, true, true]);
        assert_eq!(served(90), [false, false, false, false, true, false]);
    }

    #[test]
    fn a_gpu_older_than_8_0_is_refused_for_bf16_alone() {
        let refusal = |has, dtype| suits(1, has, 75, dtype).err().map(|error| error.to_string());
        let expected = "GPU 1 has compute capability 7.5, and bf16 needs 8.0 or later: use --dtype f32";
        assert_eq!(refusal(75, DType::BF16).as_deref(), Some(expected));
        assert_eq!((refusal(75, DType::F32), refusal(80, DType::BF16)), (None, None));
    }

    #[test]
    fn a_message_names_the_capability_to_build_for() {
        let message = |has, built| GpuError::Capability { ordinal: 0, has, built }.to_string();
        assert!(message(75, 80).ends_with("8.0 and later: build it with CUDA_COMPUTE_CAP=75"), "{}", message(75, 80));
        assert!(message(100, 90).ends_with("9.0 only: build it with CUDA_COMPUTE_CAP=80"), "{}", message(100, 90));
    }
}
