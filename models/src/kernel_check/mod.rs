//! Compares each kernel with its counterpart on the CPU: values and all gradients, dropout masks included.

mod cases;
mod updates;

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::ops::backward;
use cases::{KernelCase, cases, values};

/// How far a kernel is from the CPU's result.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KernelCheck {
    /// Name of the operation, with its shape.
    pub name: String,
    /// Number type of the states.
    pub dtype: String,
    /// Largest difference of a value or gradient, relative to the largest of its tensor.
    pub error: f64,
    /// Largest error with which a check passes.
    pub limit: f64,
    /// Why the kernel was not run, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl KernelCheck {
    /// Returns whether the error is within the limit, which NaN never is. A kernel that was not run passes, and
    /// `skipped` says why it was not.
    pub fn passed(&self) -> bool {
        self.error <= self.limit
    }

    fn skipped(name: &str, dtype: DType, reason: String) -> Self {
        let skipped = Some(reason);
        Self { name: name.to_owned(), dtype: dtype.as_str().to_owned(), error: 0.0, limit: 0.0, skipped }
    }
}

/// Compares all kernels on `device` with the CPU.
///
/// # Errors
/// A kernel cannot run at all.
pub fn check_kernels(device: &Device) -> Result<Vec<KernelCheck>> {
    let mut checks = Vec::new();
    for dtype in [DType::F32, DType::BF16] {
        for case in cases() {
            if let Some(reason) = case.too_large(device, dtype)? {
                checks.push(KernelCheck::skipped(&case.name, dtype, reason));
                continue;
            }
            let twin = outcome(&case, &Device::Cpu, DType::F32)?;
            let ours = outcome(&case, device, dtype)?;
            // The result comes before the gradients.
            checks.push(compare(&case.name, dtype, case.cancelled.map(|variable| variable + 1), &ours, &twin)?);
        }
    }
    let others: [(&str, fn(&Device) -> Result<Vec<Tensor>>); 3] = [
        ("AdamW", updates::steps),
        ("gradient noise", updates::noise),
        ("gradient noise, κ on the device", updates::noise_by_sums),
    ];
    for (name, outcome) in others {
        checks.push(compare(name, DType::F32, None, &outcome(device)?, &outcome(&Device::Cpu)?)?);
    }
    Ok(checks)
}

/// Compares tensors one by one, each relative to the largest value of its twin, and the one that is `cancelled`
/// relative to the largest value of all. The limits allow for products that round differently, and for bf16, whose 8
/// bits make sums of rounded values differ by a few of its steps.
fn compare(
    name: &str,
    dtype: DType,
    cancelled: Option<usize>,
    ours: &[Tensor],
    twin: &[Tensor],
) -> Result<KernelCheck> {
    let sizes: Vec<f64> = twin.iter().map(largest).collect::<Result<_>>()?;
    let largest_size = sizes.iter().copied().fold(0.0, f64::max);
    let mut error = 0f64;
    for (number, (ours, twin)) in ours.iter().zip(twin).enumerate() {
        let difference = largest(&(ours.to_device(&Device::Cpu)?.to_dtype(DType::F32)? - twin)?)?;
        let size = if cancelled == Some(number) { largest_size } else { sizes[number] };
        let part = difference / size.max(1e-12);
        // `max` would ignore NaN.
        error = if part.is_nan() { f64::INFINITY } else { error.max(part) };
    }
    let limit = if dtype == DType::F32 { 2e-5 } else { 0.05 };
    Ok(KernelCheck { name: name.to_owned(), dtype: dtype.as_str().to_owned(), error, limit, skipped: None })
}

/// Returns the largest absolute value.
fn largest(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?))
}

/// Returns the result of an operation and the gradients of all variables, for a loss that weighs every value
/// differently.
fn outcome(case: &KernelCase, device: &Device, dtype: DType) -> Result<Vec<Tensor>> {
    let variable = |(n, shape): (usize, &Vec<usize>)| {
        let values = values(shape, n + 1)?;
        // Weights are as small as a network's; otherwise the softmax after them would be one-hot.
        let values = if n > 0 && shape.len() == 2 { (values / (shape[1] as f64).sqrt())? } else { values };
        Var::from_tensor(&values.to_device(device)?)
    };
    let vars: Vec<Var> = case.shapes.iter().enumerate().map(variable).collect::<Result<_>>()?;
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = (case.run)(&inputs[0].to_dtype(dtype)?, &inputs[1..])?.to_dtype(DType::F32)?;
    let weights = values(y.dims(), 99)?.to_device(device)?;
    let grads = backward(&(&y * weights)?.sum_all()?)?;
    let mut all = vec![y];
    for input in &inputs {
        // An operation that only reads the device of its first input returns no gradient for it.
        all.push(grads.get(input).map_or_else(|| input.zeros_like(), |grad| Ok(grad.clone()))?);
    }
    Ok(all)
}
