//! Compares the kernels of a GPU with their counterparts on the CPU. Without a GPU, `tools/simulated-gpu/check` makes
//! the same comparison on a simulated one.

#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "SKIPPED: needs a GPU and `--features cuda`")]
fn kernels_agree_with_their_twins() {
    #[cfg(feature = "cuda")]
    {
        let device = mkgc_models::ops::open_gpu(0, candle_core::DType::F32).expect("a GPU and its driver");
        let checks = mkgc_models::kernel_check::check_kernels(&device).unwrap();
        for check in &checks {
            println!("{} {}: {:.1e} of {:.1e}", check.name, check.dtype, check.error, check.limit);
        }
        assert!(checks.iter().all(mkgc_models::kernel_check::KernelCheck::passed));
    }
}

/// One target is missing, which only the check before a launch can detect.
#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "SKIPPED: needs a GPU and `--features cuda`")]
fn a_tensor_that_a_kernel_does_not_take_is_named() {
    #[cfg(feature = "cuda")]
    {
        use candle_core::{DType, Tensor};
        let device = mkgc_models::ops::open_gpu(0, DType::F32).expect("a GPU and its driver");
        let logits = Tensor::zeros((3, 5), DType::F32, &device).unwrap();
        let targets = Tensor::zeros(2, DType::U32, &device).unwrap();
        let error = mkgc_models::losses::masked_cross_entropy(&logits, &targets, None).unwrap_err().to_string();
        let expected = "argument 3 of the kernel cross_entropy takes 3 values of U32 but got 2 of U32";
        assert!(error.contains(expected), "{error}");
    }
}
