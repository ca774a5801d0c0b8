//! Means of attention maps over their real keys and queries, which LMC distils. For a map A and a mask m with n real
//! positions:
//!
//! ```text
//! width_i = m_i Σ_j m_j A_ij / n,   height_j = m_j Σ_i m_i A_ij / n;   dA_ij = m_i m_j (dwidth_i + dheight_j) / n
//! ```

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::dispatch::fused;
use super::host::{Host, values};
use super::maths::{sum, sum2};
use super::threads::run;
use crate::simd::vectorised;

/// Which means of a map are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// Means over keys, one for each query.
    Width,
    /// Means over queries, one for each key.
    Height,
    /// Means over keys, then means over queries.
    Both,
}

impl Means {
    fn kinds(self) -> usize {
        if self == Self::Both { 2 } else { 1 }
    }

    /// Splits the results of one row of the batch into widths and heights, as far as they are taken.
    fn parts(self, values: &[f32]) -> [Option<&[f32]>; 2] {
        match self {
            Self::Width => [Some(values), None],
            Self::Height => [None, Some(values)],
            Self::Both => {
                let (width, height) = values.split_at(values.len() / 2);
                [Some(width), Some(height)]
            }
        }
    }
}

/// Returns the means of `maps` `[B, heads, L, L]` as `[B, kinds, heads, L]` in f32; `mask` `[B, L]` f32 is 1 on real
/// positions and 0 elsewhere.
///
/// # Errors
/// The shapes do not match.
pub(crate) fn map_means(maps: &Tensor, mask: &Tensor, means: Means) -> Result<Tensor> {
    let (rows, _, _, length) = maps.dims4()?;
    if fused(maps) && maps.elem_count() > 0 && mask.dims() == [rows, length] {
        return maps.contiguous()?.apply_op1(MapMeansOp { mask: mask.flatten_all()?.to_vec1()?, length, means });
    }
    let keys = mask.unsqueeze(1)?.unsqueeze(1)?;
    let queries = mask.unsqueeze(1)?.unsqueeze(3)?;
    let count = mask.sum_keepdim(1)?.unsqueeze(1)?;
    let maps = maps.to_dtype(DType::F32)?.broadcast_mul(&keys)?.broadcast_mul(&queries)?;
    let mean = |axis: D| maps.sum(axis)?.broadcast_div(&count)?.unsqueeze(1);
    match means {
        Means::Width => mean(D::Minus1),
        Means::Height => mean(D::Minus2),
        Means::Both => Tensor::cat(&[mean(D::Minus1)?, mean(D::Minus2)?], 1),
    }
}

/// The node of the graph.
struct MapMeansOp {
    mask: Vec<f32>,
    length: usize,
    means: Means,
}

/// Writes m_i Σ_j m_j A_ij / n to `y`.
#[apply(vectorised)]
fn widths(map: &[f32], mask: &[f32], y: &mut [f32]) {
    let n = sum(mask, |m| m);
    for ((y, m), row) in y.iter_mut().zip(mask).zip(map.chunks_exact(mask.len())) {
        *y = m * sum2(row, mask, |x, m| x * m) / n;
    }
}

/// Writes m_j Σ_i m_i A_ij / n to `y`, which holds zeros.
#[apply(vectorised)]
fn heights(map: &[f32], mask: &[f32], y: &mut [f32]) {
    let n = sum(mask, |m| m);
    for (m, row) in mask.iter().zip(map.chunks_exact(mask.len())) {
        y.iter_mut().zip(row).for_each(|(y, x)| *y += m * x);
    }
    y.iter_mut().zip(mask).for_each(|(y, m)| *y = m * *y / n);
}

/// Writes m_i m_j (dwidth_i + dheight_j) / n to `dmap`.
#[apply(vectorised)]
fn gradients(dmap: &mut [f32], mask: &[f32], width: &[f32], height: &[f32]) {
    let n = sum(mask, |m| m);
    for ((row, m), width) in dmap.chunks_exact_mut(mask.len()).zip(mask).zip(width) {
        let factor = m / n;
        let columns = row.iter_mut().zip(mask.iter().zip(height));
        columns.for_each(|(x, (m, height))| *x = factor * m * (width + height));
    }
}

impl MapMeansOp {
    fn forward(&self, maps: &[f32], heads: usize) -> Vec<f32> {
        let length = self.length;
        let kinds = self.means.kinds();
        let mut y = vec![0.0; maps.len() / length * kinds];
        let rows = y.chunks_mut(kinds * heads * length).zip(maps.chunks(heads * length * length));
        run(rows.zip(self.mask.chunks(length)), |((y, maps), mask)| {
            for (kind, y) in y.chunks_exact_mut(heads * length).enumerate() {
                let over_keys = self.means == Means::Width || (self.means == Means::Both && kind == 0);
                let mean = if over_keys { widths } else { heights };
                let maps = maps.chunks_exact(length * length);
                y.chunks_exact_mut(length).zip(maps).for_each(|(y, map)| mean(map, mask, y));
            }
        });
        y
    }

    fn backward(&self, grad: &[f32], heads: usize) -> Vec<f32> {
        let length = self.length;
        let kinds = self.means.kinds();
        let mut maps = vec![0.0; grad.len() / kinds * length];
        let rows = maps.chunks_mut(heads * length * length).zip(grad.chunks(kinds * heads * length));
        let none = vec![0.0; heads * length];
        run(rows.zip(self.mask.chunks(length)), |((maps, grad), mask)| {
            let [width, height] = self.means.parts(grad).map(|part| part.unwrap_or(&none).chunks_exact(length));
            let maps = maps.chunks_exact_mut(length * length).zip(width.zip(height));
            maps.for_each(|(map, (width, height))| gradients(map, mask, width, height));
        });
        maps
    }
}

impl CustomOp1 for MapMeansOp {
    fn name(&self) -> &'static str {
        "means of maps"
    }

    fn cpu_fwd(&self, maps: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, heads, _, length) = layout.shape().dims4()?;
        let y = self.forward(values(maps, layout)?, heads);
        Ok((CpuStorage::F32(y), (rows, self.means.kinds(), heads, length).into()))
    }

    fn bwd(&self, maps: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let maps_grad = self.backward(Host::new(&grad)?.values()?, maps.dim(1)?);
        Tensor::from_vec(maps_grad, maps.shape(), maps.device()).map(Some)
    }
}
