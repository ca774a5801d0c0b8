//! The demo end to end: what its report must show, that its runs repeat to the byte, and that an interrupted run ends
//! like an uninterrupted one.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use candle_core::Device;
use mkgc_builder::corpus::Extraction;
use mkgc_harness::config::{Overrides, Recipe};
use mkgc_harness::gate::baseline::Baseline;
use mkgc_harness::gate::observed::observe;
use mkgc_harness::gate::{Verdict, check, show};
use mkgc_harness::methods::registry;
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::run::find::find;
use mkgc_harness::train::{Request, Run};
use tempfile::TempDir;

/// The demo's folder, made once for all tests here.
fn demo() -> &'static Path {
    static DEMO: OnceLock<TempDir> = OnceLock::new();
    DEMO.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        mkgc_harness::demo::run(folder.path(), &Device::Cpu, "cpu").unwrap();
        folder
    })
    .path()
}

fn result(benchmark: &str, method: &str) -> RunResult {
    let path = demo().join("runs").join(benchmark).join(method).join("result.json");
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

fn last_micro_f1(result: &RunResult) -> f64 {
    result.stages.last().unwrap().micro_f1.number().unwrap()
}

fn forgetting(result: &RunResult) -> f64 {
    result.continual["forgetting_chaudhry18"].number().unwrap()
}

#[test]
fn vanilla_forgets_replay_helps_and_joint_is_the_upper_bound() {
    for benchmark in ["demo-re", "demo-ner"] {
        let [vanilla, emr, joint] = ["vanilla", "emr", "joint"].map(|method| result(benchmark, method));
        assert!(forgetting(&vanilla) > 0.5, "{benchmark}: vanilla forgets only {}", forgetting(&vanilla));
        assert!(forgetting(&emr) < forgetting(&vanilla) - 0.2, "{benchmark}: replay hardly helps");
        let [low, middle, high] = [&vanilla, &emr, &joint].map(last_micro_f1);
        assert!(low + 0.1 < middle && middle < high, "{benchmark}: {low} {middle} {high}");
        for method in ["rp-cre", "lmc"].map(|method| result(benchmark, method)) {
            assert!(forgetting(&method) < forgetting(&vanilla) - 0.2, "{benchmark}: {} forgets", method.method);
            assert!(last_micro_f1(&method) > low + 0.1, "{benchmark}: {} ends no better than vanilla", method.method);
        }
    }
}

#[test]
fn the_first_task_is_learned_alike_by_every_method() {
    for benchmark in ["demo-re", "demo-ner"] {
        let [vanilla, emr, joint] =
            ["vanilla", "emr", "joint"].map(|method| result(benchmark, method).stages[0].clone());
        assert!(vanilla == emr && emr == joint, "{benchmark}: same seed, same rows, different first stage");
    }
}

fn train(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
    command.arg("train").arg(demo().join("benchmarks/demo-re")).args(["--method", "emr", "--recipe"]);
    command.arg(demo().join("recipe.toml")).arg("--out").arg(run).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Kills `mkgc train` once its first checkpoint is there.
fn interrupted(run: &Path) {
    let mut child = train(run).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while !run.join("checkpoint/state.json").exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "no checkpoint appeared");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!run.join("result.json").exists(), "the run ended before it could be interrupted");
}

#[test]
fn an_interrupted_run_resumes_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("emr");
    interrupted(&run);
    assert!(train(&run).status().unwrap().success());
    let other = demo().join("runs/demo-re/emr");
    for file in ["result.json", "stages/0/predictions.parquet", "stages/3/predictions.parquet"] {
        assert!(fs_err::read(run.join(file)).unwrap() == fs_err::read(other.join(file)).unwrap(), "{file} differs");
    }
}

#[test]
fn a_folder_of_another_run_is_not_overwritten() {
    let run = demo().join("runs/demo-re/vanilla");
    let before = fs_err::read(run.join("run.json")).unwrap();
    let output = train(&run).stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("another method"), "{message}");
    assert_eq!(fs_err::read(run.join("run.json")).unwrap(), before);
}

/// The demo's `emr`, its stored rows without labels.
fn buggy(benchmark: &str, task: Extraction, out: &Path) {
    let method = common::bug::Unlabelled::spec();
    let recipe = Recipe::read(&demo().join("recipe.toml")).unwrap();
    let given = Overrides { recipe: Some(&recipe), ..Overrides::default() };
    let request = Request {
        settings: registry::resolve(task, &method, given).unwrap(),
        cache: Some(demo().join("cache")),
        ..Request::new(demo().join("benchmarks").join(benchmark), method, out).unwrap()
    };
    Run::open(request).unwrap().train().unwrap();
}

/// What `.ci/run` relies on: the committed baseline passes these runs and is not too wide to catch a bug.
#[test]
fn the_committed_baseline_passes_the_demo_and_catches_replay_without_labels() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/baselines/demo-cpu.json");
    let mut baseline = Baseline::read(Path::new(path)).unwrap();
    let outcome = check(&baseline, &observe(&find(&[demo().join("runs")]).unwrap()).unwrap(), false);
    assert!(!outcome.failed() && outcome.unknown.is_empty(), "{}", show::markdown(&outcome));
    let folder = tempfile::tempdir().unwrap();
    for (benchmark, task) in [("demo-re", Extraction::Relations), ("demo-ner", Extraction::Entities)] {
        buggy(benchmark, task, &folder.path().join(benchmark));
    }
    baseline.entries.retain(|entry| entry.method == "emr");
    let outcome = check(&baseline, &observe(&find(&[folder.path()]).unwrap()).unwrap(), false);
    for line in outcome.lines.iter().filter(|line| line.metric == "last_micro_f1") {
        assert_eq!(line.verdict, Verdict::Fail, "{}", show::markdown(&outcome));
    }
    assert_eq!(baseline.entries.len(), 2);
}
