//! Scalar functions that compilers vectorise, because they have no branches, calls or tables. Tests below bound their
//! errors against f64.

use std::f32::consts::LOG2_E;

use macro_rules_attribute::apply;

use crate::simd::vectorised;

/// Adding this number rounds to an integer and leaves its bits in the lowest bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, `high - low`. The first has few bits, so that its products are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = 2.121_944_4e-4;

/// Returns eˣ to 2e-7: exactly 0 below -87, near which f32 becomes denormal, and e⁸⁸ above 88.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let low = x < -87.0;
    let high = x > 88.0;
    // These are comparisons instead of min and max because NaN must stay NaN.
    let bounded = if low { -87.0 } else { x };
    let bounded = if high { 88.0 } else { bounded };
    let shifted = bounded * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = bounded - whole * LN_2_HIGH + whole * LN_2_LOW;
    // The polynomial of Cephes' `expf`.
    let p = 1.987_569_1e-4;
    let p = p * rest + 1.398_2e-3;
    let p = p * rest + 8.333_452e-3;
    let p = p * rest + 4.166_579_6e-2;
    let p = p * rest + 1.666_666_5e-1;
    let p = p * rest + 0.5;
    let p = p * rest * rest + rest + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if low { 0.0 } else { p * power }
}

/// Returns σ(x) = 1 / (1 + e⁻ˣ), and 1 - σ(x) without cancellation.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> (f32, f32) {
    let e = exp(-x);
    let s = 1.0 / (1.0 + e);
    (s, e * s)
}

/// Returns the distribution Φ(x) and the density φ(x) of the standard normal: Φ(-a) = e^(-a²/2) t Q(t) for a ≥ 0 with
/// t = 1 / (1 + 0.28 a), where Q is the polynomial of degree 8 with the smallest relative error on [0, 14] (5e-8).
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    let a = x.abs();
    let bell = exp(-0.5 * a * a);
    let t = 1.0 / (1.0 + 0.28 * a);
    let q = Q.iter().rev().fold(0.0, |q, c| q * t + c);
    let tail = bell * (t * q);
    (if x < 0.0 { tail } else { 1.0 - tail }, bell * 0.398_942_3)
}

/// Coefficients of the polynomial in [`normal`], lowest first.
const Q: [f32; 9] = [
    0.111_687_28,
    0.111_994_51,
    0.100_932_79,
    0.092_068_67,
    0.053_283_35,
    0.020_811_5,
    0.069_805_55,
    -0.083_377_44,
    0.022_793_81,
];

/// Returns ln x of a normal x > 0 by Cephes' `logf`, to 2e-7 relative, or 1e-7 absolute near 1. NaN stays NaN.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // x = m 2ᵉ with m in [√½, √2).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let p = 7.037_683_6e-2;
    let p = p * m - 1.151_461e-1;
    let p = p * m + 1.167_699_9e-1;
    let p = p * m - 1.242_014_1e-1;
    let p = p * m + 1.424_932_3e-1;
    let p = p * m - 1.666_805_7e-1;
    let p = p * m + 2.000_071_5e-1;
    let p = p * m - 2.499_999_4e-1;
    let p = p * m + 0.333_333_3;
    let square = m * m;
    let y = m + (p * m * square - 0.5 * square - exponent * LN_2_LOW) + exponent * LN_2_HIGH;
    if x.is_nan() { x } else { y }
}

/// Returns sin 2πu and cos 2πu of u in [0, 1), to 1e-7 absolute, by Cephes' polynomials on an eighth of a turn either
/// side.
#[inline(always)]
pub(super) fn turn(u: f32) -> (f32, f32) {
    let shifted = 4.0 * u + ROUND;
    let quarter = shifted.to_bits();
    let x = (u - 0.25 * (shifted - ROUND)) * std::f32::consts::TAU;
    let z = x * x;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * x + x;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let (a, b) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let signed = |quarter: u32, x: f32| f32::from_bits(x.to_bits() ^ (quarter & 2) << 30);
    (signed(quarter, a), signed(quarter + 1, b))
}

