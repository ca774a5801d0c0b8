//! The command at signals: it finishes its step, writes a checkpoint, ends with code 75, and goes on as if nothing had been.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mkgc_builder::corpus::Extraction;

use super::assert_same;
use super::common::Place;

fn command(place: &Place, out: &Path, epochs: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
    command.arg("train").arg(place.built()).args(["--method", "emr"]);
    command.args(["--set", "max_length=24", "--epochs", &epochs.to_string(), "--out"]).arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until a process has taken the lock of its folder.
fn begun(child: &mut Child, out: &Path) {
    let own = format!("\"pid\":{},", child.id());
    while !fs_err::read_to_string(out.join("lock.json")).is_ok_and(|lock| lock.contains(&own)) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
}

/// Enough that no machine is done before the signal arrives.
const EPOCHS: usize = 60;

#[test]
fn a_signal_ends_a_run_with_code_75_and_the_same_command_goes_on() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    for signal in ["INT", "TERM", "USR1", "KILL"] {
        let mut child = command(&place, &parts, EPOCHS).args(["--checkpoint-every", "0.001"]).spawn().unwrap();
        begun(&mut child, &parts);
        send(signal, &child);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), if signal == "KILL" { None } else { Some(75) }, "{signal}");
        assert!(!parts.join("failure.json").exists() && !parts.join("result.json").exists());
        assert_eq!(parts.join("lock.json").exists(), signal == "KILL");
    }
    assert!(command(&place, &parts, EPOCHS).status().unwrap().success());
    let whole = folder.path().join("whole");
    assert!(command(&place, &whole, EPOCHS).status().unwrap().success());
    assert_same(&whole, &parts, "four signals");
}

/// A run that waits for a file is in no step, so nothing but the second signal can end it.
#[cfg(target_os = "linux")]
#[test]
fn a_second_sigint_stops_at_once() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("config.json"), "{}").unwrap();
    fs_err::write(folder.path().join("vocab.txt"), "[PAD]").unwrap();
    let pipe = folder.path().join("tokenizer_config.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let out = folder.path().join("run");
    let mut child = command(&place, &out, 1).arg("--encoder").arg(folder.path()).spawn().unwrap();
    // Opens as soon as the run reads, which then waits for bytes.
    let held = fs_err::OpenOptions::new().write(true).open(&pipe).unwrap();
    let pending = || {
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        status.lines().filter(|line| line.contains("Pnd:")).any(|line| line.contains('2'))
    };
    send("INT", &child);
    while pending() {
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none(), "the first SIGINT must wait for the step");
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(held);
    assert!(!out.exists());
}
