//! A planned run and its identity: a hash of everything in the plan that decides its numbers. It names the run wherever
//! the sweep is made, so paths are not part of it.

use std::path::Path;

use mkgc_builder::files::sha256_hex;
use serde_json::json;

use super::benchmarks::SweepBenchmark;
use crate::config::Resolved;
use crate::error::Result;
use crate::methods::MethodSpec;

/// Counts the changes of what is hashed, so that a hash of an earlier mkgc never stands for another run.
const VERSION: u32 = 1;

/// Defaults of the first hashes that have changed since. In the hash of a method that does not read the setting, the first
/// one stays, so that the hash does, too.
const FIRST_DEFAULTS: [(&str, &[f64]); 1] = [("ewc_grid", &[1e2, 1e3, 1e4, 1e5, 1e6])];

/// How many hexadecimal digits of the SHA-256 are kept: enough that no two runs of a plan share them.
const DIGITS: usize = 16;

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct PlannedRun {
    /// Number of the run in the list, from 0.
    pub number: usize,
    /// Method that the run trains, from the registry.
    pub method: &'static MethodSpec,
    /// Name of the variant and of the encoders, where the plan names some.
    pub variant: Option<String>,
    /// Settings, with the origin of each.
    pub settings: Resolved,
    /// Text encoder: `tiny`, a folder or a repository.
    pub encoder: String,
    /// Vision encoder, which only multimodal methods read.
    pub vision: String,
    /// Number of tasks after which the run stops, as the plan says.
    pub tasks: Option<usize>,
    /// Folder of the run below `runs/`, e.g. `mnre-10/lmc-no-distillation-seed42`.
    pub name: String,
    /// Identity of the run, the same wherever and whenever the sweep is made: 16 hexadecimal digits.
    pub hash: String,
    pub(super) benchmark: usize,
}

/// Returns the name of an encoder as `run.json` has it: the last part of a folder's path, or the name itself. A folder
/// may be missing where the report is made.
pub(super) fn encoder_name(encoder: &str) -> String {
    let path = Path::new(encoder);
    let folder = path.file_name().filter(|_| path.is_absolute() || path.is_dir());
    folder.map_or_else(|| encoder.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Returns the spec hash of a run: 16 hexadecimal digits of the SHA-256 of its method, variant, benchmark, settings,
/// encoders, kind of device, number type and number of tasks.
pub(super) fn hash(run: &PlannedRun, benchmark: &SweepBenchmark, device: &str, dtype: &str) -> Result<String> {
    let mut config = serde_json::to_value(&run.settings.config)?;
    let reads = run.method.reads();
    for (key, first) in FIRST_DEFAULTS.iter().filter(|(key, _)| !reads.contains(key)) {
        config[*key] = json!(first);
    }
    let spec = json!({
        "version": VERSION,
        "method": run.method.name,
        "variant": run.variant,
        "benchmark": [benchmark.name, benchmark.identity],
        "tasks": run.tasks,
        "config": config,
        "text": encoder_name(&run.encoder),
        "vision": run.method.multimodal().then(|| encoder_name(&run.vision)),
        "device": device.split(':').next(),
        "dtype": dtype,
    });
    Ok(sha256_hex(spec.to_string().as_bytes())[..DIGITS].to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_has_the_same_name_where_its_folder_is_missing() {
        let named =
            ["/no/such/folder/minilm", "/no/such/folder/minilm/", "owner/name@refs/pr/1", "tiny"].map(encoder_name);
        assert_eq!(named, ["minilm", "minilm", "owner/name@refs/pr/1", "tiny"]);
    }
}
