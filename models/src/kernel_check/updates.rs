//! Updates of all variables at once, which [`super::check_kernels`] runs on both devices: AdamW and gradient noise.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};

use super::cases::values;
use crate::error::Error;
use crate::inputs::Stream;
use crate::losses::modulation::{Balance, Change, Coefficients, modulate};
use crate::ops::backward;
use crate::optim::{AdamW, AdamWConfig, ParamGroup};

/// Returns three variables, one of many chunks.
fn variables(device: &Device) -> Result<Vec<Var>> {
    let shapes: [&[usize]; 3] = [&[5], &[300, 200], &[64, 256]];
    shapes.iter().enumerate().map(|(n, shape)| Var::from_tensor(&values(shape, n)?.to_device(device)?)).collect()
}

fn gradients(vars: &[Var], factor: f64) -> Result<GradStore> {
    let term = |var: &Var| (var.as_tensor().sqr()? * factor)?.sum_all();
    let mut sum = term(&vars[0])?;
    for var in &vars[1..] {
        sum = (sum + term(var)?)?;
    }
    backward(&sum)
}

/// Returns variables of three groups after steps with clipping and decay.
pub(super) fn steps(device: &Device) -> Result<Vec<Tensor>> {
    let vars = variables(device)?;
    let group = |(n, lr, weight_decay): (usize, f64, f64)| {
        let name = n.to_string();
        ParamGroup { name: name.clone(), vars: vec![(name, vars[n].clone())], lr, weight_decay }
    };
    let groups = [(0, 1e-2, 0.0), (1, 1e-3, 0.01), (2, 1e-2, 0.1)].map(group).into();
    let failed = |error: Error| candle_core::Error::Msg(error.to_string());
    let mut optimiser = AdamW::new(groups, AdamWConfig::default()).map_err(failed)?;
    for step in 1..4 {
        optimiser.step(&gradients(&vars, f64::from(step))?, Some(1.0)).map_err(failed)?;
    }
    vars.iter().map(|var| var.as_tensor().copy()).collect()
}

/// Returns gradients with factors that the host knows, and noise.
pub(super) fn noise(device: &Device) -> Result<Vec<Tensor>> {
    noisy(device, &Balance::Known(Coefficients { text: 0.5, vision: 1.5 }))
}

/// Returns gradients with factors that follow from sums on the device, and noise.
pub(super) fn noise_by_sums(device: &Device) -> Result<Vec<Tensor>> {
    noisy(device, &Balance::OnDevice { sums: Tensor::new(&[2.0f32, 3.0], device)?, alpha: 0.3 })
}

fn noisy(device: &Device, balance: &Balance) -> Result<Vec<Tensor>> {
    let vars = variables(device)?;
    let mut grads = gradients(&vars, 1.0)?;
    let change = |(n, var): (usize, &Var)| Change {
        var: var.as_tensor().clone(),
        stream: if n == 1 { Stream::Vision } else { Stream::Text },
        // Keys of more than 32 bits check that both words of the kernel's generator are set.
        noise: n.checked_sub(1).map(|shift| (n as u64) << (40 * shift)),
    };
    modulate(&mut grads, &vars.iter().enumerate().map(change).collect::<Vec<_>>(), balance)?;
    Ok(vars.iter().filter_map(|var| grads.remove(var.as_tensor())).collect())
}
