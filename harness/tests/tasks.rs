//! `--tasks K`: a run over the first K tasks is a run of its own, goes on to more, and ends as if it had never stopped.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::gate::observed::observe;
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::report;
use mkgc_harness::run::RunFolder;
use mkgc_harness::train::Request;

const SHORT: &str = "epochs = 1\nmemory_epochs = 1\nrounds = 1";

fn run(place: &Place, method: &str, tasks: Option<usize>, out: &Path) -> mkgc_harness::error::Result<RunResult> {
    train(Request { tasks, ..place.request(method, SHORT, out) })
}

/// `run.json` but for the time the run took.
fn record(folder: &Path) -> serde_json::Value {
    let text = fs_err::read_to_string(folder.join("run.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["cost"]["wall_seconds"].take();
    record
}

#[test]
fn a_run_that_goes_on_ends_with_the_bytes_of_one_that_never_stopped() {
    // LMC's optimiser outlives its tasks; the majority has counts and no network.
    for (kind, method) in [
        (Extraction::Relations, "lmc"),
        (Extraction::Entities, "lmc"),
        (Extraction::Entities, "rp-cre"),
        (Extraction::Relations, "seq-star"),
        (Extraction::Relations, "majority"),
    ] {
        let place = Place::new(kind);
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
        let all = run(&place, method, None, &whole).unwrap();
        let first = run(&place, method, Some(1), &parts).unwrap();
        assert_eq!((first.stages.len(), first.matrix.len()), (1, 1));
        assert_eq!((&first.stages[0], &first.matrix[0]), (&all.stages[0], &all.matrix[0]), "{method}");
        assert_eq!(record(&parts)["stop_after"], 1);
        assert!(parts.join("checkpoint/state.json").exists() && !parts.join("stages/1").exists());
        let shown = fs_err::read(parts.join("result.json")).unwrap();
        assert_eq!(run(&place, method, Some(1), &parts).unwrap().stages.len(), 1, "a finished run is shown again");
        assert_eq!(fs_err::read(parts.join("result.json")).unwrap(), shown);
        // All tasks by number are all tasks.
        assert_eq!(run(&place, method, Some(2), &parts).unwrap(), all);
        assert!(!parts.join("checkpoint").exists());
        for file in ["result.json", "stages/0/predictions.parquet", "stages/1/predictions.parquet"] {
            let bytes = |run: &Path| fs_err::read(run.join(file)).unwrap();
            assert!(bytes(&whole) == bytes(&parts), "{method}: {file} differs");
        }
        assert_eq!(record(&whole), record(&parts));
    }
}

#[test]
fn numbers_of_tasks_that_cannot_be_are_refused_before_anything_is_written() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for tasks in [0, 3] {
        let error = run(&place, "vanilla", Some(tasks), &out).unwrap_err().to_string();
        assert_eq!(error, format!("--tasks {tasks}: tiny-re has 2 tasks; give 1 to 2, or leave it out"));
    }
    assert!(!out.exists());
    run(&place, "vanilla", None, &out).unwrap();
    let result = fs_err::read(out.join("result.json")).unwrap();
    let error = run(&place, "vanilla", Some(1), &out).unwrap_err().to_string();
    let expected = "has learned 2 tasks already, and is asked to stop after 1; choose another --out";
    assert!(error.contains(expected), "{error}");
    assert_eq!(fs_err::read(out.join("result.json")).unwrap(), result);
}

#[test]
fn shorter_runs_are_shown_with_their_length_and_not_beside_longer_ones() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    run(&place, "vanilla", Some(1), &path("short")).unwrap();
    run(&place, "majority", Some(1), &path("majority")).unwrap();
    run(&place, "vanilla", None, &path("long")).unwrap();
    let boards = report::boards(report::load(&[path("short"), path("majority")]).unwrap()).unwrap();
    let labels: Vec<&str> = boards[0].entries.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(boards[0].tasks.len(), 1);
    assert!(labels.contains(&"vanilla (1 of 2 tasks)") && labels.contains(&"majority (1 of 2 tasks)"), "{labels:?}");
    let text = report::write(&boards, &path("report")).unwrap();
    assert!(text.contains("majority (1 of 2 tasks)"), "{text}");
    let error = report::boards(report::load(&[path("short"), path("long")]).unwrap()).unwrap_err().to_string();
    let folders = [path("short"), path("long")].map(|folder| folder.display().to_string());
    assert!(folders.iter().all(|folder| error.contains(folder)), "{error}");
    assert!(error.contains("number of tasks (--tasks): 1 of 2 tasks and all tasks"), "{error}");
    // A gate takes them for two methods.
    let methods: Vec<String> =
        observe(&[path("short"), path("long")]).unwrap().into_keys().map(|key| key.method).collect();
    assert_eq!(methods, ["vanilla", "vanilla (1 of 2 tasks)"]);
}

#[test]
fn a_run_interrupted_on_its_way_to_more_tasks_goes_on() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    run(&place, "emr", None, &whole).unwrap();
    run(&place, "emr", Some(1), &parts).unwrap();
    // The second task's test file is damaged for a while.
    let test = place.built().join("tasks/task_01_test.parquet");
    let bytes = fs_err::read(&test).unwrap();
    fs_err::write(&test, "x").unwrap();
    assert!(run(&place, "emr", None, &parts).is_err());
    let folder = RunFolder::new(&parts);
    assert!(!folder.result().exists() && folder.failure().exists(), "the old result is none of the longer run");
    fs_err::write(&test, bytes).unwrap();
    run(&place, "emr", None, &parts).unwrap();
    assert_eq!(fs_err::read(whole.join("result.json")).unwrap(), fs_err::read(parts.join("result.json")).unwrap());
}
