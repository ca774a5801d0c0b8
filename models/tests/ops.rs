//! The fused operations equal the compositions of candle's differentiable operations, in values and in gradients, and
//! formulas in f64, on shapes that no vector width divides, on views, and on extreme values.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::Module;
use mkgc_models::ops;

const TOLERANCE: f64 = 1e-5;

/// Returns reproducible values in ±3.
fn values(shape: &[usize], seed: usize) -> Tensor {
    let n = shape.iter().product::<usize>();
    let value = |i: usize| ((i * 7919 + seed * 104_729 + i * i % 613) % 6007) as f32 / 1001.0 - 3.0;
    Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// Returns ‖a − b‖ / ‖b‖ in f64, with a lower bound on ‖b‖, so that a zero `b` demands a zero `a`.
fn error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    let a = a.to_dtype(DType::F64).unwrap();
    let b = b.to_dtype(DType::F64).unwrap();
    norm(&(a - &b).unwrap()) / norm(&b).max(1e-6)
}

/// Returns the output of `f` and the gradients of Σ output · weights with respect to each input.
fn gradients(f: &Op<'_>, inputs: &[Tensor]) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    // The operation gets views of variables where the caller passes views.
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let output = f(&tensors).unwrap();
    let weights = values(output.dims(), 99).to_dtype(output.dtype()).unwrap();
    let grads = ops::backward(&(&output * weights).unwrap().sum_all().unwrap()).unwrap();
    let gradient = |x: &Tensor| grads.get(x).expect("a gradient").clone();
    std::iter::once(output).chain(tensors.iter().map(gradient)).collect()
}

fn in_f64(inputs: &[Tensor]) -> Vec<Tensor> {
    inputs.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect()
}

type Op<'a> = dyn Fn(&[Tensor]) -> Result<Tensor> + 'a;

/// Compares the fused operation with a composition in f32, and both with the composition in f64. In f64 `ours` runs its
/// fallback, which is tested thereby.
fn agree(what: &str, ours: &Op<'_>, composed: &Op<'_>, inputs: &[Tensor]) {
    let fused = gradients(ours, inputs);
    let expected = gradients(composed, inputs);
    let exact = gradients(composed, &in_f64(inputs));
    let fallback = gradients(ours, &in_f64(inputs));
    let worst = |a: &[Tensor], b: &[Tensor]| a.iter().zip(b).map(|(a, b)| error(a, b)).fold(0.0, f64::max);
    let errors = [worst(&fused, &expected), worst(&fused, &exact), worst(&fallback, &exact)];
    println!("{what} {:?}: {:.1e} from f32, {:.1e} from f64", inputs[0].dims(), errors[0], errors[1]);
    assert!(errors.iter().all(|error| *error <= TOLERANCE), "{what} {:?}: {errors:?}", inputs[0].dims());
}

fn composed_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

#[test]
fn layer_norm() {
    for shape in [&[1, 1, 5][..], &[7, 13], &[3, 5, 384], &[512, 33], &[2, 17, 20_000]] {
        let size = shape[shape.len() - 1];
        let inputs = [values(shape, 1), values(&[size], 2), values(&[size], 3)];
        let ours = |x: &[Tensor]| ops::layer_norm(&x[0], &x[1], &x[2], 1e-5);
        agree("layer norm", &ours, &|x| composed_norm(&x[0], &x[1], &x[2], 1e-5), &inputs);
        let view = |x: &[Tensor]| ops::layer_norm(&x[0].transpose(0, 1)?, &x[1], &x[2], 1e-5);
        if shape.len() == 3 {
            agree("view", &view, &|x| composed_norm(&x[0].transpose(0, 1)?, &x[1], &x[2], 1e-5), &inputs);
        }
    }
    // A row of equal values has no deviation, so only the bias remains, and gradients stay finite.
    let inputs = [Tensor::full(4f32, (2, 9), &Device::Cpu).unwrap(), values(&[9], 2), values(&[9], 3)];
    let got = gradients(&|x| ops::layer_norm(&x[0], &x[1], &x[2], 1e-12), &inputs);
    assert!(error(&got[0], &inputs[2].broadcast_as((2, 9)).unwrap()) < 1e-6);
    assert!(got[1].abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap().is_finite());
    assert!(ops::layer_norm(&values(&[2, 3], 1), &values(&[4], 1), &values(&[4], 1), 1e-5).is_err());
}

