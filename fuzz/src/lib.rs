//! What the fuzz targets share: a limit of memory, a folder for files, seeds, and a small benchmark with a run on it.
#![allow(clippy::unwrap_used, reason = "what is made here is known to be right")]

pub mod place;
#[cfg(feature = "harness")]
pub mod predictions;
pub mod rows;

use std::alloc::System;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cap::Cap;

/// Ends a target that holds more than 1 GiB, whatever the sanitizer: the input is then kept as a crash.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

/// Writes seeds into the corpus folder that the command line names, unless they are there. Call it before the target
/// runs; a command line that names single inputs has no such folder.
pub fn seed<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) {
    let Some(corpus) = std::env::args().skip(1).find(|word| !word.starts_with('-')) else { return };
    if !Path::new(&corpus).is_dir() {
        return;
    }
    for bytes in seeds {
        let mut hasher = DefaultHasher::new();
        bytes.as_ref().hash(&mut hasher);
        let path = Path::new(&corpus).join(format!("seed-{:016x}", hasher.finish()));
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// Returns a folder of this process below the temporary one, for parsers that read files.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("mkgc-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// Writes bytes to a file of [`folder`] and returns its path.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Splits off the first byte, which chooses one of `n` ways to read the others.
pub fn choose(data: &[u8], n: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first) % n, rest))
}

/// Returns seeds with the byte before them that makes [`choose`] choose way `way`.
pub fn chosen(way: u8, seed: impl AsRef<[u8]>) -> Vec<u8> {
    [&[way], seed.as_ref()].concat()
}
