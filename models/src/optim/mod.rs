//! AdamW (Loshchilov & Hutter 2019) as in `torch.optim.AdamW`, with parameter groups, clipping by the global norm or by
//! each group's own, and a state that can be stored.
//!
//! p ← p·(1 − lr·wd); m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε). A variable
//! without a gradient is not changed. A schedule scales every lr by one factor, also where lr scales the weight decay,
//! as PyTorch's `LambdaLR` does.

mod norm;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor, Var};
use macro_rules_attribute::apply;

use crate::error::{Error, Result};
use crate::ops;
use crate::simd::vectorised;
use norm::{CHUNK, norm};

/// Settings that all groups share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment, β₁.
    pub beta1: f64,
    /// Decay of the second moment, β₂.
    pub beta2: f64,
    /// Added to the denominator, ε.
    pub eps: f64,
}

impl Default for AdamWConfig {
    /// Returns the defaults of PyTorch: β₁ 0.9, β₂ 0.999, ε 1e-8.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

/// Variables that share a learning rate and a weight decay.
pub struct ParamGroup {
    /// Name of the group in logs.
    pub name: String,
    /// Variables of the group with their names.
    pub vars: Vec<(String, Var)>,
    /// Learning rate before any schedule.
    pub lr: f64,
    /// Decoupled weight decay, scaled by the learning rate.
    pub weight_decay: f64,
}

/// Returns the variables of groups in order.
fn variables(groups: &[ParamGroup]) -> impl Iterator<Item = &Var> {
    groups.iter().flat_map(|group| &group.vars).map(|(_, var)| var)
}

/// First and second moment of one variable.
enum Moments {
    /// In host memory, updated in place.
    Host(Mutex<[Vec<f32>; 2]>),
    Device([Tensor; 2]),
}

/// The optimiser AdamW over groups of variables.
pub struct AdamW {
    groups: Vec<ParamGroup>,
    config: AdamWConfig,
    moments: BTreeMap<String, Moments>,
    step: usize,
    factor: f64,
    /// Whether each group is clipped by its own norm instead of the norm of all groups.
    apart: bool,
}

/// The numbers of one update of one group.
struct GroupUpdate {
    config: AdamWConfig,
    /// Factor of the variable, 1 − lr·wd.
    keep: f64,
    /// Factor of the update, lr / (1 − β₁ᵗ).
    rate: f64,
    /// Correction of the second moment, √(1 − β₂ᵗ).
    correction: f64,
    /// Factor of the gradient, by clipping.
    scale: f64,
}

impl AdamW {
    /// Creates an optimiser whose moments are zero.
    ///
    /// # Errors
    /// A variable is in two groups.
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

