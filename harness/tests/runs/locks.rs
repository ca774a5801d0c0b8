//! A run folder belongs to one process at a time.

use mkgc_builder::corpus::Extraction;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::lock::{Lock, holder};
use mkgc_harness::train::Run;
use serde_json::{Value, json};

use super::SHORT;
use super::common::{Place, train};

#[test]
fn a_second_process_is_told_who_works_on_a_run_and_changes_nothing() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = Run::open(place.request("vanilla", SHORT, &out)).unwrap();
    let before = fs_err::read(out.join("run.json")).unwrap();
    let held = holder(&RunFolder::new(&out)).unwrap().unwrap();
    assert_eq!(held.pid, std::process::id());
    let message = Run::open(place.request("vanilla", SHORT, &out)).err().unwrap().to_string();
    let expected = format!("process {} on host {} has worked on it since {}", held.pid, held.host, held.since_text());
    assert!(message.contains(&expected) && message.ends_with("wait for its end, or choose another --out"), "{message}");
    assert_eq!(fs_err::read(out.join("run.json")).unwrap(), before);
    assert!(!out.join("failure.json").exists());
    run.train().unwrap();
    drop(run);
    assert!(!out.join("lock.json").exists() && holder(&RunFolder::new(&out)).unwrap().is_none());
    // A finished run is shown to anybody.
    let lock = Lock::take(&RunFolder::new(&out)).unwrap();
    train(place.request("vanilla", SHORT, &out)).unwrap();
    drop(lock);
}

/// Leaves a lock behind as a killed process does, with a change of what it says, and returns what the next process says. With
/// `held`, a process holds the operating system's lock on the file.
fn taken_after(held: bool, change: impl Fn(&mut Value)) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    let lock = Lock::take(&run).unwrap();
    let mut value: Value = serde_json::from_str(&fs_err::read_to_string(run.lock()).unwrap()).unwrap();
    drop(lock);
    change(&mut value);
    fs_err::write(run.lock(), value.to_string()).unwrap();
    let file = fs_err::File::open(run.lock()).unwrap();
    if held {
        file.file().try_lock().unwrap();
    }
    let said = Lock::take(&run).map(|lock| {
        assert!(run.lock().exists());
        drop(lock);
        assert!(!run.lock().exists());
    });
    said.map_err(|error| error.to_string())
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_is_taken_over_from_a_dead_process_of_this_host_alone() {
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    taken_after(false, |lock| lock["pid"] = ended.id().into()).unwrap();
    // The number belongs to another process by now, or the host was started again.
    taken_after(false, |lock| lock["started"] = "1".into()).unwrap();
    taken_after(false, |lock| lock["boot"] = "another".into()).unwrap();
    // A host of the same name, whose process works on the folder; and in any doubt, the message says what to delete.
    let doubtful = |key: &'static str, value: &'static str| {
        let message = taken_after(true, |lock| lock[key] = value.into()).unwrap_err();
        assert!(
            message.contains("wait for its end") && message.contains("lock.json and give the command"),
            "{message}"
        );
    };
    doubtful("boot", "another");
    doubtful("namespace", "pid:[1]");
    assert!(taken_after(false, |_| ()).unwrap_err().contains("wait for its end"));
    // The lock of the operating system tells of processes in another container.
    let elsewhere = |held| taken_after(held, |lock| lock["namespace"] = "pid:[1]".into());
    assert!(elsewhere(true).unwrap_err().contains("wait for its end"));
    elsewhere(false).unwrap();
    let other = |lock: &mut Value| {
        lock["host"] = "n7".into();
        lock["pid"] = ended.id().into();
        lock["since"] = 0.into();
    };
    let message = taken_after(false, other).unwrap_err();
    let expected = format!("process {} on host n7 has worked on it since 1970-01-01 00:00:00 UTC", ended.id());
    assert!(message.contains(&expected) && message.contains("lock.json and give the command again"), "{message}");
    // Slurm's numbers are those of another job.
    let job = |lock: &mut Value| {
        other(lock);
        lock["job"] = json!(["no such job", 0]);
    };
    assert!(taken_after(false, job).is_err());
    let unreadable = {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::new(folder.path());
        fs_err::write(run.lock(), "{").unwrap();
        Lock::take(&run).unwrap_err().to_string()
    };
    assert!(unreadable.contains("cannot be read; if no process works on the folder, delete the file"), "{unreadable}");
}
