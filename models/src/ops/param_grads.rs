//! Gradients of variables that bypass candle.
//!
//! candle adds each gradient to zeros, and its operations have three inputs at most. The operations of this crate push
//! the gradients of their variables onto a list instead; [`backward`] merges the list with candle's gradients.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

thread_local! {
    /// Variables with their gradients, in the order in which they were first pushed; none outside of [`backward`].
    static PUSHED: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// Returns the gradients of a scalar. Call this instead of candle's `loss.backward()`, which does not know the
/// gradients that fused operations push and fails on them.
///
/// # Errors
/// A tensor operation fails; the graph was walked before.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let outer = PUSHED.replace(Some(Vec::new()));
    let grads = loss.backward();
    let pushed = PUSHED.replace(outer).unwrap_or_default();
    let mut grads = grads?;
    for (var, grad) in pushed {
        let sum = match grads.remove(&var) {
            Some(other) => (other + grad)?,
            None => grad,
        };
        grads.insert(&var, sum);
    }
    Ok(grads)
}

/// The values of a gradient, in host memory or already a tensor.
pub(super) trait IntoGrad {
    /// Makes a tensor of the values, with the shape and the device of `input`.
    fn into_tensor(self, input: &Tensor) -> Result<Tensor>;
}

impl IntoGrad for Vec<f32> {
    fn into_tensor(self, input: &Tensor) -> Result<Tensor> {
        Tensor::from_vec(self, input.shape(), input.device())
    }
}

impl IntoGrad for Tensor {
    fn into_tensor(self, _: &Tensor) -> Result<Tensor> {
        Ok(self)
    }
}

/// Pushes the gradient of an input that candle knows. Returns the gradient if candle has to propagate it.
pub(super) fn push_or_return(input: &Tensor, grad: impl IntoGrad) -> Result<Option<Tensor>> {
    if !input.track_op() {
        return Ok(None);
    }
    let grad = grad.into_tensor(input)?;
    PUSHED.with_borrow_mut(|pushed| {
        let Some(pushed) = pushed.as_mut().filter(|_| input.is_variable()) else { return Ok(Some(grad)) };
        match pushed.iter_mut().find(|(var, _)| var.id() == input.id()) {
            Some((_, sum)) => *sum = (&*sum + grad)?,
            None => pushed.push((input.clone(), grad)),
        }
        Ok(None)
    })
}

/// Pushes the gradient of a variable that candle does not know as an input, and fails if nobody collects it.
pub(super) fn push_grad(variable: &Tensor, grad: impl IntoGrad) -> Result<()> {
    match push_or_return(variable, grad)? {
        None => Ok(()),
        Some(_) => {
            candle_core::bail!("gradients of fused layers need mkgc_models::ops::backward, not Tensor::backward")
        }
    }
}

/// Returns whether [`push_grad`] accepts the gradient of `input`: a variable, or a constant, which has none.
pub(super) fn accepts(input: &Tensor) -> bool {
    input.is_variable() || !input.track_op()
}
