//! Layer normalisation (Ba et al. 2016): y = x̂ w + b, x̂ = (x - mean) r, r = 1 / √(var + ε), over the last dimension.
//!
//! dx = r (g w - mean(g w) - x̂ mean(g w x̂)), dw = Σ g x̂, db = Σ g.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};

use super::maths::{sum, sum2};
use super::{Host, fused, rows_per_piece, run, values};

/// `x` `[.., H]`, `weight` `[H]`, `bias` `[H]` to `[.., H]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if fused(x) && fused(weight) && fused(bias) {
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm(eps as f32));
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

struct LayerNorm(f32);

impl LayerNorm {
    /// Mean and r of a row.
    #[inline(always)]
    fn moments(&self, x: &[f32]) -> (f32, f32) {
        let n = x.len() as f32;
        let mean = sum(x, |x| x) / n;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
        (mean, 1.0 / (variance + self.0).sqrt())
    }

    /// dx of some rows; dw is added to.
    #[inline(always)]
    fn backward(&self, dx: &mut [f32], x: &[f32], g: &[f32], w: &[f32], dw: &mut [f32], db: &mut [f32]) {
        let width = w.len();
        let scale = 1.0 / width as f32;
        for ((dx, x), g) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(g.chunks_exact(width)) {
            let (mean, r) = self.moments(x);
            for ((dx, x), (g, (dw, db))) in dx.iter_mut().zip(x).zip(g.iter().zip(dw.iter_mut().zip(db.iter_mut()))) {
                *dx = (x - mean) * r;
                *dw += g * *dx;
                *db += g;
            }
            let mean_g = sum2(g, w, |g, w| g * w) * scale;
            // x̂ lies in dx by now.
            let mut dot = [0.0; 16];
            let mut tail = 0.0;
            for (i, ((x, g), w)) in dx.iter().zip(g).zip(w).enumerate() {
                if i < width / 16 * 16 { dot[i % 16] += x * g * w } else { tail += x * g * w }
            }
            let mean_gx = (dot.iter().sum::<f32>() + tail) * scale;
            dx.iter_mut().zip(g.iter().zip(w)).for_each(|(dx, (g, w))| *dx = r * (g * w - mean_g - *dx * mean_gx));
        }
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (values(x, layout)?, values(w, lw)?, values(b, lb)?);
        let width = layout.shape().dim(D::Minus1)?;
        if w.len() != width || b.len() != width || width == 0 {
            candle_core::bail!("layer norm of {:?} with {} weights and {} biases", layout.shape(), w.len(), b.len());
        }
        let size = rows_per_piece(width) * width;
        let mut y = vec![0.0; x.len()];
        run(y.chunks_mut(size).zip(x.chunks(size)), |(y, x)| {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let (mean, r) = self.moments(x);
                let row = y.iter_mut().zip(x).zip(w.iter().zip(b));
                row.for_each(|((y, x), (w, b))| *y = (x - mean) * r * w + b);
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (held, weights, grad) = (Host::new(x)?, Host::new(weight)?, Host::new(&grad)?);
        let (values, w, grad) = (held.values()?, weights.values()?, grad.values()?);
        let (width, size) = (w.len(), rows_per_piece(w.len()) * w.len());
        let mut dx = vec![0.0; values.len()];
        let parts = run(dx.chunks_mut(size).zip(values.chunks(size)).zip(grad.chunks(size)), |((dx, x), g)| {
            let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
            self.backward(dx, x, g, w, &mut dw, &mut db);
            (dw, db)
        });
        let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
        for (part_w, part_b) in &parts {
            dw.iter_mut().zip(part_w).for_each(|(dw, part)| *dw += part);
            db.iter_mut().zip(part_b).for_each(|(db, part)| *db += part);
        }
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dx, x)?, tensor(dw, weight)?, tensor(db, bias)?))
    }
}
