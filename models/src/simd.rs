//! Instruction sets: those that the inner loops are compiled for, and those that this processor runs.
//!
//! No operation is contracted and no sum is reordered, so an inner loop gives the same bits with every instruction set.
//! Matrix products are gemm's, which chooses by itself and whose results differ in rounding between instruction sets.

/// Compiles a function for every processor and, on x86-64, again for AVX2 and for AVX-512. The first call chooses the
/// first of the targets that the processor supports. Used as `#[apply(vectorised)]`.
macro_rules! vectorised {
    ($($function:tt)*) => {
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl",
            "x86_64+avx2+fma"
        ))]
        $($function)*
    };
}

use macro_rules_attribute::apply;
use multiversion::target::selected_target;
pub(crate) use vectorised;

/// The instruction sets that [`vectorised`] compiles for.
enum Target {
    Avx512,
    Avx2,
    Baseline,
}

#[apply(vectorised)]
fn chosen() -> Target {
    let target = selected_target!();
    if target.supports_feature_str("avx512f") {
        Target::Avx512
    } else if target.supports_feature_str("avx2") {
        Target::Avx2
    } else {
        Target::Baseline
    }
}

/// Returns the instruction set of the inner loops: `avx512`, `avx2`, or the architecture's baseline (`sse2`, `neon`).
pub fn inner_loops() -> &'static str {
    match chosen() {
        Target::Avx512 => "avx512",
        Target::Avx2 => "avx2",
        Target::Baseline => baseline(),
    }
}

/// Returns the instruction set of matrix products: `avx512f`, `fma`, or the architecture's baseline, in the order in
/// which gemm 0.19 with its feature `x86-v4` tries them.
pub fn products() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512f";
        }
        if std::arch::is_x86_feature_detected!("fma") {
            return "fma";
        }
    }
    baseline()
}

/// Returns the instruction set that every processor of the architecture has.
fn baseline() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "sse2",
        "aarch64" => "neon",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A processor that has AVX-512 or AVX2 uses it, in loops and in products.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_best_instruction_set_is_used() {
        use std::arch::is_x86_feature_detected as has;

        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        let narrow = has!("avx2") && has!("fma");
        let expected = if wide {
            "avx512"
        } else if narrow {
            "avx2"
        } else {
            "sse2"
        };
        assert_eq!(inner_loops(), expected);
        assert_eq!(products() == "avx512f", has!("avx512f"));
    }
}
