//! Each kernel beside its twin on the CPU: values and all gradients, dropout masks included.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::{
    AttentionParts, Chain, FeedForwardParts, Gelu, Ids, Keys, Mask, Order, Residual, SharedKey, Side, UNKNOWN,
    backward, crf_nll, dropout, embedding, layer_norm, masked_softmax, softmax, sublayer, viterbi,
};
use super::attention::backward_memory;
use super::most_shared;
use crate::distill::Stream;
use crate::linear::Linear;
use crate::loss::masked_cross_entropy;
use crate::modulation::{Balance, Change, Coefficients, modulate};
use crate::norm::LayerNorm;
use crate::optim::{AdamW, AdamWConfig, ParamGroup};

/// How far a kernel is from its twin.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KernelCheck {
    /// Operation and shape.
    pub name: String,
    /// Number type of the states.
    pub dtype: String,
    /// Largest difference of a value or gradient, relative to the largest of its tensor.
    pub error: f64,
    /// What is allowed.
    pub limit: f64,
    /// Why the kernel was not run, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl KernelCheck {
    /// Returns whether the error is within what is allowed, which NaN never is. A kernel that was not run passes and says why in `skipped`.
    pub fn passed(&self) -> bool {
        self.error <= self.limit
    }

    fn skipped(name: &str, dtype: DType, reason: String) -> Self {
        let skipped = Some(reason);
        Self { name: name.to_owned(), dtype: dtype.as_str().to_owned(), error: 0.0, limit: 0.0, skipped }
    }
}

/// An operation on variables, the first of which has the type that is checked.
type Operation = Box<dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor>>;

struct Case {
    name: String,
    shapes: Vec<Vec<usize>>,
    /// Number of the variable whose gradient is zero but for rounding.
    cancelled: Option<usize>,
    /// Length and head size of attention, whose maps have to fit into a block's shared memory.
    attention: Option<(usize, usize)>,
    run: Operation,
}

impl Case {
    /// Marks the bias of a key: it adds the same to all logits of a query, which the softmax cancels.
    fn with_cancelled(self, variable: usize) -> Self {
        Self { cancelled: Some(variable), ..self }
    }

    fn of_attention(self, length: usize, size: usize) -> Self {
        Self { attention: Some((length, size)), ..self }
    }

    /// Why a GPU does not run the kernel: it composes the layer of smaller operations then.
    fn too_large(&self, device: &Device, dtype: DType) -> Result<Option<String>> {
        let Some((length, size)) = self.attention else { return Ok(None) };
        let (needs, has) = (backward_memory(length, size, dtype), most_shared(device.as_cuda_device()?)?);
        let reason = || format!("a block needs {needs} bytes of shared memory, this GPU has {has}");
        Ok((needs > has).then(reason))
    }
}

/// Compares all kernels on `device` with the CPU.
///
/// # Errors
/// When a kernel cannot run at all.
pub fn check_kernels(device: &Device) -> Result<Vec<KernelCheck>> {
    let mut checks = Vec::new();
    for dtype in [DType::F32, DType::BF16] {
        for case in cases() {
            if let Some(reason) = case.too_large(device, dtype)? {
                checks.push(KernelCheck::skipped(&case.name, dtype, reason));
                continue;
            }
            let twin = outcome(&case, &Device::Cpu, DType::F32)?;
            let ours = outcome(&case, device, dtype)?;
            // The result stands before the gradients.
            checks.push(compare(&case.name, dtype, case.cancelled.map(|variable| variable + 1), &ours, &twin)?);
        }
    }
    let others: [(&str, fn(&Device) -> Result<Vec<Tensor>>); 3] =
        [("AdamW", steps), ("gradient noise", noise), ("gradient noise, κ on the device", noise_by_sums)];
    for (name, of) in others {
        checks.push(compare(name, DType::F32, None, &of(device)?, &of(&Device::Cpu)?)?);
    }
    Ok(checks)
}

