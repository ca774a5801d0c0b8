//! Gradients of variables, beside candle's.
//!
//! candle adds each gradient to zeros, and its operations have three inputs at most. Ours hand gradients of variables
//! over here instead; [`backward`] puts both together.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

thread_local! {
    /// Variables and their gradients, in the order of the first one; None outside of [`backward`].
    static LEAVES: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// Gradients of a scalar. In place of candle's `loss.backward()`, which does not know those of fused operations and
/// fails on them.
///
/// # Errors
/// When a tensor operation fails; a second call on the same graph.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let outer = LEAVES.replace(Some(Vec::new()));
    let grads = loss.backward();
    let leaves = LEAVES.replace(outer).unwrap_or_default();
    let mut grads = grads?;
    for (var, grad) in leaves {
        let sum = match grads.remove(&var) {
            Some(other) => (other + grad)?,
            None => grad,
        };
        grads.insert(&var, sum);
    }
    Ok(grads)
}

/// Takes the gradient of an input of an operation; given back where candle has to carry it on.
pub(super) fn give(input: &Tensor, grad: Vec<f32>) -> Result<Option<Tensor>> {
    if !input.track_op() {
        return Ok(None);
    }
    give_tensor(input, Tensor::from_vec(grad, input.shape(), input.device())?)
}

/// The same of a gradient that is a tensor already.
pub(super) fn give_tensor(input: &Tensor, grad: Tensor) -> Result<Option<Tensor>> {
    if !input.track_op() {
        return Ok(None);
    }
    LEAVES.with_borrow_mut(|leaves| {
        let Some(leaves) = leaves.as_mut().filter(|_| input.is_variable()) else { return Ok(Some(grad)) };
        match leaves.iter_mut().find(|(var, _)| var.id() == input.id()) {
            Some((_, sum)) => *sum = (&*sum + grad)?,
            None => leaves.push((input.clone(), grad)),
        }
        Ok(None)
    })
}

/// Takes the gradient of a tensor that candle does not know as an input.
pub(super) fn keep(input: &Tensor, grad: Vec<f32>) -> Result<()> {
    kept(give(input, grad)?)
}

/// The same of a gradient that is a tensor already.
pub(super) fn keep_tensor(input: &Tensor, grad: Tensor) -> Result<()> {
    kept(give_tensor(input, grad)?)
}

fn kept(left: Option<Tensor>) -> Result<()> {
    match left {
        None => Ok(()),
        Some(_) => {
            candle_core::bail!("gradients of fused layers need mkgc_models::ops::backward, not Tensor::backward")
        }
    }
}

/// Whether [`keep`] can take the gradient of `input`.
pub(super) fn is_leaf(input: &Tensor) -> bool {
    input.is_variable() || !input.track_op()
}
