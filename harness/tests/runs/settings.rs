//! What is refused before a folder is made, and with which settings a failed run goes on.

use std::path::Path;

use mkgc_builder::corpus::Extraction;
use mkgc_harness::error::{Error, Result};
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::run::{RunFolder, failure};
use mkgc_harness::train::{Request, Run};

use super::common::{Place, train};
use super::{SHORT, assert_same};

#[test]
fn settings_that_cannot_work_leave_no_folder() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (method, settings, message) in [
        ("emr", "max_length = 129", "`max_length`: is 129, but the text encoder has 128 positions; give at most that"),
        ("rp-cre", "memory_per_class = 0", "`memory_per_class`: RP-CRE makes its prototypes of stored rows"),
        ("lmc", "shared_layers = 3", "lower it"),
    ] {
        let error = Run::open(place.request(method, settings, &out)).err().unwrap().to_string();
        assert!(error.contains(message), "{method}: {error}");
        assert!(!out.exists(), "{method}");
    }
    // No network is trained, so none limits the length.
    train(place.request("majority", "max_length = 129", &out)).unwrap();
}

fn goes_on(place: &Place, method: &str, settings: &str, out: &Path) -> Result<RunResult> {
    train(place.request(method, settings, out))
}

#[test]
fn a_run_that_fails_in_its_first_task_goes_on_with_other_settings() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let error = goes_on(&place, "vanilla", "epochs = 2\nlr_encoder = 1e30", &out).unwrap_err().to_string();
    assert!(error.contains("the training loss became") && error.contains("the same --out begins again"), "{error}");
    let error = goes_on(&place, "emr", SHORT, &out).unwrap_err().to_string();
    assert!(error.contains("was started with another method") && error.contains("a new --out"), "{error}");
    goes_on(&place, "vanilla", SHORT, &out).unwrap();
    let whole = folder.path().join("whole");
    goes_on(&place, "vanilla", SHORT, &whole).unwrap();
    assert_same(&whole, &out, "a run that failed at first");
}

#[test]
fn after_a_task_only_what_it_does_not_depend_on_may_change() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let settings = |grid: &str, epochs: usize| format!("epochs = {epochs}\newc_grid = {grid}");
    let first = Request { tasks: Some(1), ..place.request("ewc", &settings("[1.0]", 2), &out) };
    train(first).unwrap();
    let run = RunFolder::new(&out);
    let refused = |settings: &str| goes_on(&place, "ewc", settings, &out).unwrap_err().to_string();
    // A run that did not fail keeps its settings.
    let error = refused(&settings("[2.0]", 2));
    assert!(error.contains("another configuration (ewc_grid [1.0], now [2.0])"), "{error}");
    fs_err::remove_file(run.result()).unwrap();
    failure::write(&run, 2, &Error::Diverged(f64::NAN)).unwrap();
    let error = refused(&settings("[2.0]", 3));
    let expected = "another configuration (epochs 2, now 3; ewc_grid [1.0], now [2.0]), on which the tasks depend that it \
                    has learned; choose a new --out";
    assert!(error.contains(expected), "{error}");
    goes_on(&place, "ewc", &settings("[2.0]", 2), &out).unwrap();
    let whole = folder.path().join("whole");
    goes_on(&place, "ewc", &settings("[2.0]", 2), &whole).unwrap();
    assert_same(&whole, &out, "ewc with another grid from the second task on");
}
