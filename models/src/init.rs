//! Initial values of fresh variables, and linear layers that start with them.

use candle_core::Result;
use candle_nn::{Init, VarBuilder};

use crate::ops::Linear;

/// Returns a normal distribution around 0.
pub(crate) fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}

/// Creates a linear layer of an encoder, with variables `weight` (normal) and `bias` (zeros).
pub(crate) fn normal_linear(inputs: usize, outputs: usize, stdev: f64, vb: VarBuilder<'_>) -> Result<Linear> {
    let weight = vb.get_with_hints((outputs, inputs), "weight", normal(stdev))?;
    Ok(Linear::new(weight, Some(vb.get_with_hints(outputs, "bias", Init::Const(0.0))?)))
}

/// Creates a linear layer of a head, with the default initialisation of PyTorch's `nn.Linear`: `weight` and `bias`, if
/// there is one, uniform in ±1/√inputs.
pub(crate) fn uniform_linear(inputs: usize, outputs: usize, bias: bool, vb: &VarBuilder<'_>) -> Result<Linear> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let init = Init::Uniform { lo: -bound, up: bound };
    let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
    let bias = if bias { Some(vb.get_with_hints(outputs, "bias", init)?) } else { None };
    Ok(Linear::new(weight, bias))
}

/// Returns a uniform distribution in ±√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010), with the fans of
/// `torch.nn.init.xavier_uniform_`: sizes 1 and 0, each times the product of the sizes after both.
pub(crate) fn xavier_uniform(shape: &[usize]) -> Init {
    let field: usize = shape.iter().skip(2).product();
    let fans: usize = shape.iter().take(2).map(|size| size * field).sum();
    let bound = (6.0 / fans as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.init._calculate_fan_in_and_fan_out` gives (64, 12), (25·64, 12·64) and (25·25, 12·25).
    #[test]
    fn bounds_are_those_of_torch() {
        for (shape, fans) in [(&[12, 64][..], 76.0f64), (&[12, 25, 64], 2368.0), (&[12, 25, 25], 925.0)] {
            let Init::Uniform { lo, up } = xavier_uniform(shape) else { panic!("not uniform") };
            assert!((up - (6.0 / fans).sqrt()).abs() < 1e-12 && lo == -up, "{shape:?}: {up}");
        }
    }
}