#[test]
fn softmax() {
    let composed = |x: &[Tensor]| candle_nn::ops::softmax(&x[0], D::Minus1);
    for shape in [&[1, 1][..], &[3, 7], &[2, 12, 31, 31], &[600, 128], &[2, 3000]] {
        agree("softmax", &|x| ops::softmax(&x[0]), &composed, &[values(shape, 1)]);
    }
    let view = [values(&[6, 37, 19], 1)];
    agree(
        "softmax of a view",
        &|x| ops::softmax(&x[0].transpose(1, 2)?),
        &|x| candle_nn::ops::softmax(&x[0].transpose(1, 2)?, D::Minus1),
        &view,
    );
    agree("softmax of large values", &|x| ops::softmax(&x[0]), &composed, &[(values(&[5, 33], 4) * 5.0).unwrap()]);
    let equal = ops::softmax(&Tensor::full(-1e9f32, (2, 3), &Device::Cpu).unwrap()).unwrap();
    assert_eq!(equal.to_vec2::<f32>().unwrap(), [[1.0 / 3.0; 3]; 2]);
    let far = Tensor::new(&[[1000f32, -1e9, 999.0], [f32::NEG_INFINITY, 0.0, -1e9]], &Device::Cpu).unwrap();
    let far = ops::softmax(&far).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!((far[0][1], far[1][0], far[1][1], far[1][2]), (0.0, 0.0, 1.0, 0.0));
    let broken = ops::softmax(&Tensor::new(&[[0f32, f32::NAN]], &Device::Cpu).unwrap()).unwrap();
    assert!(broken.to_vec2::<f32>().unwrap()[0].iter().all(|value| value.is_nan()), "NaN must show");
}

