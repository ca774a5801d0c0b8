//! Checkpoints inside a task: a run that is interrupted ends with the bytes of one that was not, wherever that happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mkgc_builder::corpus::Extraction;
use mkgc_harness::error::Error;
use mkgc_harness::methods::names;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::interrupt::Interrupt;
use mkgc_harness::train::{Request, Run};

use super::common::{Place, train};
use super::{SHORT, assert_same};

/// Trains in processes that stop after so many steps each, the last number for all further ones; returns how many stopped.
fn chopped(place: &Place, method: &str, settings: &str, out: &Path, steps: &[usize]) -> usize {
    for stopped in 0.. {
        let interrupt = Interrupt::after(1 + steps[stopped.min(steps.len() - 1)]);
        match train(Request { interrupt, ..place.request(method, settings, out) }) {
            Err(Error::Interrupted) => {
                let folder = RunFolder::new(out);
                assert!(!folder.failure().exists() && !folder.result().exists() && !folder.lock().exists());
            }
            outcome => {
                outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
                return stopped;
            }
        }
    }
    unreachable!()
}

#[test]
fn every_method_goes_on_at_the_step_at_which_it_was_interrupted() {
    for kind in [Extraction::Relations, Extraction::Entities] {
        let place = Place::new(kind);
        let folder = tempfile::tempdir().unwrap();
        for method in names() {
            let whole = folder.path().join(format!("{method}-whole"));
            let parts = folder.path().join(format!("{method}-parts"));
            train(place.request(method, SHORT, &whole)).unwrap();
            let stopped = chopped(&place, method, SHORT, &parts, &[1, 4, 2, 7, 3, 6, 1, 9, 5]);
            assert!(stopped > 1 || method == "majority", "{method} ({kind:?}) was interrupted {stopped} times");
            assert_same(&whole, &parts, &format!("{method} ({kind:?})"));
            assert!(!parts.join("checkpoint").exists());
        }
    }
}

/// Every step of the methods with the most kinds of parts: λ tuning and Fisher rows, rounds of phases, a memory network,
/// an optimiser that outlives its tasks.
#[test]
fn a_run_may_be_interrupted_at_every_single_step() {
    let settings = format!("{SHORT}\nepochs = 1\nmemory_epochs = 1\nfisher_rows = 3\newc_grid = [20.0, 50.0]")
        .replace("epochs = 2\nmemory_epochs = 2\n", "");
    for (kind, method) in [
        (Extraction::Entities, "ewc"),
        (Extraction::Relations, "emar-bert"),
        (Extraction::Relations, "rp-cre"),
        (Extraction::Relations, "lmc"),
    ] {
        let place = Place::new(kind);
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        let parts = folder.path().join("parts");
        train(place.request(method, &settings, &whole)).unwrap();
        let stopped = chopped(&place, method, &settings, &parts, &[1]);
        let steps = RunFolder::new(&whole).record().unwrap().cost.unwrap().optimiser_steps;
        assert!(stopped + 1 >= steps, "{method}: {stopped} interruptions of {steps} steps");
        assert_same(&whole, &parts, method);
    }
}

/// Files of the folder `checkpoint/` whose names begin so, newest last.
fn tensors(out: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(out.join("checkpoint")).unwrap().map(|entry| entry.unwrap());
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
    let mut files: Vec<_> = named.map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path())).collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).filter(|path| path.extension().unwrap() == "safetensors").collect()
}

