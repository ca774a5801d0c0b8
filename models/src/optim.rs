//! AdamW (Loshchilov & Hutter 2019) as in `torch.optim.AdamW`, with parameter groups, clipping by the global norm or by
//! each group's own, and a state that can be stored.
//!
//! p ← p·(1 − lr·wd); m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²;
//! p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε). A variable without a gradient is left alone. A schedule scales every
//! lr by one factor, that of the weight decay included, as PyTorch's `LambdaLR` does.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor, Var};
use macro_rules_attribute::apply;

use crate::error::{Error, Result};
use crate::ops;
use crate::simd::vectorised;

/// What all groups share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
}

impl Default for AdamWConfig {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

/// Variables that share a learning rate.
pub struct ParamGroup {
    /// For logs.
    pub name: String,
    /// Named variables.
    pub vars: Vec<(String, Var)>,
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// First and second moment of one variable.
enum Moments {
    /// Updated in place.
    Host(Mutex<[Vec<f32>; 2]>),
    Device([Tensor; 2]),
}

/// The optimiser.
pub struct AdamW {
    groups: Vec<ParamGroup>,
    config: AdamWConfig,
    moments: BTreeMap<String, Moments>,
    step: usize,
    factor: f64,
    /// Whether each group is clipped by its own norm.
    apart: bool,
}

/// Numbers of one update of one group.
struct Update {
    config: AdamWConfig,
    /// 1 − lr·wd.
    keep: f64,
    /// lr / (1 − β₁ᵗ).
    rate: f64,
    /// √(1 − β₂ᵗ).
    correction: f64,
    /// Factor of the gradient (clipping).
    scale: f64,
}

impl AdamW {
    /// Zero moments.
    ///
    /// # Errors
    /// A variable in two groups.
    pub fn new(groups: Vec<ParamGroup>, config: AdamWConfig) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, var) in groups.iter().flat_map(|group| &group.vars) {
            let zero = if var.device().is_cpu() {
                Moments::Host(Mutex::new([vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]]))
            } else {
                Moments::Device([var.zeros_like()?, var.zeros_like()?])
            };
            if moments.insert(name.clone(), zero).is_some() {
                return Err(Error::State(format!("`{name}` is in two parameter groups")));
            }
        }
        Ok(Self { groups, config, moments, step: 0, factor: 1.0, apart: false })
    }

    /// Scales the rates of all groups in the steps that follow; 1 at first, and no part of the stored state.
    pub fn scale_rates(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// The rate of a group's next step.
    fn rate(&self, group: &ParamGroup) -> f64 {
        group.lr * self.factor
    }

    /// Whether [`AdamW::step`] clips each group by its own norm, instead of all groups by the norm of everything.
    #[must_use]
    pub fn clipping_apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// Groups whose gradients are clipped together.
    fn clipped_together(&self) -> impl Iterator<Item = &[ParamGroup]> {
        self.groups.chunks(if self.apart { 1 } else { self.groups.len().max(1) })
    }

    /// One update; with `clip`, gradients are scaled so that their L2 norm, global or of each group, is at most that (as
    /// `torch.nn.utils.clip_grad_norm_`).
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn step(&mut self, grads: &GradStore, clip: Option<f64>) -> Result<()> {
        self.step += 1;
        #[cfg(feature = "cuda")]
        if self.groups.iter().flat_map(|group| &group.vars).all(|(_, var)| var.device().is_cuda()) {
            return self.step_on_gpu(grads, clip);
        }
        let scales = self.scales(grads, clip)?;
        let bias = |beta: f64| 1.0 - beta.powi(self.step as i32);
        for (group, scale) in self.groups.iter().zip(scales) {
            let update = Update {
                config: self.config,
                keep: 1.0 - self.rate(group) * group.weight_decay,
                rate: self.rate(group) / bias(self.config.beta1),
                correction: bias(self.config.beta2).sqrt(),
                scale,
            };
            for (name, var) in &group.vars {
                if let (Some(grad), Some(moments)) = (grads.get(var.as_tensor()), self.moments.get_mut(name)) {
                    update.apply(var, &grad.contiguous()?, moments)?;
                }
            }
        }
        Ok(())
    }

    /// What clipping multiplies the gradients of each group with.
    fn scales(&self, grads: &GradStore, clip: Option<f64>) -> Result<Vec<f64>> {
        let Some(clip) = clip else { return Ok(vec![1.0; self.groups.len()]) };
        let mut scales = Vec::with_capacity(self.groups.len());
        for groups in self.clipped_together() {
            let scale = (clip / (norm(groups, grads)? + 1e-6)).min(1.0);
            scales.extend(groups.iter().map(|_| scale));
        }
        Ok(scales)
    }

    /// All variables that are clipped together in three launches; the norm stays on the GPU.
    #[cfg(feature = "cuda")]
    fn step_on_gpu(&self, grads: &GradStore, clip: Option<f64>) -> Result<()> {
        self.clipped_together().try_for_each(|groups| self.step_together(groups, grads, clip))
    }

    #[cfg(feature = "cuda")]
    fn step_together(&self, groups: &[ParamGroup], grads: &GradStore, clip: Option<f64>) -> Result<()> {
        let bias = |beta: f64| 1.0 - beta.powi(self.step as i32);
        let mut contiguous = Vec::new();
        for (group, (name, var)) in groups.iter().flat_map(|group| group.vars.iter().map(move |var| (group, var))) {
            if let (Some(grad), Some(Moments::Device(moments))) = (grads.get(var.as_tensor()), self.moments.get(name)) {
                contiguous.push((group, var.as_tensor(), grad.contiguous()?, moments));
            }
        }
        let stepped: Vec<ops::Stepped<'_>> = contiguous
            .iter()
            .map(|(group, var, grad, [m, v])| ops::Stepped {
                var,
                grad,
                moments: [m, v],
                keep: (1.0 - self.rate(group) * group.weight_decay) as f32,
                rate: (self.rate(group) / bias(self.config.beta1)) as f32,
            })
            .collect();
        let AdamWConfig { beta1, beta2, eps } = self.config;
        let numbers = [beta1, beta2, eps, bias(beta2).sqrt().recip()].map(|number| number as f32);
        Ok(ops::adamw(&stepped, numbers, clip)?)
    }

    /// L2 norm over all gradients, summed in f64 in a fixed order.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn norm(&self, grads: &GradStore) -> Result<f64> {
        norm(&self.groups, grads)
    }

    /// Moments by `<variable>.m` and `<variable>.v`, and `step`, to be stored.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::from([("step".to_owned(), Tensor::new(self.step as u32, &Device::Cpu)?)]);
        for (name, var) in self.groups.iter().flat_map(|group| &group.vars) {
            let [m, v] = match &self.moments[name] {
                Moments::Host(values) => {
                    let [m, v] = values.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    [Tensor::from_vec(m, var.shape(), &Device::Cpu)?, Tensor::from_vec(v, var.shape(), &Device::Cpu)?]
                }
                Moments::Device(tensors) => tensors.clone(),
            };
            state.extend([(format!("{name}.m"), m), (format!("{name}.v"), v)]);
        }
        Ok(state)
    }

    /// Goes on from a stored state.
    ///
    /// # Errors
    /// A missing entry or one of another size; nothing changes then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::State(format!("no `{name}`")));
        let step = find("step")?.to_scalar::<u32>()? as usize;
        let mut loaded = BTreeMap::new();
        for (name, var) in self.groups.iter().flat_map(|group| &group.vars) {
            let (m, v) = (find(&format!("{name}.m"))?, find(&format!("{name}.v"))?);
            if m.shape() != var.shape() || v.shape() != var.shape() {
                return Err(Error::State(format!("moments of `{name}` have another shape than {:?}", var.shape())));
            }
            let moments = if var.device().is_cpu() {
                Moments::Host(Mutex::new([m.flatten_all()?.to_vec1()?, v.flatten_all()?.to_vec1()?]))
            } else {
                Moments::Device([m.to_device(var.device())?, v.to_device(var.device())?])
            };
            loaded.insert(name.clone(), moments);
        }
        (self.moments, self.step) = (loaded, step);
        Ok(())
    }
}