#[test]
fn masked_softmax() {
    let bias =
        Tensor::new(&[[0f32, 0.0, 0.0, -1e9, -1e9], [0.0, 0.0, 0.0, 0.0, 0.0], [-1e9; 5]], &Device::Cpu).unwrap();
    let bias = bias.reshape((3, 1, 1, 5)).unwrap();
    let ours = |x: &[Tensor]| ops::masked_softmax(&x[0], &bias.to_dtype(x[0].dtype())?);
    let composed =
        |x: &[Tensor]| candle_nn::ops::softmax(&x[0].broadcast_add(&bias.to_dtype(x[0].dtype())?)?, D::Minus1);
    // The row that is all padding is compared in f32 alone, where scores vanish beside 1e9, which they do not in f64.
    let scores = [values(&[3, 2, 4, 5], 1)];
    let got = gradients(&ours, &scores);
    let expected = gradients(&composed, &scores);
    assert!(got.iter().zip(&expected).all(|(a, b)| error(a, b) <= TOLERANCE));
    let padding = got[0].narrow(0, 0, 1).unwrap().narrow(3, 3, 2).unwrap();
    assert_eq!(padding.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    let bias = bias.narrow(0, 0, 2).unwrap();
    let ours = |x: &[Tensor]| ops::masked_softmax(&x[0], &bias.to_dtype(x[0].dtype())?);
    let composed =
        |x: &[Tensor]| candle_nn::ops::softmax(&x[0].broadcast_add(&bias.to_dtype(x[0].dtype())?)?, D::Minus1);
    agree("masked softmax", &ours, &composed, &[values(&[2, 3, 700, 5], 1)]);
}

#[test]
fn gelus() {
    let wide = (values(&[3, 5, 1237], 1) * 2.5).unwrap();
    let zero = Tensor::zeros((3, 3), DType::F32, &Device::Cpu).unwrap();
    for x in [values(&[1], 1), values(&[2, 7], 2), wide, zero] {
        let x = [x];
        agree("gelu erf", &|x| ops::gelu_erf(&x[0]), &|x| x[0].gelu_erf(), &x);
        agree("gelu tanh", &|x| ops::gelu_tanh(&x[0]), &|x| x[0].gelu(), &x);
        let quick = |x: &[Tensor]| &x[0] / ((&x[0] * -1.702)?.exp()? + 1.0)?;
        agree("quick gelu", &|x| ops::quick_gelu(&x[0]), &quick, &x);
    }
    let view = |x: &[Tensor]| ops::gelu_erf(&x[0].t()?);
    agree("gelu of a view", &view, &|x| x[0].t()?.gelu_erf(), &[values(&[33, 65], 1)]);
}

/// Bounds the errors of values (relative to the larger of 1 and the value) and of slopes over a fine grid, against
/// candle's functions in f64 and their central differences.
#[test]
fn gelus_are_close_to_their_formulas_everywhere() {
    type Function = fn(&Tensor) -> Result<Tensor>;
    let grid: Vec<f32> = (-80_000..80_000).map(|i| i as f32 * 2.5e-4).collect();
    let x = Tensor::new(grid, &Device::Cpu).unwrap();
    let wide = x.to_dtype(DType::F64).unwrap();
    let quick: Function = |x| x / ((x * -1.702)?.exp()? + 1.0)?;
    let cases: [(Function, Function); 3] =
        [(ops::gelu_erf, Tensor::gelu_erf), (ops::gelu_tanh, Tensor::gelu), (ops::quick_gelu, quick)];
    let largest = |x: Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    for (op, exact) in cases {
        let var = Var::from_tensor(&x).unwrap();
        let y = op(var.as_tensor()).unwrap();
        let grads = ops::backward(&y.sum_all().unwrap()).unwrap();
        let at = |step: f64| exact(&(&wide + step).unwrap()).unwrap();
        let f64_of = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let size = at(0.0).abs().unwrap().maximum(1.0).unwrap();
        let value = largest(((f64_of(&y) - at(0.0)).unwrap() / size).unwrap());
        let slope = ((at(1e-5) - at(-1e-5)).unwrap() / 2e-5).unwrap();
        let slope = largest((f64_of(grads.get(var.as_tensor()).unwrap()) - slope).unwrap());
        println!("values {value:.1e}, slopes {slope:.1e}");
        assert!(value < 2e-7 && slope < 6e-7, "{value:e} {slope:e}");
    }
}

#[test]
fn linear() {
    for (shape, outputs) in [(&[1, 3][..], 2), (&[7, 13], 5), (&[2, 9, 48], 31), (&[2, 3, 5, 16], 8), (&[515, 64], 129)]
    {
        let inputs = shape[shape.len() - 1];
        let all = [values(shape, 1), values(&[outputs, inputs], 2), values(&[outputs], 3)];
        let composed = |x: &[Tensor], bias| candle_nn::Linear::new(x[1].clone(), bias).forward(&x[0]);
        agree("linear", &|x| ops::linear(&x[0], &x[1], Some(&x[2])), &|x| composed(x, Some(x[2].clone())), &all);
        agree("without bias", &|x| ops::linear(&x[0], &x[1], None), &|x| composed(x, None), &all[..2]);
    }
    let all = [values(&[13, 6, 7], 1), values(&[5, 13], 2), values(&[5], 3)];
    let flip = |x: &Tensor| x.transpose(0, 2);
    agree(
        "linear of a view",
        &|x| ops::linear(&flip(&x[0])?, &x[1], Some(&x[2])),
        &|x| candle_nn::Linear::new(x[1].clone(), Some(x[2].clone())).forward(&flip(&x[0])?.contiguous()?),
        &all,
    );
    assert!(ops::linear(&values(&[2, 3], 1), &values(&[5, 4], 1), None).is_err());
    assert!(ops::linear(&values(&[2, 4], 1), &values(&[5, 4], 1), Some(&values(&[4], 1))).is_err());
}

/// A constant input gets no gradient, but the weights do.
#[test]
fn linear_of_a_constant() {
    let x = values(&[4, 6], 1);
    let weight = Var::from_tensor(&values(&[3, 6], 2)).unwrap();
    let grads = ops::backward(&ops::linear(&x, weight.as_tensor(), None).unwrap().sum_all().unwrap()).unwrap();
    let expected = x.sum(0).unwrap().broadcast_as((3, 6)).unwrap();
    assert!(error(grads.get(weight.as_tensor()).unwrap(), &expected) < 1e-6);
    assert!(grads.get(&x).is_none());
}

#[test]
fn heads() {
    let split = |x: &Tensor| x.reshape((3, 7, 4, 5))?.transpose(1, 2)?.contiguous();
    agree("split", &|x| ops::split_heads(&x[0], 4, 0.3), &|x| split(&x[0])? * 0.3, &[values(&[3, 7, 20], 1)]);
    let merge = |x: &Tensor| x.transpose(1, 2)?.contiguous()?.reshape((3, 7, 20));
    agree("merge", &|x| ops::merge_heads(&x[0]), &|x| merge(&x[0]), &[values(&[3, 4, 7, 5], 1)]);
    let pair = [values(&[2, 3, 7, 5], 1), values(&[2, 3, 9, 5], 2)];
    let product = |x: &[Tensor]| x[0].matmul(&x[1].transpose(2, 3)?.contiguous()?);
    agree("matmul transposed", &|x| ops::matmul_transposed(&x[0], &x[1]), &product, &pair);
    assert!(ops::split_heads(&values(&[1, 2, 7], 1), 2, 1.0).is_err());
}

/// One thread and several give the same bits, run after run.
#[test]
fn threads_change_nothing() {
    let bits = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let inputs = [values(&[700, 96], 1), values(&[96], 2), values(&[96], 3)];
            let norm = gradients(&|x| ops::layer_norm(&x[0], &x[1], &x[2], 1e-5), &inputs);
            let soft = gradients(&|x| ops::softmax(&x[0]), &inputs[..1]);
            let gelu = gradients(&|x| ops::gelu_erf(&x[0]), &inputs[..1]);
            let inputs = crf_inputs(7, 20, 9, 0.0);
            let tags: Vec<Vec<u32>> = (0..7).map(|row| vec![row; 20]).collect();
            let crf = gradients(&|x| crf_nll(x, &tags), &inputs);
            let all = [norm, soft, gelu, crf].concat();
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all.iter().flat_map(flat).map(f32::to_bits).collect::<Vec<u32>>()
        })
    };
    let one = bits(1);
    assert!([1, 2, 3, 8].into_iter().all(|threads| bits(threads) == one));
}

