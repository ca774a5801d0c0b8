//! AdamW and gradient noise over all variables in a few launches, by the kernels of `models/kernels/optimiser.cu`.

use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Tensor};

use super::launch::{Arg, Launch, THREADS, device, empty, launch, optional_arg, tensor_arg};

/// Values of a chunk (`CHUNK` in optimiser.cu).
const CHUNK: usize = 1 << 14;

/// The step of one variable; all tensors are f32.
pub(crate) struct VarStep<'a> {
    pub var: &'a Tensor,
    pub grad: &'a Tensor,
    pub moments: [&'a Tensor; 2],
    /// Factor of the variable, 1 − lr·wd.
    pub keep: f32,
    /// Factor of the update, lr / (1 − β₁ᵗ).
    pub rate: f32,
}

/// A gradient that is scaled in place and gets noise.
pub(crate) struct NoisyGrad<'a> {
    pub grad: &'a Tensor,
    /// Factor κ of the gradient, 1 if it follows from a [`SumRatio`].
    pub factor: f64,
    /// Number of the gradient's sum in a [`SumRatio`], 0 or 1.
    pub sum: u64,
    /// Key of the noise, if the gradient gets any.
    pub key: Option<u64>,
}

/// Two sums on a GPU, from whose ratio the kernel computes the factors κ, so that the host does not wait for them.
pub(crate) struct SumRatio<'a> {
    /// The sums of the text and of the vision stream, `[2]` f32, in this order.
    pub sums: &'a Tensor,
    /// Strength α of the modulation.
    pub alpha: f64,
}

/// `Variable` of the kernels: value, gradient and moments (or the number of a sum in place of the second), count, first
/// chunk, two numbers, key.
type VariableRow = [u64; 8];

/// Returns the address of a tensor of `count` f32 values.
fn f32_address(x: &Tensor, count: usize) -> Result<u64> {
    match tensor_arg(x, DType::F32, count) {
        Arg::Tensor(memory) => memory.checked("the optimiser"),
        _ => Ok(0),
    }
}

/// The variables of a launch, with their chunks numbered.
struct VariableTable {
    rows: Vec<u64>,
    variables: usize,
    chunks: usize,
}

impl VariableTable {
    fn new(rows: impl Iterator<Item = Result<(VariableRow, usize)>>) -> Result<Self> {
        let mut table = Self { rows: Vec::new(), variables: 0, chunks: 0 };
        for row in rows {
            let (mut row, count) = row?;
            row[4] = count as u64;
            row[5] = table.chunks as u64;
            table.rows.extend(row);
            table.variables += 1;
            table.chunks += count.div_ceil(CHUNK);
        }
        Ok(table)
    }

    /// Copies the table to the GPU and runs `f` with its address there.
    fn on_device(&self, like: &Tensor, f: impl FnOnce(u64) -> Result<()>) -> Result<()> {
        let device = device(like)?;
        let memory = device.clone_htod(&self.rows)?;
        let stream = device.cuda_stream();
        let (address, _guard) = memory.device_ptr(&stream);
        f(address)
    }

    /// Passes what [`Self::sums`] returns to a kernel.
    fn sums_arg(&self, sums: &Tensor) -> Arg {
        tensor_arg(sums, DType::F64, 2 * self.chunks)
    }

    /// Computes Σ g and Σ g² of every chunk, `[chunks, 2]` f64.
    fn sums(&self, like: &Tensor, address: u64) -> Result<Tensor> {
        let sums = empty(like, (self.chunks, 2), DType::F64)?;
        let arguments = [Arg::At(address), self.variables.into(), self.sums_arg(&sums)];
        launch(&device(like)?, "gradient_sums", &Launch::new(self.chunks, THREADS), &arguments)?;
        Ok(sums)
    }
}

/// Packs two numbers into one.
fn pair(low: f32, high: f32) -> u64 {
    u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32
}

/// Steps all variables by AdamW, clipped to the norm `clip`. `numbers` are β₁, β₂, ε and 1 / √(1 − β₂ᵗ).
pub(crate) fn adamw(variables: &[VarStep<'_>], numbers: [f32; 4], clip: Option<f64>) -> Result<()> {
    let Some(VarStep { var: like, .. }) = variables.first() else { return Ok(()) };
    let row = |v: &VarStep<'_>| {
        let [m, v2] = v.moments;
        let count = v.var.elem_count();
        let address = |x: &Tensor| f32_address(x, count);
        let row = [address(v.var)?, address(v.grad)?, address(m)?, address(v2)?, 0, 0, pair(v.keep, v.rate), 0];
        Ok((row, count))
    };
    let table = VariableTable::new(variables.iter().map(row))?;
    table.on_device(like, |address| {
        let on = device(like)?;
        let sums = table.sums(like, address)?;
        let factor = empty(like, 2, DType::F32)?;
        let clip = Arg::F32(clip.unwrap_or(0.0) as f32);
        let factor_arg = || tensor_arg(&factor, DType::F32, 2);
        let arguments = [table.sums_arg(&sums), Arg::U64(table.chunks as u64), clip, factor_arg()];
        launch(&on, "clip_factor", &Launch::new(1, THREADS), &arguments)?;
        let begin = [Arg::At(address), table.variables.into(), factor_arg()];
        let arguments: Vec<Arg> = begin.into_iter().chain(numbers.map(Arg::F32)).collect();
        launch(&on, "adamw", &Launch::new(table.chunks, THREADS), &arguments)
    })
}

/// Replaces each gradient g by κ g + ε, with ε of the gradient's own standard deviation. With a `ratio`, the kernel
/// computes κ from it.
pub(crate) fn add_noise(gradients: &[NoisyGrad<'_>], ratio: Option<SumRatio<'_>>) -> Result<()> {
    let Some(NoisyGrad { grad: like, .. }) = gradients.first() else { return Ok(()) };
    let alpha = ratio.as_ref().map_or(0.0, |ratio| ratio.alpha);
    let ratio = optional_arg(ratio.map(|ratio| ratio.sums), DType::F32, 2);
    let row = |g: &NoisyGrad<'_>| {
        let noise = f32::from(u8::from(g.key.is_some()));
        let count = g.grad.elem_count();
        let numbers = pair(g.factor as f32, noise);
        Ok(([0, f32_address(g.grad, count)?, 0, g.sum, 0, 0, numbers, g.key.unwrap_or(0)], count))
    };
    let table = VariableTable::new(gradients.iter().map(row))?;
    table.on_device(like, |address| {
        let on = device(like)?;
        let sums = table.sums(like, address)?;
        let spread = empty(like, table.variables, DType::F32)?;
        let spread_arg = || tensor_arg(&spread, DType::F32, table.variables);
        let arguments = [Arg::At(address), table.sums_arg(&sums), spread_arg()];
        launch(&on, "deviations", &Launch::new(table.variables, THREADS), &arguments)?;
        let arguments = [Arg::At(address), table.variables.into(), spread_arg(), ratio, Arg::F32(alpha as f32)];
        launch(&on, "gradient_noise", &Launch::new(table.chunks, THREADS), &arguments)
    })
}
