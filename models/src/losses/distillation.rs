//! LMC's attention distillation (Chen et al. 2023, arXiv 2305.08698), which keeps the student's attention logits near
//! those of the network before the task. As in PODNet (Douillard et al. 2020), maps are compared after pooling.
//!
//! ```text
//! width_i  = mean_j A_ij   over real keys j;     height_j = mean_i A_ij   over real queries i
//! loss     = mean_rows mean_{layers, heads, kinds, real positions} (ReLU(student) − ReLU(teacher))²
//! ```
//! The released code pools the two streams differently, because their maps differ in rank when they reach the same
//! lines:
//!
//! ```text
//!                text                                          vision
//! width          Σ_i A_ij, one row for all heads               Σ_j A_ij, a row for each head
//! height         Σ_heads A_ij, one row for all i and j         Σ_i A_ij, a row for each head
//! released = Σ_{width, height} mean_layers ‖R‖_F / 100,   rows of R = r/‖r‖₂,   r = ReLU(teacher − student)
//! ```
//! Maps are logits `[B, heads, L, L]`, one tensor per layer; `mask` `[B, L]` u32 is 1 on real positions. Sums are in
//! f32. Only the teacher's pooled maps are needed. They do not change during a task and can be kept.

use candle_core::{D, DType, Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inputs::Stream;
use crate::ops::{self, Means};

/// What of a map is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Means over keys: one kind of vector.
    Width,
    /// Means over queries: one kind.
    Height,
    /// Width, then height: two kinds.
    Both,
    /// Every entry: the `L` queries' rows are the kinds.
    None,
}

/// Pools maps into `[B, layers, kinds, heads, L]`, with 0 at padded positions.
///
/// # Errors
/// There are no maps, or the shapes do not match.
pub fn pool(maps: &[Tensor], mask: &Tensor, pooling: Pooling) -> Result<Tensor> {
    let mask = mask.to_dtype(DType::F32)?;
    let layer = |map: &Tensor| {
        let means = match pooling {
            Pooling::Width => Means::Width,
            Pooling::Height => Means::Height,
            Pooling::Both => Means::Both,
            Pooling::None => {
                let real = mask.unsqueeze(2)?.broadcast_mul(&mask.unsqueeze(1)?)?.unsqueeze(1)?;
                return map.to_dtype(DType::F32)?.broadcast_mul(&real)?.transpose(1, 2);
            }
        };
        ops::map_means(map, &mask, means)
    };
    Tensor::stack(&maps.iter().map(layer).collect::<Result<Vec<_>>>()?, 1)
}

/// Returns the loss of the paper, a scalar, from maps of student and teacher that [`pool`] made with the same
/// `pooling`.
///
/// # Errors
/// The shapes do not match.
pub fn attention_distillation(student: &Tensor, teacher: &Tensor, mask: &Tensor, pooling: Pooling) -> Result<Tensor> {
    let squares = (student.relu()? - teacher.detach().relu()?)?.sqr()?;
    let (rows, layers, kinds, heads, _) = squares.dims5()?;
    let positions = mask.to_dtype(DType::F32)?.sum(1)?;
    // Without pooling, a row has as many real kinds as real positions.
    let entries = match pooling {
        Pooling::None => (positions.sqr()? * (layers * heads) as f64)?,
        _ => (positions * (layers * kinds * heads) as f64)?,
    };
    squares.reshape((rows, ()))?.sum(1)?.div(&entries)?.mean_all()
}

/// Pools maps as the released code does, into one tensor for each direction that `pooling` names; with
/// [`Pooling::None`] that code distils nothing. Sizes are those of [`pool`], except that the height of a text has its
/// queries as kinds and one head. Means replace the sums, because rows are normalised, so that a factor has no effect.
///
/// # Errors
/// There are no maps, or the shapes do not match.
pub fn pool_released(maps: &[Tensor], mask: &Tensor, stream: Stream, pooling: Pooling) -> Result<Vec<Tensor>> {
    let pooled = |direction: &Pooling| match (stream, direction) {
        (Stream::Vision, direction) => pool(maps, mask, *direction),
        (Stream::Text, Pooling::Width) => pool(maps, mask, Pooling::Height),
        (Stream::Text, _) => {
            let means: Vec<Tensor> = maps.iter().map(|map| map.mean_keepdim(1)).collect::<Result<_>>()?;
            pool(&means, mask, Pooling::None)
        }
    };
    let directions: &[Pooling] = match pooling {
        Pooling::None => &[],
        Pooling::Width => &[Pooling::Width],
        Pooling::Height => &[Pooling::Height],
        Pooling::Both => &[Pooling::Width, Pooling::Height],
    };
    directions.iter().map(pooled).collect()
}

/// Returns the loss as the released code computes it, a scalar constant, from one direction's maps of student and
/// teacher by [`pool_released`].
///
/// Its value is √(number of rows with a positive entry)/100 per layer, so its gradient is zero. The value is detached
/// from the graph, because rounding would leave gradients near 1e-9, which AdamW scales up to whole steps where there
/// is no other gradient.
///
/// The value jumps with rounding while student and teacher are close, as they are in the first steps of a task: the
/// last bit then decides whether a difference of nearly equal maps is above zero, and it may differ between processors
/// and devices. Losses of `lmc-released` are therefore compared between devices without this term.
///
/// # Errors
/// The shapes do not match.
pub fn attention_distillation_released(student: &Tensor, teacher: &Tensor, stream: Stream) -> Result<Tensor> {
    let rest = (teacher - student)?.detach().relu()?;
    let rest = match stream {
        Stream::Text => rest.flatten_from(2)?.unsqueeze(2)?,
        Stream::Vision => rest.squeeze(2)?,
    };
    let norms = rest.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    let squares = rest.broadcast_div(&norms)?.sqr()?;
    (squares.sum((2, 3))?.sum(0)?.sqrt()? / 100.0)?.mean_all()
}