#[test]
fn embeddings() {
    let ids = ops::Ids::new(vec![3, 0, 3, 8, 3, 0], (2, 3), &Device::Cpu).unwrap();
    let rows = |table: &Tensor| table.index_select(&ids.tensor().flatten_all()?, 0)?.reshape((2, 3, table.dim(1)?));
    let table = [values(&[9, 13], 1)];
    agree("embedding", &|x| ops::embedding(&x[0], &ids, None), &|x| rows(&x[0]), &table);
    // The row of the padding piece is in the output but gets no gradient, although its positions have one.
    let frozen = Tensor::arange(0u32, 9, &Device::Cpu).unwrap().eq(3u32).unwrap().unsqueeze(1).unwrap();
    let padded = |x: &[Tensor]| rows(&frozen.broadcast_as(x[0].shape())?.where_cond(&x[0].detach(), &x[0])?);
    agree("padded embedding", &|x| ops::embedding(&x[0], &ids, Some(3)), &padded, &table);
    let grads = gradients(&|x| ops::embedding(&x[0], &ids, Some(3)), &table);
    let row = |n: usize| grads[1].get(n).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(row(3) == 0.0 && row(0) > 0.0 && row(8) > 0.0);
}

/// Returns emissions, to every third tag of which `forbidden` is added, and scores of starting, of ending and of
/// moving.
fn crf_inputs(rows: usize, words: usize, labels: usize, forbidden: f64) -> [Tensor; 4] {
    let bias: Vec<f32> = (0..labels).map(|label| if label % 3 == 1 { forbidden as f32 } else { 0.0 }).collect();
    let bias = Tensor::new(bias, &Device::Cpu).unwrap();
    let emissions = values(&[rows, words, labels], 1).broadcast_add(&bias).unwrap();
    [emissions, values(&[labels], 2), values(&[labels], 3), values(&[labels, labels], 4)]
}

