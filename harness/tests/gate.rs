//! `mkgc gate`: repeats pass, a planted bug is caught, and whatever cannot be compared fails and says why.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bug::Unlabelled;
use common::{Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::gate::baseline::{Baseline, Expectation, Tolerance};
use mkgc_harness::gate::key::GateKey;
use mkgc_harness::gate::observed::{BySeed, Observations, ObservedScores, Values, observe};
use mkgc_harness::gate::{GateOutcome, OutcomeLine, Verdict, check, junit, show, update};
use mkgc_harness::methods::{MethodSpec, registry};
use mkgc_harness::metrics::metric::Direction;
use mkgc_harness::run::find::find;
use mkgc_harness::train::Request;
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 2, 3];

/// A benchmark and runs on it.
struct Gate {
    place: Place,
    folder: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        Self { place: Place::new(Extraction::Relations), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs of `emr` below a folder, one per seed.
    fn runs(&self, name: &str, method: MethodSpec) -> PathBuf {
        for seed in SEEDS {
            let out = self.path(name).join(format!("seed{seed}"));
            let settings = format!("train_seed = {seed}\nepochs = 8");
            train(Request { method, ..self.place.request("emr", &settings, &out) }).unwrap();
        }
        self.path(name)
    }

    /// One run of a method.
    fn one(&self, method: &str) -> PathBuf {
        train(self.place.request(method, "epochs = 2", &self.path(method))).unwrap();
        self.path(method)
    }

    fn baseline(&self, runs: &Path, tolerance: Tolerance) -> Baseline {
        update::update(None, &observe(&find(&[runs]).unwrap()).unwrap(), Some(tolerance)).unwrap()
    }

    /// Exit code, stdout and stderr of `mkgc gate`, outside of GitHub.
    fn mkgc(&self, arguments: &[&str], github: &[(&str, &Path)]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
        command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY").envs(github.iter().copied());
        let output = command.arg("gate").args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

fn compared(baseline: &Baseline, runs: &Path) -> GateOutcome {
    check(baseline, &observe(&find(&[runs]).unwrap()).unwrap(), false)
}

fn reasons(outcome: &GateOutcome) -> Vec<&str> {
    outcome.lines.iter().map(|line| line.reason.as_str()).collect()
}

#[test]
fn ten_repeats_pass_and_replay_without_labels_is_caught() {
    let gate = Gate::new();
    let first = gate.runs("first", *registry::find("emr").unwrap());
    let exact = gate.baseline(&first, Tolerance::Absolute(0.0));
    let result = |runs: &Path| fs_err::read(runs.join("seed1/result.json")).unwrap();
    for repeat in 0..10 {
        let runs = gate.runs(&format!("repeat{repeat}"), *registry::find("emr").unwrap());
        assert_eq!(result(&runs), result(&first));
        let outcome = compared(&exact, &runs);
        assert!(outcome.lines.iter().all(|line| line.verdict == Verdict::Pass), "{}", show::markdown(&outcome));
    }
    let usual = gate.baseline(&first, Tolerance::StandardErrors(3.0));
    let outcome = compared(&usual, &gate.runs("bug", Unlabelled::spec()));
    let fails = |metric: &str| {
        outcome.lines.iter().any(|line: &OutcomeLine| line.metric == metric && line.verdict == Verdict::Fail)
    };
    assert!(
        outcome.failed() && fails("last_micro_f1") && fails("forgetting_chaudhry18"),
        "{}",
        show::markdown(&outcome)
    );
    // The other way round it is a gain, which fails only where it is asked for.
    let buggy = gate.baseline(&gate.path("bug"), Tolerance::StandardErrors(3.0));
    let clean = observe(&find(&[&first]).unwrap()).unwrap();
    let outcome = check(&buggy, &clean, false);
    assert!(!outcome.failed() && outcome.lines.iter().any(|line| line.verdict == Verdict::Gain));
    assert!(check(&buggy, &clean, true).failed());
}

#[test]
fn what_cannot_be_compared_fails_and_says_why() {
    let gate = Gate::new();
    let run = gate.one("vanilla");
    let baseline = gate.baseline(&run, Tolerance::Absolute(0.1));
    let failing = |baseline: &Baseline, runs: &Path| -> String {
        let outcome = compared(baseline, runs);
        assert!(outcome.lines.iter().all(|line| line.verdict == Verdict::Fail), "{}", show::markdown(&outcome));
        reasons(&outcome)[0].to_owned()
    };
    let mut other = baseline.clone();
    other.entries[0].seeds = vec![4];
    assert_eq!(failing(&other, &run), "no run with seed 4");
    for name in ["data", "encoder"] {
        let mut other = baseline.clone();
        other.entries[0].fingerprints.insert(name.to_owned(), "old".to_owned());
        let reason = failing(&other, &run);
        assert!(reason.contains(&format!("the fingerprint `{name}` changed from `old` to `")), "{reason}");
    }
    // A metric that the runs leave undefined.
    let mut other = baseline.clone();
    let line = other.entries[0].metrics["last_micro_f1"].clone();
    other.entries[0].metrics = [("last_nonsense".to_owned(), line)].into();
    assert!(failing(&other, &run).contains("does not know the metric"));
    let path = run.join("result.json");
    let stored = fs_err::read_to_string(&path).unwrap();
    let mut doctored: Value = serde_json::from_str(&stored).unwrap();
    doctored["continual"]["forgetting_chaudhry18"] = (-1.0).into();
    fs_err::write(&path, doctored.to_string()).unwrap();
    let reason = failing(&baseline, &run);
    let said = "`continual.forgetting_chaudhry18` is -1.0 in result.json, and the predictions give ";
    assert!(reason.contains(said), "{reason}");
    doctored["continual"]["forgetting_chaudhry18"] = "undefined: no".into();
    fs_err::write(&path, doctored.to_string()).unwrap();
    assert!(failing(&baseline, &run).contains("forgetting_chaudhry18` is \"undefined: no\""));
    // Not only the metrics of a baseline are compared.
    let mut doctored: Value = serde_json::from_str(&stored).unwrap();
    doctored["matrix"][0][0] = 0.125.into();
    fs_err::write(&path, doctored.to_string()).unwrap();
    assert!(failing(&baseline, &run).contains("`matrix[0][0]` is 0.125 in result.json"));
    fs_err::remove_file(&path).unwrap();
    assert!(failing(&baseline, &run).contains("not finished"));
    fs_err::write(&path, stored).unwrap();
    fs_err::write(run.join("stages/0/predictions.parquet"), "damaged").unwrap();
    assert!(compared(&baseline, &run).failed());
}

#[test]
fn the_command_updates_compares_and_tells_github() {
    let gate = Gate::new();
    gate.one("vanilla");
    gate.one("ewc");
    let update = ["--baseline", "b.json", "vanilla", "--update"];
    let (code, out, error) = gate.mkgc(&update, &[]);
    assert!(
        (code, out.as_str()) == (2, "") && error.contains("is new; give --tolerance or --standard-errors"),
        "{error}"
    );
    let (code, out, _) = gate.mkgc(&[&update[..], &["--tolerance", "0.01"]].concat(), &[]);
    assert!(code == 0 && out.contains("tiny-re × vanilla × cpu × last_micro_f1: - → 0."), "{out}");
    assert_eq!(gate.mkgc(&update, &[]).1, "", "the same runs and tolerances change nothing");
    let (code, table, error) = gate.mkgc(&["--baseline", "b.json", "vanilla", "ewc"], &[]);
    assert!(code == 0 && error.is_empty() && table.contains("7 passed, 0 gained, 0 failed"), "{table}{error}");
    assert!(table.contains("Not in the baseline: ewc."), "{table}");

    let mut baseline = Baseline::read(&gate.path("b.json")).unwrap();
    baseline.entries[0].metrics.get_mut("last_micro_f1").unwrap().expected = 1.5;
    baseline.entries[0].metrics.get_mut("last_macro_f1").unwrap().expected = -0.5;
    baseline.write(&gate.path("b.json")).unwrap();
    let (actions, summary) = (PathBuf::from("true"), gate.path("summary.md"));
    let github = [("GITHUB_ACTIONS", actions.as_path()), ("GITHUB_STEP_SUMMARY", &summary)];
    let (code, table, error) = gate.mkgc(&["--baseline", "b.json", ".", "--junit", "junit.xml"], &github);
    assert!(code == 1 && table.contains("**FAIL**: worse by"), "{table}");
    assert!(
        error.starts_with("::error title=mkgc gate::tiny-re × vanilla × cpu%0Alast_micro_f1: worse by "),
        "{error}"
    );
    assert!(error.contains("\n::notice title=mkgc gate::"), "{error}");
    assert!(fs_err::read_to_string(summary).unwrap().ends_with(&format!("{table}\n")));
    let xml = fs_err::read_to_string(gate.path("junit.xml")).unwrap();
    assert!(xml.contains("<testsuites name=\"mkgc gate\" tests=\"7\" failures=\"1\">"), "{xml}");
    assert!(xml.contains("<failure message=\"worse by ") && xml.contains("<system-out>better by "), "{xml}");
    assert_eq!(gate.mkgc(&["--baseline", "b.json", ".", "--strict-gain"], &[]).0, 1);

    let (_, changes, _) = gate.mkgc(&update, &[]);
    assert!(changes.lines().count() == 2 && changes.contains("last_micro_f1: 1.5000 ± 0.0100 → 0."), "{changes}");
}

#[test]
fn wrong_input_ends_with_exit_code_2_and_a_remedy() {
    let gate = Gate::new();
    let run = gate.one("vanilla");
    let wrong = |arguments: &[&str], message: &str| {
        let (code, out, error) = gate.mkgc(arguments, &[]);
        assert!((code, out.as_str()) == (2, "") && error.contains(message), "{code} {out} {error}");
    };
    wrong(&["--baseline", "b.json", "vanilla"], "make it with `mkgc gate --update`");
    fs_err::create_dir_all(gate.path("empty")).unwrap();
    wrong(&["--baseline", "b.json", "empty"], "holds no run.json");
    wrong(&["--baseline", "b.json", "vanilla", "--update", "--standard-errors", "2"], "needs two at least");
    wrong(&["--baseline", "b.json", "vanilla", "--update", "--tolerance=-1"], "must be 0 or a positive number");
    assert!(!gate.path("b.json").exists());
    let mut baseline = serde_json::to_value(gate.baseline(&run, Tolerance::Absolute(0.1))).unwrap();
    baseline["schema_version"] = 2.into();
    fs_err::write(gate.path("b.json"), baseline.to_string()).unwrap();
    wrong(&["--baseline", "b.json", "vanilla"], "schema_version is 2, this mkgc reads 1");
    train(gate.place.request("vanilla", "epochs = 1", &gate.path("again"))).unwrap();
    wrong(&["--baseline", "b.json", "vanilla", "again"], "is a second run of vanilla with seed 3");
}

#[test]
fn a_gate_that_cannot_fail_is_refused() {
    let gate = Gate::new();
    let run = gate.one("vanilla");
    let good = serde_json::to_value(gate.baseline(&run, Tolerance::Absolute(0.1))).unwrap();
    let metric = |value: &mut Value, key: &str, new: Value| value["entries"][0]["metrics"]["last_micro_f1"][key] = new;
    type Change<'a> = &'a dyn Fn(&mut Value);
    let alone = |value: &mut Value, key: &str, expected: f64, direction: &str| {
        let metric = json!({"expected": expected, "direction": direction, "tolerance": {"absolute": 0.9}});
        value["entries"][0]["metrics"] = json!({ key: metric });
    };
    let cases: [(&str, Change<'_>); 12] = [
        ("the worst scores would pass", &|value| alone(value, "forgetting_chaudhry18", 0.3, "lower_is_better")),
        ("the worst scores would pass", &|value| alone(value, "bwt_lopezpaz17", -0.5, "higher_is_better")),
        ("with these tolerances, the worst scores would pass", &|value| {
            for metric in value["entries"][0]["metrics"].as_object_mut().unwrap().values_mut() {
                metric["expected"] = metric["expected"].as_f64().unwrap().min(0.6).into();
                metric["tolerance"] = json!({"absolute": 0.7});
            }
        }),
        ("`entries` is empty, so the gate could never fail", &|value| value["entries"] = json!([])),
        ("last_micro_f1: a tolerance of 1 allows any score", &|value| {
            metric(value, "tolerance", json!({"absolute": 1}));
        }),
        ("last_micro_f1: a tolerance of 100 allows any", &|value| metric(value, "tolerance", json!({"absolute": 100}))),
        ("allows any score", &|value| {
            metric(value, "std", 0.5.into());
            metric(value, "tolerance", json!({"standard_errors": 3}));
        }),
        ("`direction` is the wrong way round", &|value| metric(value, "direction", "lower_is_better".into())),
        ("`seeds` names a seed twice", &|value| value["entries"][0]["seeds"] = json!([3, 3, 3])),
        ("is listed twice for cpu", &|value| {
            let entry = value["entries"][0].clone();
            value["entries"].as_array_mut().unwrap().push(entry);
        }),
        ("unknown key `tolerence` (did you mean `tolerance`?)", &|value| metric(value, "tolerence", 1.into())),
        ("key `seeds` is missing", &|value| drop(value["entries"][0].as_object_mut().unwrap().remove("seeds"))),
    ];
    for (message, change) in cases {
        let mut value = good.clone();
        change(&mut value);
        fs_err::write(gate.path("b.json"), value.to_string()).unwrap();
        let (code, out, error) = gate.mkgc(&["--baseline", "b.json", "vanilla"], &[]);
        assert!((code, out.as_str()) == (2, "") && error.contains(message), "{message}: {code} {out} {error}");
        assert!(error.contains("b.json: "), "{error}");
    }
    // The outcome of before does not stand for a gate that did not come to one.
    fs_err::write(gate.path("b.json"), "{").unwrap();
    fs_err::write(gate.path("j.xml"), "<testsuites failures=\"0\"/>").unwrap();
    let github = [("GITHUB_ACTIONS", Path::new("true"))];
    let (code, _, error) = gate.mkgc(&["--baseline", "b.json", "vanilla", "--junit", "j.xml"], &github);
    assert!(code == 2 && error.contains("::error title=mkgc gate::"), "{error}");
    let junit = fs_err::read_to_string(gate.path("j.xml")).unwrap();
    let junit = roxmltree::Document::parse(&junit).unwrap();
    let error = junit.descendants().find(|node| node.has_tag_name("error")).unwrap();
    assert!(error.attribute("message").unwrap().contains("b.json"));
    let args = ["--baseline", "b.json", "nowhere", "--junit", "j.xml"];
    assert_eq!(gate.mkgc(&args, &[]).0, 2);
    let junit = fs_err::read_to_string(gate.path("j.xml")).unwrap();
    assert!(junit.contains("b.json") && junit.contains("nowhere"), "{junit}");
    let (code, _, error) = gate.mkgc(&["--baseline", "new.json", "vanilla", "--update", "--tolerance", "1"], &[]);
    assert!(code == 2 && error.contains("allows any score") && !gate.path("new.json").exists(), "{error}");
}

/// A control row such as `majority` may score nothing at all, which any tolerance allows.
#[test]
fn a_baseline_of_zeros_is_none_that_cannot_fail() {
    let gate = Gate::new();
    let run = gate.one("vanilla");
    let mut baseline = serde_json::to_value(gate.baseline(&run, Tolerance::Absolute(0.1))).unwrap();
    for metric in baseline["entries"][0]["metrics"].as_object_mut().unwrap().values_mut() {
        metric["expected"] = 0.0.into();
    }
    fs_err::write(gate.path("b.json"), baseline.to_string()).unwrap();
    assert!(Baseline::read(&gate.path("b.json")).is_ok());
}

/// Records and baselines of older versions lack the hash of the tokenizer.
#[test]
fn runs_without_some_fingerprints_hide_no_difference_of_others() {
    let key = GateKey { benchmark: "b".into(), method: "emr".into(), device: "cpu".into() };
    let seen = |tokenizers: &[Option<&str>]| {
        let run = |(seed, tokenizer): (usize, &Option<&str>)| {
            let mut fingerprints = BTreeMap::from([("data".to_owned(), "d".to_owned())]);
            fingerprints.extend(tokenizer.map(|hash| ("encoder_tokenizer".to_owned(), hash.to_owned())));
            let folder = PathBuf::from(format!("run{seed}"));
            (seed as u64, ObservedScores { folder, fingerprints, values: Ok(Values::new()) })
        };
        let runs: BySeed = tokenizers.iter().enumerate().map(run).collect();
        Observations { runs: BTreeMap::from([(key.clone(), runs)]), unreadable: Vec::new() }
    };
    let mut baseline = update::update(None, &seen(&[None, Some("x"), None]), None).unwrap();
    assert_eq!(baseline.entries[0].fingerprints["encoder_tokenizer"], "x");
    let differing = seen(&[None, Some("x"), Some("y")]);
    let error = update::update(None, &differing, None).unwrap_err().to_string();
    assert!(error.contains("its runs differ in data or encoder"), "{error}");
    let entry = &mut baseline.entries[0];
    entry.fingerprints.remove("encoder_tokenizer");
    let (direction, tolerance) = (Direction::HigherIsBetter, Tolerance::Absolute(0.1));
    let expectation = Expectation { expected: 0.5, std: None, direction, tolerance };
    entry.metrics.insert("last_micro_f1".to_owned(), expectation);
    let outcome = check(&baseline, &differing, false);
    assert_eq!(reasons(&outcome), ["run2: the fingerprint `encoder_tokenizer` changed from `x` to `y`"]);
}

#[test]
fn xml_and_commands_escape_what_would_break_them() {
    let line = OutcomeLine {
        key: GateKey { benchmark: "a & b".to_owned(), method: "<x>".to_owned(), device: "cpu".to_owned() },
        metric: "last_micro_f1".to_owned(),
        expected: 1.0,
        observed: None,
        allowed: 0.0,
        verdict: Verdict::Fail,
        reason: "100 % \"worse\"".to_owned(),
    };
    let outcome = GateOutcome { lines: vec![line], unknown: vec![] };
    let xml = String::from_utf8(junit::xml(&outcome).unwrap()).unwrap();
    assert!(xml.contains("a &amp; b.&lt;x&gt;.cpu") && xml.contains("100 % &quot;worse&quot;"), "{xml}");
    assert!(show::annotations(&outcome)[0].ends_with("%0Alast_micro_f1: 100 %25 \"worse\""));
    // Names that XML forbids and Markdown would read as HTML.
    let mut strange = outcome;
    strange.lines[0].key.method = "<b>|\u{1b}[31m\0".to_owned();
    let xml = String::from_utf8(junit::xml(&strange).unwrap()).unwrap();
    roxmltree::Document::parse(&xml).unwrap();
    assert!(show::markdown(&strange).contains("| &lt;b>\\| [31m  |"), "{}", show::markdown(&strange));
}
