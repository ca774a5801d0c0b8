//! Compiles the CUDA kernels to PTX if the feature `cuda` is on. The driver compiles the PTX for any GPU of that
//! compute capability or a later one. candle's own kernels are compiled for the same `CUDA_COMPUTE_CAP`, and from 90 on
//! they run on that architecture alone. So 80, which every GPU from the A100 on can run, is the best value to build
//! for.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "CUDA_HOME", "CUDA_COMPUTE_CAP"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let compiler =
        std::env::var("NVCC").ok().or_else(|| Some(format!("{}/bin/nvcc", std::env::var("CUDA_HOME").ok()?)));
    let compiler = compiler.unwrap_or_else(|| "nvcc".to_owned());
    let capability = std::env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".to_owned());
    println!("cargo:rustc-env=MKGC_CUDA_COMPUTE_CAP={capability}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("kernels.ptx");
    let status = Command::new(&compiler)
        .args(["-ptx", "-O3", &format!("-arch=compute_{capability}"), "kernels/all.cu", "-o"])
        .arg(&out)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{compiler} failed on models/kernels: {status}"),
        Err(error) => panic!("{compiler}: {error}; install the CUDA toolkit and set CUDA_HOME or NVCC"),
    }
}
