//! Pictures: the check of a build and the decoder of training must agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::images::{check, decode};
use mkgc_fuzz::seed;

/// Returns the pictures among the golden files, one of each kind.
fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../harness/tests/golden/pixels");
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let picture = |path: &std::path::PathBuf| {
        let name = path.to_string_lossy();
        !name.ends_with(".json") && !name.ends_with(".64.png")
    };
    paths.filter(picture).filter_map(|path| std::fs::read(path).ok()).filter(|bytes| bytes.len() < 7000).collect()
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let size = decode(data).map(|picture| picture.dimensions());
    assert_eq!(check(data).ok(), size.ok());
});
