//! Readers of stdout and stderr that have gone or are full.

use std::fs::File;
use std::process::Stdio;

use mkgc_harness::files::write_json;
use mkgc_harness::metrics::score::score_run;
use mkgc_harness::run::RunFolder;
use serde_json::Value;

use crate::common::runs::Runs;
use crate::mkgc;

/// A gate of one run, with a baseline that it passes and one that it fails.
fn gated(runs: &Runs) {
    let run = RunFolder::new(&runs.plain("runs/emr", "emr", 1, 8));
    write_json(&run.result(), &score_run(&run).unwrap()).unwrap();
    let update = ["gate", "--baseline", "pass.json", "runs", "--update", "--tolerance", "0.01"];
    assert_eq!(mkgc(&runs.path(""), &update, |_| ()).0, 0);
    let text = fs_err::read_to_string(runs.path("pass.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&text).unwrap();
    baseline["entries"][0]["metrics"]["last_micro_f1"]["expected"] = 0.99.into();
    fs_err::write(runs.path("fail.json"), baseline.to_string()).unwrap();
}

/// Runs the gate and the report with a given stdout; returns their exit codes and what they say on stderr.
fn with_stdout(runs: &Runs, stdout: impl Fn() -> Stdio) -> [(i32, String); 3] {
    let run = |arguments: &[&str]| {
        let (code, _, error) = mkgc(&runs.path(""), arguments, |command| {
            command.stdout(stdout()).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", runs.path("summary.md"));
        });
        assert!(!error.contains("panicked"), "{error}");
        (code, error)
    };
    let pass = run(&["gate", "--baseline", "pass.json", "runs", "--junit", "pass.xml"]);
    let fail = run(&["gate", "--baseline", "fail.json", "runs", "--junit", "fail.xml"]);
    let report = run(&["report", "runs", "--out", "report"]);
    assert!(runs.path("pass.xml").exists() && runs.path("report/report.md").exists());
    assert!(fs_err::read_to_string(runs.path("fail.xml")).unwrap().contains("failures=\"1\""));
    assert!(fs_err::read_to_string(runs.path("summary.md")).unwrap().contains("**FAIL**"));
    assert!(fail.1.contains("::error title=mkgc gate::"), "{}", fail.1);
    [pass, fail, report]
}

#[test]
fn a_reader_that_has_gone_changes_no_file_and_no_exit_code() {
    let runs = Runs::new();
    gated(&runs);
    let closed = || -> Stdio {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer.into()
    };
    let codes = with_stdout(&runs, closed).map(|(code, _)| code);
    assert_eq!(codes, [0, 1, 0]);
    // Nor does one of stderr.
    let (code, out, _) = mkgc(&runs.path(""), &["gate", "--baseline", "fail.json", "runs"], |command| {
        command.stderr(closed()).env("GITHUB_ACTIONS", "true");
    });
    assert!(code == 1 && out.contains("**FAIL**"), "{out}");
    assert_eq!(
        mkgc(&runs.path(""), &["verify", "nothing"], |command| {
            command.stderr(closed());
        })
        .0,
        2
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error_that_loses_nothing_else() {
    let runs = Runs::new();
    gated(&runs);
    let full = || -> Stdio { File::options().write(true).open("/dev/full").unwrap().into() };
    let [pass, fail, report] = with_stdout(&runs, full);
    assert_eq!([pass.0, fail.0, report.0], [2, 1, 2]);
    for (_, error) in [pass, fail, report] {
        assert!(error.contains("error: stdout cannot be written: the disk is full"), "{error}");
    }
}