fn crf_nll(x: &[Tensor], tags: &[Vec<u32>]) -> Result<Tensor> {
    let chain = ops::Chain { start: x[1].clone(), end: x[2].clone(), transitions: x[3].clone() };
    let tags: Vec<&[u32]> = tags.iter().map(Vec::as_slice).collect();
    // Rows of one word read no transitions. This term, which is zero, gives the transitions a gradient all the same.
    let zero = (x[3].sum_all()? - x[3].sum_all()?)?;
    ops::crf_nll(&x[0], &chain, &tags)?.broadcast_add(&zero)
}

/// Covers known and unknown tags, rows of every length, a single tag and many.
#[test]
fn conditional_random_field() {
    let known = |_: usize, tag: usize| tag as u32;
    let half = |word: usize, tag: usize| if word.is_multiple_of(2) { tag as u32 } else { ops::UNKNOWN };
    type Tag = fn(usize, usize) -> u32;
    for (words, labels) in [(1, 1), (1, 5), (6, 1), (3, 2), (7, 9), (40, 5), (4, 70)] {
        for (tag, forbidden) in [(known as Tag, 0.0), (half, 0.0), (known, -1e4), (half, -1e4)] {
            let allowed = |tag: usize| tag - usize::from(tag % 3 == 1);
            let choice = |word: usize, length: usize| allowed((word * 7 + length) * 3 % labels);
            let row = |length: usize| (0..length).map(|word| tag(word, choice(word, length))).collect();
            let tags: Vec<Vec<u32>> = (0..=words).map(row).collect();
            let inputs = crf_inputs(words + 1, words, labels, if labels > 2 { forbidden } else { 0.0 });
            let ours = |x: &[Tensor]| crf_nll(x, &tags);
            agree("CRF", &ours, &|x| ops::composed(|| crf_nll(x, &tags)), &inputs);
        }
    }
    let view = |x: &[Tensor]| [x[0].transpose(0, 1).unwrap(), x[1].clone(), x[2].clone(), x[3].t().unwrap()];
    let inputs = crf_inputs(5, 3, 4, 0.0);
    let tags = vec![vec![1, 2, 0, 3, 3], vec![2, 2], vec![0, 1, 3]];
    let composed = |x: &[Tensor]| ops::composed(|| crf_nll(&view(x), &tags));
    agree("CRF of a view", &|x| crf_nll(&view(x), &tags), &composed, &inputs);
    let mut broken = crf_inputs(1, 3, 4, 0.0);
    broken[0] = Tensor::new(&[[[0f32, 1.0, f32::NAN, 0.0], [0.0; 4], [0.0; 4]]], &Device::Cpu).unwrap();
    assert!(crf_nll(&broken, &[vec![1, 0, 0]]).unwrap().to_vec1::<f32>().unwrap()[0].is_nan(), "NaN must show");
}
