//! The operations that [`super::check_kernels`] runs on both devices.

use candle_core::{DType, Device, Result, Tensor};

use crate::losses::masked_cross_entropy;
use crate::ops::{
    AttentionMemory, AttentionPart, AttentionWork, Chain, DropoutMask, FeedForwardPart, Gelu, Ids, Keys, LayerNorm,
    Linear, Order, Residual, SharedKey, SideResult, UNKNOWN, attention_memory, crf_nll, dropout, embedding, layer_norm,
    masked_softmax, softmax, sublayer, viterbi,
};

/// An operation on variables, of which the first has the number type that is checked.
type Operation = Box<dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor>>;

/// An operation with the shapes of its variables.
pub(super) struct KernelCase {
    pub name: String,
    pub shapes: Vec<Vec<usize>>,
    /// Number of the variable whose gradient is zero but for rounding.
    pub cancelled: Option<usize>,
    /// Sizes of a block's work, if the operation is attention, whose maps must fit into a block's shared memory.
    attention: Option<AttentionWork>,
    pub run: Operation,
}

impl KernelCase {
    /// Marks the bias of a key, which adds the same to all logits of a query, so that the softmax cancels it.
    fn with_cancelled(self, variable: usize) -> Self {
        Self { cancelled: Some(variable), ..self }
    }

    /// Marks an operation as attention.
    fn with_attention(self, work: AttentionWork) -> Self {
        Self { attention: Some(work), ..self }
    }

    /// Returns why a GPU cannot run the kernel, and composes the layer of smaller operations instead.
    pub fn too_large(&self, device: &Device, dtype: DType) -> Result<Option<String>> {
        let Some(work) = self.attention else { return Ok(None) };
        let AttentionMemory { needed, available } = attention_memory(device, work, dtype)?;
        let reason = || format!("a block needs {needed} bytes of shared memory, this GPU has {available}");
        Ok((needed > available).then(reason))
    }
}