/// Elements one thread handles at a time; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

fn norm(groups: &[ParamGroup], grads: &GradStore) -> Result<f64> {
    let mut total = 0.0;
    for (_, var) in groups.iter().flat_map(|group| &group.vars) {
        let Some(grad) = grads.get(var.as_tensor()) else { continue };
        total += if grad.device().is_cpu() {
            sum_of_squares(&grad.contiguous()?)?
        } else {
            f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?)
        };
    }
    Ok(total.sqrt())
}

fn sum_of_squares(grad: &Tensor) -> Result<f64> {
    let (storage, layout) = grad.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { return Ok(0.0) };
    let values = ops::values(storage, layout)?;
    Ok(ops::run(values.chunks(CHUNK), |chunk| ops::squares(chunk, 0.0)).into_iter().sum())
}

impl Update {
    fn apply(&self, var: &Var, grad: &Tensor, moments: &mut Moments) -> Result<()> {
        match moments {
            Moments::Host(values) => {
                Ok(var.as_tensor().inplace_op2(grad, &HostStep { update: self, moments: values })?)
            }
            Moments::Device([m, v]) => {
                let (b1, b2) = (self.config.beta1, self.config.beta2);
                let grad = (grad * self.scale)?;
                *m = ((&*m * b1)? + (&grad * (1.0 - b1))?)?;
                *v = ((&*v * b2)? + (grad.sqr()? * (1.0 - b2))?)?;
                let denominator = ((v.sqrt()? / self.correction)? + self.config.eps)?;
                let moved = (m.div(&denominator)? * self.rate)?;
                Ok(var.set(&((var.as_tensor() * self.keep)? - moved)?)?)
            }
        }
    }
}

/// The update of one variable in host memory, in place.
struct HostStep<'a> {
    update: &'a Update,
    moments: &'a Mutex<[Vec<f32>; 2]>,
}

impl InplaceOp2 for HostStep<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        var: &mut CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<()> {
        let grad = ops::values(grad, grad_layout)?;
        let (start, end) = layout
            .contiguous_offsets()
            .ok_or_else(|| candle_core::Error::Msg("variable is not contiguous".to_owned()))?;
        let CpuStorage::F32(var) = var else { candle_core::bail!("AdamW updates f32 variables") };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let [m, v] = &mut *moments;
        let chunks = var[start..end].chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK)).zip(v.chunks_mut(CHUNK));
        ops::run(chunks.zip(grad.chunks(CHUNK)), |(((p, m), v), g)| update(self.update, p, [m, v], g));
        Ok(())
    }
}

#[apply(vectorised)]
fn update(by: &Update, p: &mut [f32], [m, v]: [&mut [f32]; 2], g: &[f32]) {
    let (b1, b2, eps) = (by.config.beta1 as f32, by.config.beta2 as f32, by.config.eps as f32);
    let (scale, keep, rate, root) = (by.scale as f32, by.keep as f32, by.rate as f32, by.correction.recip() as f32);
    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * scale;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        *p = *p * keep - rate * *m / (v.sqrt() * root + eps);
    }
}