/// Number of independent sums, so that one instruction adds to many of them.
const LANES: usize = 16;

/// Returns Σ f(a, b, c), summed in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum3(a: &[f32], b: &[f32], c: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let a = a.chunks_exact(LANES);
    let b = b.chunks_exact(LANES);
    let c = c.chunks_exact(LANES);
    let rest = a.remainder().iter().zip(b.remainder()).zip(c.remainder());
    let rest: f32 = rest.map(|((a, b), c)| f(*a, *b, *c)).sum();
    for ((a, b), c) in a.zip(b).zip(c) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane], c[lane]);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Returns Σ f(a, b), summed as [`sum3`] does.
#[inline(always)]
pub(super) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    sum3(a, b, b, |a, b, _| f(a, b))
}

/// Returns Σ f(x), summed as [`sum3`] does.
#[inline(always)]
pub(super) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    sum3(x, x, x, |x, _, _| f(x))
}

/// Returns Σ f(x) in f64, in an order that depends on the length alone.
#[inline(always)]
fn wide_sum(x: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|x| f(f64::from(*x))).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f(f64::from(*x)));
    }
    lanes.iter().sum::<f64>() + rest
}

/// Returns Σ (x - mean)² in f64.
#[apply(vectorised)]
pub(crate) fn squares(x: &[f32], mean: f64) -> f64 {
    wide_sum(x, |x| (x - mean) * (x - mean))
}

/// Returns Σ x in f64.
#[apply(vectorised)]
pub(crate) fn total(x: &[f32]) -> f64 {
    wide_sum(x, |x| x)
}

/// Returns the largest value. Whether a NaN is passed over depends on its position.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |best, x| larger(best, *x));
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the largest relative error over a grid.
    fn worst(range: std::ops::Range<i32>, step: f64, ours: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let error = |i: i32| {
            let x = (f64::from(i) * step) as f32;
            let exact = exact(f64::from(x));
            (f64::from(ours(x)) - exact).abs() / exact.abs().max(1e-30)
        };
        range.map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_close_and_keeps_its_ends() {
        let error = worst(-86_000..88_000, 1e-3, exp, f64::exp);
        assert!(error < 2e-7, "{error:e}");
        assert_eq!((exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(1e9).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_close() {
        let error = worst(-80_000..80_000, 1e-3, |x| sigmoid(x).0, |x| 1.0 / (1.0 + (-x).exp()));
        assert!(error < 3e-7, "{error:e}");
        let error = worst(-80_000..80_000, 1e-3, |x| sigmoid(x).1, |x| 1.0 / (1.0 + x.exp()));
        assert!(error < 4e-7, "{error:e}");
    }

    #[test]
    fn logarithms_and_turns_are_close() {
        for i in 1..=16_777_216u32 / 7 {
            let x = (i * 7) as f32 / 16_777_216.0;
            let exact = f64::from(x).ln();
            let ours = f64::from(ln(x));
            assert!((ours - exact).abs() <= 2e-7 * exact.abs().max(0.5), "ln {x}: {ours} {exact}");
        }
        for i in 0..100_000 {
            let u = i as f32 / 100_000.0;
            let (sin, cos) = turn(u);
            let angle = f64::from(u) * std::f64::consts::TAU;
            let error = (f64::from(sin) - angle.sin()).abs().max((f64::from(cos) - angle.cos()).abs());
            assert!(error < 3e-7, "{u}: {error:e}");
        }
    }

    #[test]
    fn sums_and_maxima_cover_every_value() {
        for n in [1, 7, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32).collect();
            assert_eq!(sum(&x, |x| x), x.iter().sum::<f32>());
            assert_eq!(sum2(&x, &x, |a, b| a * b), x.iter().map(|x| x * x).sum::<f32>());
            assert_eq!(max(&x), x.iter().copied().fold(0.0, f32::max));
        }
    }
}
