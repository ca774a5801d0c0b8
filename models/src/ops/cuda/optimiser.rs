//! AdamW and gradient noise over all variables in a few launches (`models/kernels/optimiser.cu`).

use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Tensor};

use super::{Arg, Shape3, THREADS, device, empty, given, launch};
use crate::distill::Stream;
use crate::modulation::{Balance, Coefficients};

/// Values of a chunk (`CHUNK` there).
const CHUNK: usize = 1 << 14;

/// A variable with what its step needs; all f32.
pub(crate) struct Stepped<'a> {
    pub var: &'a Tensor,
    pub grad: &'a Tensor,
    pub moments: [&'a Tensor; 2],
    /// 1 − lr·wd.
    pub keep: f32,
    /// lr / (1 − β₁ᵗ).
    pub rate: f32,
}

/// A gradient, the stream whose factor it is multiplied with, and the key of its noise if it gets any.
pub(crate) struct Noisy<'a> {
    pub grad: &'a Tensor,
    pub stream: Stream,
    pub key: Option<u64>,
}

/// `Variable` of the kernels: value, gradient and moments (or a stream in place of the second), count, first chunk, two
/// numbers, key.
type Row = [u64; 8];

/// Address of a tensor of `count` f32 values.
fn number(x: &Tensor, count: usize) -> Result<u64> {
    match given(x, DType::F32, count) {
        Arg::Tensor(memory) => memory.checked("the optimiser"),
        _ => Ok(0),
    }
}

/// Rows, with the chunks numbered, and the number of all chunks.
struct Table {
    rows: Vec<u64>,
    variables: usize,
    chunks: usize,
}

impl Table {
    fn new(rows: impl Iterator<Item = Result<(Row, usize)>>) -> Result<Self> {
        let mut table = Self { rows: Vec::new(), variables: 0, chunks: 0 };
        for row in rows {
            let (mut row, count) = row?;
            (row[4], row[5]) = (count as u64, table.chunks as u64);
            table.rows.extend(row);
            table.variables += 1;
            table.chunks += count.div_ceil(CHUNK);
        }
        Ok(table)
    }

    /// Runs `f` with the address of the table and its length as a kernel's arguments.
    fn on_device(&self, like: &Tensor, f: impl FnOnce(u64) -> Result<()>) -> Result<()> {
        let device = device(like)?;
        let memory = device.clone_htod(&self.rows)?;
        let stream = device.cuda_stream();
        let (address, _guard) = memory.device_ptr(&stream);
        f(address)
    }

    /// What [`Table::sums`] gives, as an argument.
    fn given_sums(&self, sums: &Tensor) -> Arg {
        given(sums, DType::F64, 2 * self.chunks)
    }

    /// Σ g and Σ g² of every chunk, `[chunks, 2]` f64.
    fn sums(&self, like: &Tensor, address: u64) -> Result<Tensor> {
        let sums = empty(like, (self.chunks, 2), DType::F64)?;
        let arguments = [Arg::At(address), self.variables.into(), self.given_sums(&sums)];
        launch(&device(like)?, "gradient_sums", &Shape3::new(self.chunks, THREADS), &arguments)?;
        Ok(sums)
    }
}

/// Two numbers in the place of one.
fn pair(low: f32, high: f32) -> u64 {
    u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32
}

/// Steps of all variables, as [`crate::optim::AdamW`] says; β₁, β₂, ε and 1 / √(1 − β₂ᵗ).
pub(crate) fn adamw(variables: &[Stepped<'_>], numbers: [f32; 4], clip: Option<f64>) -> Result<()> {
    let Some(Stepped { var: like, .. }) = variables.first() else { return Ok(()) };
    let row = |v: &Stepped<'_>| {
        let ([m, v2], count) = (v.moments, v.var.elem_count());
        let place = |x: &Tensor| number(x, count);
        let row = [place(v.var)?, place(v.grad)?, place(m)?, place(v2)?, 0, 0, pair(v.keep, v.rate), 0];
        Ok((row, count))
    };
    let table = Table::new(variables.iter().map(row))?;
    table.on_device(like, |address| {
        let (on, sums) = (device(like)?, table.sums(like, address)?);
        let factor = empty(like, 2, DType::F32)?;
        let clip = Arg::F32(clip.unwrap_or(0.0) as f32);
        let given_factor = || given(&factor, DType::F32, 2);
        let arguments = [table.given_sums(&sums), Arg::U64(table.chunks as u64), clip, given_factor()];
        launch(&on, "clip_factor", &Shape3::new(1, THREADS), &arguments)?;
        let begin = [Arg::At(address), table.variables.into(), given_factor()];
        let arguments: Vec<Arg> = begin.into_iter().chain(numbers.map(Arg::F32)).collect();
        launch(&on, "adamw", &Shape3::new(table.chunks, THREADS), &arguments)
    })
}

/// g ← κ g + ε, in place, ε of each gradient's own standard deviation.
pub(crate) fn add_noise(gradients: &[Noisy<'_>], balance: &Balance) -> Result<()> {
    let Some(Noisy { grad: like, .. }) = gradients.first() else { return Ok(()) };
    let (known, of_streams, alpha) = match balance {
        Balance::Known(known) => (*known, Arg::At(0), 0.0),
        Balance::OnDevice { sums, alpha } => (Coefficients::default(), given(sums, DType::F32, 2), *alpha),
    };
    let row = |g: &Noisy<'_>| {
        let noise = f32::from(u8::from(g.key.is_some()));
        let (factor, stream) = match g.stream {
            Stream::Text => (known.text, 0),
            Stream::Vision => (known.vision, 1),
        };
        let count = g.grad.elem_count();
        let numbers = pair(factor as f32, noise);
        Ok(([0, number(g.grad, count)?, 0, stream, 0, 0, numbers, g.key.unwrap_or(0)], count))
    };
    let table = Table::new(gradients.iter().map(row))?;
    table.on_device(like, |address| {
        let (on, sums) = (device(like)?, table.sums(like, address)?);
        let spread = empty(like, table.variables, DType::F32)?;
        let given_spread = || given(&spread, DType::F32, table.variables);
        let arguments = [Arg::At(address), table.given_sums(&sums), given_spread()];
        launch(&on, "deviations", &Shape3::new(table.variables, THREADS), &arguments)?;
        let arguments = [Arg::At(address), table.variables.into(), given_spread(), of_streams, Arg::F32(alpha as f32)];
        launch(&on, "gradient_noise", &Shape3::new(table.chunks, THREADS), &arguments)
    })
}
