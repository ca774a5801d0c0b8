//! The kernels of a GPU beside their twins on the CPU. Without a GPU, `tools/kernels/check.py` runs the kernels' own code
//! on the CPU and compares it with PyTorch.

#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "SKIPPED: needs a GPU and `--features cuda`")]
fn kernels_agree_with_their_twins() {
    #[cfg(feature = "cuda")]
    {
        let device = candle_core::Device::new_cuda(0).expect("a GPU and its driver");
        let checks = mkgc_models::ops::check_kernels(&device).unwrap();
        for check in &checks {
            println!("{} {}: {:.1e} of {:.1e}", check.name, check.dtype, check.error, check.limit);
        }
        assert!(checks.iter().all(mkgc_models::ops::KernelCheck::passed));
    }
}