/// Compares tensors one by one, each relative to the largest value of its twin; the one that is `cancelled` relative to the
/// largest value of all. Products round differently and bf16 has 8 bits: sums of that many rounded values differ by a few
/// of its steps.
fn compare(
    name: &str,
    dtype: DType,
    cancelled: Option<usize>,
    ours: &[Tensor],
    twin: &[Tensor],
) -> Result<KernelCheck> {
    let sizes: Vec<f64> = twin.iter().map(largest).collect::<Result<_>>()?;
    let of_all = sizes.iter().copied().fold(0.0, f64::max);
    let mut error = 0f64;
    for (number, (ours, twin)) in ours.iter().zip(twin).enumerate() {
        let difference = largest(&(ours.to_device(&Device::Cpu)?.to_dtype(DType::F32)? - twin)?)?;
        let size = if cancelled == Some(number) { of_all } else { sizes[number] };
        let part = difference / size.max(1e-12);
        // `max` would pass over NaN.
        error = if part.is_nan() { f64::INFINITY } else { error.max(part) };
    }
    let limit = if dtype == DType::F32 { 2e-5 } else { 0.05 };
    Ok(KernelCheck { name: name.to_owned(), dtype: dtype.as_str().to_owned(), error, limit, skipped: None })
}

/// Largest absolute value.
fn largest(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?))
}