/// Interrupts a run of EMR once after each number of steps.
fn interrupted(place: &Place, out: &Path, steps: &[usize]) {
    for steps in steps {
        let interrupt = Interrupt::after(1 + steps);
        let stopped = train(Request { interrupt, ..place.request("emr", SHORT, out) });
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    train(place.request("emr", SHORT, &whole)).unwrap();
    type Damage = fn(&Path);
    let cut: Damage = |path| fs_err::write(path, &fs_err::read(path).unwrap()[..100]).unwrap();
    let changed: Damage = |path| {
        let mut bytes = fs_err::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs_err::write(path, bytes).unwrap();
    };
    let gone: Damage = |path| fs_err::remove_file(path).unwrap();
    for (number, damage) in [cut, changed, gone].into_iter().enumerate() {
        let out = folder.path().join(format!("inside{number}"));
        interrupted(&place, &out, &[3, 3]);
        let files = tensors(&out, "task_0");
        assert_eq!(files.len(), 2, "the one before is kept");
        damage(&files[1]);
        train(place.request("emr", SHORT, &out)).unwrap();
        assert_same(&whole, &out, "the newest checkpoint inside a task is damaged");

        let out = folder.path().join(format!("after{number}"));
        interrupted(&place, &out, &[14, 3]);
        damage(tensors(&out, "stage_0").last().unwrap());
        train(place.request("emr", SHORT, &out)).unwrap();
        assert_same(&whole, &out, "the only checkpoint after a task is damaged");
    }
    for index in ["task.json", "state.json"] {
        let out = folder.path().join(index);
        interrupted(&place, &out, &[14, 3]);
        fs_err::write(out.join("checkpoint").join(index), "{\"stage\": 0").unwrap();
        train(place.request("emr", SHORT, &out)).unwrap();
        assert_same(&whole, &out, index);
    }
}

/// The index is no tensor, so no sum tells that somebody changed it.
#[test]
fn a_checkpoint_without_a_number_or_beyond_its_phase_is_not_entered() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    interrupted(&place, &out, &[3]);
    let path = out.join("checkpoint/task.json");
    let whole: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    let refused = |change: fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut index = whole.clone();
        change(index["numbers"].as_object_mut().unwrap());
        fs_err::write(&path, index.to_string()).unwrap();
        train(place.request("emr", SHORT, &out)).unwrap_err().to_string()
    };
    let error = refused(|numbers| numbers.retain(|name, _| name != "dropout"));
    assert!(error.contains("the checkpoint inside the task holds no number `dropout`"), "{error}");
    let error = refused(|numbers| numbers["taken"] = 1000.into());
    assert!(error.contains("the checkpoint inside the task is after step 1000 of a phase of"), "{error}");
}

#[test]
fn checkpoints_are_written_as_often_as_asked_for_and_change_nothing() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    train(Request { checkpoint_every: None, ..place.request("lmc", SHORT, &path("never")) }).unwrap();
    let always = || Request { checkpoint_every: Some(Duration::ZERO), ..place.request("lmc", SHORT, &path("always")) };
    train(Request { interrupt: Interrupt::after(6), ..always() }).unwrap_err();
    // At every step, so the two newest are those of the last two.
    let numbers = |name: &str| {
        let index = fs_err::read_to_string(path("always").join("checkpoint").join(name)).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        index["numbers"]["taken"].as_u64().unwrap()
    };
    assert_eq!((numbers("task.before.json"), numbers("task.json")), (4, 5));
    train(always()).unwrap();
    assert_same(&path("never"), &path("always"), "checkpoints at every step");
}

/// A process that is killed after its last checkpoint leaves the result to the next one. JSON may round the scores of the
/// choice in the index; those in the tensors are exact.
#[test]
fn a_choice_comes_from_the_method_and_not_from_the_index() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("run"));
    train(place.request("ewc", SHORT, &whole)).unwrap();
    let run = Run::open(place.request("ewc", SHORT, &out)).unwrap();
    let mut training = run.resume().unwrap();
    for task in 0..run.tasks() {
        training.train_task(task).unwrap();
        training.evaluate(task).unwrap();
        training.save(task).unwrap();
    }
    drop(training);
    drop(run);
    let path = out.join("checkpoint/state.json");
    let mut index: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    index["cost"]["ewc"]["scores"][0]["micro_f1"] = 0.123.into();
    fs_err::write(&path, index.to_string()).unwrap();
    train(place.request("ewc", SHORT, &out)).unwrap();
    assert_same(&whole, &out, "killed after the last checkpoint");
}

/// What a process that is killed between the result and the end leaves is removed when the run is looked at again.
#[test]
fn a_checkpoint_beside_a_result_is_removed() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let request = || place.request("vanilla", SHORT, &out);
    let result = train(request()).unwrap();
    fs_err::create_dir(out.join("checkpoint")).unwrap();
    fs_err::write(out.join("checkpoint/state.json"), "{}").unwrap();
    assert_eq!(train(request()).unwrap(), result);
    assert!(!out.join("checkpoint").exists());
    // A run that stopped early keeps its own, from which it goes on.
    let short = folder.path().join("short");
    let request = || Request { tasks: Some(1), ..place.request("vanilla", SHORT, &short) };
    train(request()).unwrap();
    train(request()).unwrap();
    assert!(short.join("checkpoint/state.json").exists());
}
