//! `--device` and `--dtype`: names to a device that is open.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};

/// Checks the name of a device without opening it: a sweep leaves that to the processes of its runs.
///
/// # Errors
/// A name that [`open`] does not know, a program without GPU support, a number type that the device does not have.
pub fn check(name: &str, dtype: DType) -> Result<()> {
    match ordinal(name)? {
        None => open(name, dtype).map(drop),
        Some(_) if cfg!(feature = "cuda") => Ok(()),
        Some(ordinal) => gpu(ordinal, dtype).map(drop).with_context(|| format!("--device {name}")),
    }
}

/// Opens the device called `name`: `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// Another name, a program without GPU support, a GPU that cannot be used for `dtype`.
pub fn open(name: &str, dtype: DType) -> Result<Device> {
    let Some(ordinal) = ordinal(name)? else {
        if dtype != DType::F32 {
            bail!("--dtype {}: only on a GPU; add --device cuda, or leave it out", dtype.as_str());
        }
        return Ok(Device::Cpu);
    };
    gpu(ordinal, dtype).with_context(|| format!("--device {name}"))
}

/// Parses the name of a device to the number of a GPU; none for the CPU.
fn ordinal(name: &str) -> Result<Option<usize>> {
    let number = match name {
        "cpu" => return Ok(None),
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
    };
    number.map(Some).with_context(|| format!("--device {name}: expected cpu, cuda or cuda:N with the number of a GPU"))
}

#[cfg(feature = "cuda")]
fn gpu(ordinal: usize, dtype: DType) -> Result<Device> {
    Ok(mkgc_models::ops::open_gpu(ordinal, dtype)?)
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize, _: DType) -> Result<Device> {
    bail!("this mkgc was built without GPU support; build it with `--features cuda`")
}