/// Numbers in ±1, the same everywhere and as if drawn: sums of evenly spread numbers cancel out and then say little.
fn values(shape: &[usize], seed: usize) -> Result<Tensor> {
    let value = |i: usize| {
        // The finaliser of SplitMix64.
        let mut bits = ((seed as u64) << 32 | i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    };
    Tensor::from_vec((0..shape.iter().product()).map(value).collect(), shape, &Device::Cpu)
}

/// Result and gradients of all variables, of a loss that weighs every value differently.
fn outcome(case: &Case, device: &Device, dtype: DType) -> Result<Vec<Tensor>> {
    let variable = |(n, shape): (usize, &Vec<usize>)| {
        let values = values(shape, n + 1)?;
        // Weights as small as a network's, or the softmax after them is one-hot.
        let values = if n > 0 && shape.len() == 2 { (values / (shape[1] as f64).sqrt())? } else { values };
        Var::from_tensor(&values.to_device(device)?)
    };
    let vars: Vec<Var> = case.shapes.iter().enumerate().map(variable).collect::<Result<_>>()?;
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = (case.run)(&inputs[0].to_dtype(dtype)?, &inputs[1..])?.to_dtype(DType::F32)?;
    let weights = values(y.dims(), 99)?.to_device(device)?;
    let grads = backward(&(&y * weights)?.sum_all()?)?;
    let mut all = vec![y];
    for input in &inputs {
        // An operation that only reads the device of its first input gives it no gradient.
        all.push(grads.get(input).map_or_else(|| input.zeros_like(), |grad| Ok(grad.clone()))?);
    }
    Ok(all)
}

fn case(name: &str, shapes: &[&[usize]], run: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor> + 'static) -> Case {
    let shapes = shapes.iter().map(|shape| shape.to_vec()).collect();
    Case { name: name.to_owned(), shapes, cancelled: None, attention: None, run: Box::new(run) }
}

fn cases() -> Vec<Case> {
    let mask = |p| Mask::new(17, p);
    let mut cases = vec![
        case("masked softmax 2 x 3 x 9 x 33", &[&[2, 3, 9, 33]], |x, _| masked_softmax(x, &padding(x, 33)?)),
        case("dropout 5000", &[&[5000]], move |x, _| dropout(x, mask(0.3))),
        case("embedding 50 x 64", &[&[1], &[50, 64]], |x, v| {
            let ids: Vec<u32> = (0..60).map(|n| n * n % 47).collect();
            embedding(&v[0], &Ids::new(ids, (4, 15), x.device())?, Some(1))
        }),
        case("cross-entropy 9 x 23", &[&[9, 23]], |x, _| {
            let targets = Tensor::new(&[0u32, 3, 1, 22, 7, 7, 2, 0, 5], x.device())?;
            let allowed: Vec<bool> = (0..23).map(|label| label != 9).collect();
            masked_cross_entropy(x, &targets, Some(&allowed))
        }),
    ];
    // Widths and lengths below, beside and above the 32 lanes of a warp.
    for (rows, width) in [(3, 5), (37, 96), (33, 768)] {
        let shapes: [&[usize]; 3] = [&[rows, width], &[width], &[width]];
        let norm = |x: &Tensor, v: &[Tensor]| layer_norm(x, &v[0], &v[1], 1e-5);
        cases.push(case(&format!("layer norm {rows} x {width}"), &shapes, norm));
    }
    for shape in [[1, 6, 5], [4, 7, 61], [1, 3, 200]] {
        cases.push(case(&format!("softmax {shape:?}"), &[&shape], |x, _| softmax(x)));
    }
    // Heads of 8, 16, 32 and 64, one of them on an odd number of positions.
    let attentions = [
        (5, 3, 24, 0.1),
        (33, 2, 32, 0.0),
        (20, 3, 96, 0.2),
        (32, 12, 768, 0.1),
        (80, 12, 768, 0.0),
        (128, 2, 128, 0.1),
    ];
    for (length, heads, width, p) in attentions {
        for order in [Order::After, Order::Before] {
            cases.push(attention(length, heads, width, order, p));
        }
    }
    for (activation, order) in [(Gelu::Erf, Order::After), (Gelu::Tanh, Order::After), (Gelu::Quick, Order::Before)] {
        cases.push(feed_forward(activation, order));
    }
    for (keys, order, p) in [(Some(50), Order::After, 0.1), (Some(50), Order::Before, 0.0), (None, Order::After, 0.1)] {
        cases.push(learned_keys(keys, order, p));
    }
    for (words, labels) in [(1, 1), (7, 9), (5, 70)] {
        cases.push(likelihood(words, labels));
        cases.push(best_paths(words, labels));
    }
    cases
}

/// The last two of `length` positions are padding.
fn padding(x: &Tensor, length: usize) -> Result<Tensor> {
    let row: Vec<f32> = (0..length).map(|n| if n + 2 < length { 0.0 } else { -1e9 }).collect();
    Tensor::new(row, x.device())?.broadcast_as((x.dim(0)?, 1, 1, length))?.contiguous()
}

/// A layer with these variables.
fn linear(weight: &Tensor, bias: &Tensor) -> Linear {
    Linear::new(weight.clone(), Some(bias.clone()))
}

fn residual(v: &[Tensor], order: Order) -> Residual {
    let norm = LayerNorm { weight: v[2].clone(), bias: v[3].clone(), eps: 1e-5 };
    Residual { output: linear(&v[0], &v[1]), norm, order }
}

fn attention(length: usize, heads: usize, width: usize, order: Order, p: f64) -> Case {
    let (square, line): (&[usize], &[usize]) = (&[width, width], &[width]);
    let shapes = [&[3, length, width], square, line, line, line, square, line, square, line, square, line];
    let name = format!("attention {order:?} 3 x {length} x {width}, {heads} heads, dropout {p}");
    case(&name, &shapes, move |x, v| {
        let parts = AttentionParts {
            query: linear(&v[4], &v[5]),
            keys: Keys::Own(linear(&v[6], &v[7])),
            value: linear(&v[8], &v[9]),
            heads,
            rows: x.dim(0)?,
            padding: Some(padding(x, length)?),
            mask: (p > 0.0).then(|| Mask::new(5, p)),
            logits: None,
        };
        fused(sublayer(x, parts, &residual(v, order), (p > 0.0).then(|| Mask::new(6, p)))?)
    })
    .with_cancelled(8)
    .of_attention(length, width / heads)
}

/// Attention with learned keys, one for all positions without `keys`; the result is the states and the logits.
fn learned_keys(keys: Option<usize>, order: Order, p: f64) -> Case {
    let (length, longest, heads, width) = (37, 45, 12, 768);
    let (square, line): (&[usize], &[usize]) = (&[width, width], &[width]);
    let key = keys.map_or_else(|| vec![heads, width / heads], |keys| vec![heads, keys, width / heads]);
    let learned: [&[usize]; 2] = [&key, &[heads, longest, longest]];
    let shapes = [&[3, length, width], square, line, line, line, square, line, square, line];
    case(&format!("learned keys {key:?} {order:?}, dropout {p}"), &[&shapes[..], &learned].concat(), move |x, v| {
        let side = Side::default();
        let parts = AttentionParts {
            query: linear(&v[4], &v[5]),
            keys: Keys::Shared(SharedKey { key: v[8].clone(), bias: v[9].clone(), bias_scale: 0.125 }),
            value: linear(&v[6], &v[7]),
            heads,
            rows: x.dim(0)?,
            padding: Some(padding(x, length)?),
            mask: (p > 0.0).then(|| Mask::new(5, p)),
            logits: Some(side.clone()),
        };
        let y = fused(sublayer(x, parts, &residual(v, order), (p > 0.0).then(|| Mask::new(6, p)))?)?;
        Tensor::cat(&[y.flatten_all()?, side.attach(&y)?.flatten_all()?], 0)
    })
}

fn feed_forward(activation: Gelu, order: Order) -> Case {
    let (width, wide) = (96, 384);
    let shapes: [&[usize]; 7] =
        [&[3, 20, width], &[width, wide], &[width], &[width], &[width], &[wide, width], &[wide]];
    case(&format!("feed-forward {activation:?} {order:?} 60 x {width} x {wide}"), &shapes, move |x, v| {
        let parts = FeedForwardParts { up: linear(&v[4], &v[5]), activation, extra: None };
        fused(sublayer(x, parts, &residual(v, order), Some(Mask::new(7, 0.1)))?)
    })
}

fn chain(v: &[Tensor]) -> Chain {
    Chain { start: v[0].clone(), end: v[1].clone(), transitions: v[2].clone() }
}

/// Rows of 0 to `words` words, of which some have a known tag.
fn likelihood(words: usize, labels: usize) -> Case {
    let shapes: [&[usize]; 4] = [&[words + 1, words, labels], &[labels], &[labels], &[labels, labels]];
    case(&format!("CRF {} x {words} x {labels}", words + 1), &shapes, move |x, v| {
        let tag = |word: usize| if word % 3 == 1 { UNKNOWN } else { (word * 5 % labels) as u32 };
        let tags: Vec<Vec<u32>> = (0..=words).map(|length| (0..length).map(tag).collect()).collect();
        let tags: Vec<&[u32]> = tags.iter().map(Vec::as_slice).collect();
        crf_nll(&x.to_dtype(DType::F32)?, &chain(v), &tags)
    })
}

/// Paths from whole scores, many of which are equal. Emissions are variables, so that bf16 does not round them.
fn best_paths(words: usize, labels: usize) -> Case {
    let shapes: [&[usize]; 5] = [&[1], &[labels], &[labels], &[labels, labels], &[words + 1, words, labels]];
    case(&format!("Viterbi {} x {words} x {labels}", words + 1), &shapes, move |x, v| {
        let lengths: Vec<usize> = (0..=words).collect();
        let whole: Vec<Tensor> = v.iter().map(|scores| (scores * 2.0)?.round()).collect::<Result<_>>()?;
        let paths = viterbi(&whole[3], &chain(&whole), &lengths)?;
        Tensor::new(paths.concat(), x.device())?.to_dtype(DType::F32)
    })
}

fn fused(y: Option<Tensor>) -> Result<Tensor> {
    y.ok_or_else(|| candle_core::Error::Msg("the layer was not fused".to_owned()))
}

/// Three variables, one of many chunks.
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

/// Variables of three groups after steps with clipping and decay.
fn steps(device: &Device) -> Result<Vec<Tensor>> {
    let vars = variables(device)?;
    let group = |(n, lr, weight_decay): (usize, f64, f64)| {
        let name = n.to_string();
        ParamGroup { name: name.clone(), vars: vec![(name, vars[n].clone())], lr, weight_decay }
    };
    let groups = [(0, 1e-2, 0.0), (1, 1e-3, 0.01), (2, 1e-2, 0.1)].map(group).into();
    let failed = |error: crate::Error| candle_core::Error::Msg(error.to_string());
    let mut optimiser = AdamW::new(groups, AdamWConfig::default()).map_err(failed)?;
    for step in 1..4 {
        optimiser.step(&gradients(&vars, f64::from(step))?, Some(1.0)).map_err(failed)?;
    }
    vars.iter().map(|var| var.as_tensor().copy()).collect()
}

/// Gradients with factors that the host knows, and noise.
fn noise(device: &Device) -> Result<Vec<Tensor>> {
    noisy(device, &Balance::Known(Coefficients { text: 0.5, vision: 1.5 }))
}

/// Gradients with factors that follow from sums on the device.
fn noise_by_sums(device: &Device) -> Result<Vec<Tensor>> {
    noisy(device, &Balance::OnDevice { sums: Tensor::new(&[2.0f32, 3.0], device)?, alpha: 0.3 })
}

fn noisy(device: &Device, balance: &Balance) -> Result<Vec<Tensor>> {
    let vars = variables(device)?;
    let mut grads = gradients(&vars, 1.0)?;
    let change = |(n, var): (usize, &Var)| Change {
        var: var.as_tensor().clone(),
        stream: if n == 1 { Stream::Vision } else { Stream::Text },
        // A key of more than 32 bits shows that both words of the kernel's generator are set.
        noise: (n > 0).then_some((n as u64) << (40 * (n - 1))),
    };
    modulate(&mut grads, &vars.iter().enumerate().map(change).collect::<Vec<_>>(), balance)?;
    Ok(vars.iter().filter_map(|var| grads.remove(var.as_tensor())).collect())
}
