//! The kernels of a GPU beside their twins on the CPU. Without a GPU, `tools/simulated-gpu/check` runs this test on a
//! simulated one.

#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "SKIPPED: needs a GPU and `--features cuda`")]
fn kernels_agree_with_their_twins() {
    #[cfg(feature = "cuda")]
    {
        let device = mkgc_models::ops::open_gpu(0, candle_core::DType::F32).expect("a GPU and its driver");
        let checks = mkgc_models::ops::check_kernels(&device).unwrap();
        for check in &checks {
            println!("{} {}: {:.1e} of {:.1e}", check.name, check.dtype, check.error, check.limit);
        }
        assert!(checks.iter().all(mkgc_models::ops::KernelCheck::passed));
    }
}