/// Returns numbers in ±1 that are the same everywhere and look random: sums of evenly spread numbers cancel out, which
/// would hide errors.
pub(super) fn values(shape: &[usize], seed: usize) -> Result<Tensor> {
    let value = |i: usize| {
        // The finaliser of SplitMix64.
        let mut bits = ((seed as u64) << 32 | i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    };
    Tensor::from_vec((0..shape.iter().product()).map(value).collect(), shape, &Device::Cpu)
}

fn case(name: &str, shapes: &[&[usize]], run: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor> + 'static) -> KernelCase {
    let shapes = shapes.iter().map(|shape| shape.to_vec()).collect();
    KernelCase { name: name.to_owned(), shapes, cancelled: None, attention: None, run: Box::new(run) }
}

/// Returns an operation for every kernel, or several where shapes matter.
pub(super) fn cases() -> Vec<KernelCase> {
    let mut cases = vec![
        case("masked softmax 2 x 3 x 9 x 33", &[&[2, 3, 9, 33]], |x, _| masked_softmax(x, &padding(x, 33)?)),
        case("dropout 5000", &[&[5000]], |x, _| dropout(x, DropoutMask::new(17, 0.3))),
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
    // Widths and lengths are below, near and above the 32 lanes of a warp.
    for (rows, width) in [(3, 5), (37, 96), (33, 768)] {
        let shapes: [&[usize]; 3] = [&[rows, width], &[width], &[width]];
        let norm = |x: &Tensor, v: &[Tensor]| layer_norm(x, &v[0], &v[1], 1e-5);
        cases.push(case(&format!("layer norm {rows} x {width}"), &shapes, norm));
    }
    for shape in [[1, 6, 5], [4, 7, 61], [1, 3, 200]] {
        cases.push(case(&format!("softmax {shape:?}"), &[&shape], |x, _| softmax(x)));
    }
    // Heads have 8, 16, 32 and 64 values, and some rows an odd number of positions.
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
    for (length, before) in [(7, 3), (50, 80), (17, 175)] {
        cases.push(after_another_stream(length, before));
    }
    cases.push(revealing_attention());
    for (activation, order) in [(Gelu::Erf, Order::After), (Gelu::Tanh, Order::After), (Gelu::Quick, Order::Before)] {
        for extra in [false, true] {
            cases.push(feed_forward(activation, order, extra));
        }
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

/// Returns the padding of rows whose last two of `length` positions are padding.
fn padding(x: &Tensor, length: usize) -> Result<Tensor> {
    let row: Vec<f32> = (0..length).map(|n| if n + 2 < length { 0.0 } else { -1e9 }).collect();
    Tensor::new(row, x.device())?.broadcast_as((x.dim(0)?, 1, 1, length))?.contiguous()
}

/// Returns a linear layer with these variables.
fn linear(weight: &Tensor, bias: &Tensor) -> Linear {
    Linear::new(weight.clone(), Some(bias.clone()))
}

/// Returns output projection and norm with the first four variables.
fn residual(v: &[Tensor], order: Order) -> Residual {
    let norm = LayerNorm { weight: v[2].clone(), bias: v[3].clone(), eps: 1e-5 };
    Residual { output: linear(&v[0], &v[1]), norm, order }
}

fn attention(length: usize, heads: usize, width: usize, order: Order, p: f64) -> KernelCase {
    let shapes = attention_shapes(length, width);
    let name = format!("attention {order:?} 3 x {length} x {width}, {heads} heads, dropout {p}");
    case(&name, &slices(&shapes), move |x, v| {
        let part = projected(x, v, heads, (p > 0.0).then(|| DropoutMask::new(5, p)), padding(x, length)?)?;
        fused(sublayer(x, part, &residual(v, order), (p > 0.0).then(|| DropoutMask::new(6, p)))?)
    })
    .with_cancelled(8)
    .with_attention(AttentionWork { length, keys: length, size: width / heads })
}

/// Returns the shapes of three rows of states, of [`residual`] and of [`projected`].
fn attention_shapes(length: usize, width: usize) -> Vec<Vec<usize>> {
    let square = || vec![width, width];
    let line = || vec![width];
    let residual = [square(), line(), line(), line()];
    let projected = [square(), line(), square(), line(), square(), line()];
    [vec![3, length, width]].into_iter().chain(residual).chain(projected).collect()
}

fn slices(shapes: &[Vec<usize>]) -> Vec<&[usize]> {
    shapes.iter().map(Vec::as_slice).collect()
}

/// Returns attention with the variables after the first four.
fn projected(
    x: &Tensor,
    v: &[Tensor],
    heads: usize,
    mask: Option<DropoutMask>,
    padding: Tensor,
) -> Result<AttentionPart> {
    Ok(AttentionPart {
        query: linear(&v[4], &v[5]),
        keys: Keys::Projected(linear(&v[6], &v[7])),
        value: linear(&v[8], &v[9]),
        heads,
        rows: x.dim(0)?,
        prefix: None,
        padding: Some(padding),
        mask,
        logits: None,
        revealed: None,
    })
}

/// Returns attention over `before` positions of another stream and the layer's own.
fn after_another_stream(length: usize, before: usize) -> KernelCase {
    let heads = 3;
    let width = 96;
    let mut shapes = attention_shapes(length, width);
    shapes.push(vec![2, 3, before, width]);
    case(&format!("attention over {before} + {length} positions"), &slices(&shapes), move |x, v| {
        // The other stream has padding at its end.
        let own = Tensor::zeros((3, 1, 1, length), DType::F32, x.device())?;
        let all = Tensor::cat(&[padding(x, before)?, own], 3)?;
        let prefix = Some(v[10].to_dtype(x.dtype())?);
        let part = AttentionPart { prefix, ..projected(x, v, heads, Some(DropoutMask::new(5, 0.1)), all)? };
        fused(sublayer(x, part, &residual(v, Order::Before), Some(DropoutMask::new(6, 0.1)))?)
    })
    .with_attention(AttentionWork { length, keys: before + length, size: width / heads })
}

/// Returns attention whose result is the states and what another stream reads.
fn revealing_attention() -> KernelCase {
    case("attention that another stream reads", &slices(&attention_shapes(21, 96)), |x, v| {
        let side = SideResult::default();
        let own = projected(x, v, 3, Some(DropoutMask::new(5, 0.1)), padding(x, 21)?)?;
        let part = AttentionPart { revealed: Some(side.clone()), ..own };
        let y = fused(sublayer(x, part, &residual(v, Order::After), None)?)?;
        Tensor::cat(&[y.flatten_all()?, side.attach(&y)?.flatten_all()?], 0)
    })
}

/// Returns attention with learned keys, one for all positions without `keys`; its result is the states and the logits.
fn learned_keys(keys: Option<usize>, order: Order, p: f64) -> KernelCase {
    let length = 37;
    let longest = 45;
    let heads = 12;
    let width = 768;
    let square: &[usize] = &[width, width];
    let line: &[usize] = &[width];
    let key = keys.map_or_else(|| vec![heads, width / heads], |keys| vec![heads, keys, width / heads]);
    let learned: [&[usize]; 2] = [&key, &[heads, longest, longest]];
    let shapes = [&[3, length, width], square, line, line, line, square, line, square, line];
    case(&format!("learned keys {key:?} {order:?}, dropout {p}"), &[&shapes[..], &learned].concat(), move |x, v| {
        let side = SideResult::default();
        let part = AttentionPart {
            query: linear(&v[4], &v[5]),
            keys: Keys::Shared(SharedKey { key: v[8].clone(), bias: v[9].clone(), bias_scale: 0.125 }),
            value: linear(&v[6], &v[7]),
            heads,
            rows: x.dim(0)?,
            prefix: None,
            padding: Some(padding(x, length)?),
            mask: (p > 0.0).then(|| DropoutMask::new(5, p)),
            logits: Some(side.clone()),
            revealed: None,
        };
        let y = fused(sublayer(x, part, &residual(v, order), (p > 0.0).then(|| DropoutMask::new(6, p)))?)?;
        Tensor::cat(&[y.flatten_all()?, side.attach(&y)?.flatten_all()?], 0)
    })
}

fn feed_forward(activation: Gelu, order: Order, extra: bool) -> KernelCase {
    let width = 96;
    let wide = 384;
    let shapes: [&[usize]; 8] =
        [&[3, 20, width], &[width, wide], &[width], &[width], &[width], &[wide, width], &[wide], &[3, 20, wide]];
    let shapes = if extra { &shapes[..] } else { &shapes[..7] };
    let input = if extra { ", a second input" } else { "" };
    case(&format!("feed-forward {activation:?} {order:?} 60 x {width} x {wide}{input}"), shapes, move |x, v| {
        let extra = v.get(6).map(|extra| extra.to_dtype(x.dtype())).transpose()?;
        let part = FeedForwardPart { up: linear(&v[4], &v[5]), activation, extra };
        fused(sublayer(x, part, &residual(v, order), Some(DropoutMask::new(7, 0.1)))?)
    })
}

fn chain(v: &[Tensor]) -> Chain {
    Chain { start: v[0].clone(), end: v[1].clone(), transitions: v[2].clone() }
}

/// Returns the likelihood of rows of 0 to `words` words, of which some have a known tag.
fn likelihood(words: usize, labels: usize) -> KernelCase {
    let shapes: [&[usize]; 4] = [&[words + 1, words, labels], &[labels], &[labels], &[labels, labels]];
    case(&format!("CRF {} x {words} x {labels}", words + 1), &shapes, move |x, v| {
        let tag = |word: usize| if word % 3 == 1 { UNKNOWN } else { (word * 5 % labels) as u32 };
        let tags: Vec<Vec<u32>> = (0..=words).map(|length| (0..length).map(tag).collect()).collect();
        let tags: Vec<&[u32]> = tags.iter().map(Vec::as_slice).collect();
        crf_nll(&x.to_dtype(DType::F32)?, &chain(v), &tags)
    })
}

/// Returns the best paths for whole scores, many of which are equal. Emissions are variables, so that bf16 does not
/// round them.
fn best_paths(words: usize, labels: usize) -> KernelCase {
    let shapes: [&[usize]; 5] = [&[1], &[labels], &[labels], &[labels, labels], &[words + 1, words, labels]];
    case(&format!("Viterbi {} x {words} x {labels}", words + 1), &shapes, move |x, v| {
        let lengths: Vec<usize> = (0..=words).collect();
        let whole: Vec<Tensor> = v.iter().map(|scores| (scores * 2.0)?.round()).collect::<Result<_>>()?;
        let paths = viterbi(&whole[3], &chain(&whole), &lengths)?;
        Tensor::new(paths.concat(), x.device())?.to_dtype(DType::F32)
    })
}

/// Fails if a layer was composed, in which case no kernel was checked.
fn fused(y: Option<Tensor>) -> Result<Tensor> {
    y.ok_or_else(|| candle_core::Error::Msg("the layer was not fused".to_owned()))
}