    /// Scales the rates of all groups in the following steps. The factor is 1 at first and is not part of the stored
    /// state.
    pub fn scale_rates(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// Returns the rate of a group's next step.
    fn rate(&self, group: &ParamGroup) -> f64 {
        group.lr * self.factor
    }

    /// Sets whether [`AdamW::step`] clips each group by its own norm instead of the norm of all groups.
    #[must_use]
    pub fn clipping_apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// Returns the sets of groups whose gradients are clipped together.
    fn clipped_together(&self) -> impl Iterator<Item = &[ParamGroup]> {
        self.groups.chunks(if self.apart { 1 } else { self.groups.len().max(1) })
    }

    /// Updates all variables. With `clip`, gradients are scaled so that their L2 norm, over all groups or of each
    /// group, is at most `clip`, as by `torch.nn.utils.clip_grad_norm_`.
    ///
    /// # Errors
    /// A tensor operation fails.
    pub fn step(&mut self, grads: &GradStore, clip: Option<f64>) -> Result<()> {
        self.step += 1;
        #[cfg(feature = "cuda")]
        if self.groups.iter().flat_map(|group| &group.vars).all(|(_, var)| var.device().is_cuda()) {
            return self.clipped_together().try_for_each(|groups| self.step_together(groups, grads, clip));
        }
        let scales = self.scales(grads, clip)?;
        let bias = |beta: f64| 1.0 - beta.powi(self.step as i32);
        for (group, scale) in self.groups.iter().zip(scales) {
            let update = GroupUpdate {
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

    /// Returns the factor by which clipping scales the gradients of each group.
    fn scales(&self, grads: &GradStore, clip: Option<f64>) -> Result<Vec<f64>> {
        let Some(clip) = clip else { return Ok(vec![1.0; self.groups.len()]) };
        let mut scales = Vec::with_capacity(self.groups.len());
        for groups in self.clipped_together() {
            let scale = (clip / (norm(variables(groups), grads)? + 1e-6)).min(1.0);
            scales.extend(groups.iter().map(|_| scale));
        }
        Ok(scales)
    }

    /// Updates all variables of groups that are clipped together, in three launches; the norm stays on the GPU.
    #[cfg(feature = "cuda")]
    fn step_together(&self, groups: &[ParamGroup], grads: &GradStore, clip: Option<f64>) -> Result<()> {
        let bias = |beta: f64| 1.0 - beta.powi(self.step as i32);
        let mut contiguous = Vec::new();
        for (group, (name, var)) in groups.iter().flat_map(|group| group.vars.iter().map(move |var| (group, var))) {
            if let (Some(grad), Some(Moments::Device(moments))) = (grads.get(var.as_tensor()), self.moments.get(name)) {
                contiguous.push((group, var.as_tensor(), grad.contiguous()?, moments));
            }
        }
        let stepped: Vec<ops::VarStep<'_>> = contiguous
            .iter()
            .map(|(group, var, grad, [m, v])| ops::VarStep {
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

    /// Returns the L2 norm over all gradients, summed in f64 in a fixed order.
    ///
    /// # Errors
    /// A tensor operation fails.
    pub fn norm(&self, grads: &GradStore) -> Result<f64> {
        norm(variables(&self.groups), grads)
    }

    /// Returns the variables of all groups with their names.
    pub fn vars(&self) -> impl Iterator<Item = &(String, Var)> {
        self.groups.iter().flat_map(|group| &group.vars)
    }

    /// Returns the state to store: moments as `<variable>.m` and `<variable>.v`, and `step`.
    ///
    /// # Errors
    /// A tensor cannot be made.
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

    /// Restores a state that [`AdamW::state`] returned.
    ///
    /// # Errors
    /// An entry is missing or has another size; then nothing changes.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::State(format!("no `{name}`")));
        let step = find("step")?.to_scalar::<u32>()? as usize;
        let mut loaded = BTreeMap::new();
        for (name, var) in self.groups.iter().flat_map(|group| &group.vars) {
            let m = find(&format!("{name}.m"))?;
            let v = find(&format!("{name}.v"))?;
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
        self.moments = loaded;
        self.step = step;
        Ok(())
    }
}

impl GroupUpdate {
    fn apply(&self, var: &Var, grad: &Tensor, moments: &mut Moments) -> Result<()> {
        match moments {
            Moments::Host(values) => {
                Ok(var.as_tensor().inplace_op2(grad, &HostStep { update: self, moments: values })?)
            }
            Moments::Device([m, v]) => {
                let b1 = self.config.beta1;
                let b2 = self.config.beta2;
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
    update: &'a GroupUpdate,
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
        let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("variable is not contiguous") };
        let CpuStorage::F32(var) = var else { candle_core::bail!("AdamW updates f32 variables") };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let [m, v] = &mut *moments;
        let chunks = var[start..end].chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK)).zip(v.chunks_mut(CHUNK));
        ops::run(chunks.zip(grad.chunks(CHUNK)), |(((p, m), v), g)| update(self.update, p, [m, v], g));
        Ok(())
    }
}

#[apply(vectorised)]
fn update(by: &GroupUpdate, p: &mut [f32], [m, v]: [&mut [f32]; 2], g: &[f32]) {
    let b1 = by.config.beta1 as f32;
    let b2 = by.config.beta2 as f32;
    let eps = by.config.eps as f32;
    let scale = by.scale as f32;
    let keep = by.keep as f32;
    let rate = by.rate as f32;
    let root = by.correction.recip() as f32;
    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * scale;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        *p = *p * keep - rate * *m / (v.sqrt() * root + eps);
    }
}
