//! Sweeps with the real program: what is refused when a plan is read, and what becomes of runs that fail, crash, are
//! killed or interrupted.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::corpora::{Corpora, rows};
use mkgc_harness::sweep::{Plan, Sweep, SweepOverrides};

/// Settings with which a run takes a second.
const SHORT: &str = "settings = { epochs = 1, max_length = 16, batch_size = 4 }\n";

/// Settings with which a run takes minutes: whoever waits for it to learn a task finds it at work afterwards.
const LONG: &str = "settings = { epochs = 300, max_length = 16, batch_size = 1 }\n";

impl Corpora {
    fn plan(&self, text: &str) {
        fs_err::write(self.path("plan.toml"), text).unwrap();
    }

    fn sweep(&self, text: &str) -> mkgc_harness::error::Result<Sweep> {
        self.plan(text);
        let out = Some(self.path("out"));
        Sweep::new(&Plan::read(&self.path("plan.toml"))?, &SweepOverrides { out, ..SweepOverrides::default() })
    }

    fn names(&self, text: &str) -> Vec<String> {
        self.sweep(text).unwrap().runs.into_iter().map(|run| run.name).collect()
    }

    fn refusal(&self, text: &str) -> String {
        let error = self.sweep(text).unwrap_err().to_string();
        assert!(error.contains("plan.toml: "), "{error}");
        error
    }

    /// Starts a line without waiting for it; what it prints to stderr goes to `err.txt`.
    fn start(&self, line: &str) -> Child {
        let log = fs_err::File::create(self.path("err.txt")).unwrap().into_file();
        self.command(line).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn has_result(&self, run: &str) -> bool {
        self.path("out/runs").join(run).join("result.json").exists()
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    /// Counts how often a run has begun.
    fn begun(&self, run: &str) -> usize {
        self.read(&format!("out/logs/{run}.log")).matches("== run ").count()
    }
}

/// Waits until something is so.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(240), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the child processes of a process whose command line ends with `--run NUMBER`.
fn child_of(parent: u32, number: usize) -> Option<u32> {
    let process = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let ppid: u32 = stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()?;
        let line = String::from_utf8_lossy(&std::fs::read(path.join("cmdline")).ok()?).replace('\0', " ");
        let found = ppid == parent && line.trim_end().ends_with(&format!("--run {number}"));
        found.then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
    };
    std::fs::read_dir("/proc").unwrap().find_map(process)
}

fn signal(process: u32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success(), "{name} to {process}");
}

fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn remove_runs(place: &Corpora) {
    fs_err::remove_dir_all(place.path("out")).ok();
}

#[test]
fn a_plan_unfolds_to_benchmarks_times_methods_times_variants_times_encoders_times_seeds() {
    let place = Corpora::new();
    place.build();
    let text = "benchmarks = [\"data\"]\nmethods = [\"lmc\", \"emr\"]\nseeds = [1, 2]\nsettings = { shared_layers = 1 }\n\
                [[variants]]\nname = \"full\"\n[[variants]]\nname = \"short\"\nset = { epochs = 1 }\n";
    let names = place.names(text);
    assert_eq!(names[..3], ["small/lmc-full-seed1", "small/lmc-full-seed2", "small/lmc-short-seed1"]);
    assert_eq!(names.len(), 8);
    let sweep = place.sweep(text).unwrap();
    assert_eq!((sweep.runs[2].settings.config.epochs, sweep.runs[2].settings.config.train_seed), (1, 1));
    assert_eq!(sweep.runs[0].variant.as_deref(), Some("full"));
    assert_eq!(place.names("benchmarks = [\"data\"]\nmethods = [\"emr\"]"), ["small/emr-seed42"]);
    // A text method does not see which vision encoder stands beside its own.
    for folder in ["bert", "clip-s", "clip-l"] {
        fs_err::create_dir_all(place.path(folder)).unwrap();
    }
    let text = "benchmarks = [\"data\"]\nmethods = [\"concat\", \"emr\"]\n[[encoders]]\nname = \"s\"\ntext = \"bert\"\n\
                vision = \"clip-s\"\n[[encoders]]\nname = \"l\"\ntext = \"bert\"\nvision = \"clip-l\"\n[[encoders]]\n\
                name = \"t\"\nvision = \"clip-l\"\n";
    let sweep = place.sweep(text).unwrap();
    let names: Vec<&str> = sweep.runs.iter().map(|run| run.name.as_str()).collect();
    let expected = ["concat-s", "concat-l", "concat-t", "emr-s", "emr-t"];
    assert_eq!(names, expected.map(|name| format!("small/{name}-seed42")));
    assert_eq!(sweep.runs[4].encoder, "tiny");
    assert!(sweep.runs[0].encoder.ends_with("/bert") && sweep.runs[1].vision.ends_with("/clip-l"));
}

#[test]
fn wrong_plans_are_refused_when_they_are_read() {
    let place = Corpora::new();
    place.build();
    fs_err::create_dir_all(place.path("other")).unwrap();
    let variant = |name: &str, set: &str| format!("[[variants]]\nname = \"{name}\"\nset = {{ {set} }}\n");
    let encoders = |name: &str, text: &str| format!("[[encoders]]\nname = \"{name}\"\ntext = \"{text}\"\n");
    let base = "benchmarks = [\"data\"]\nmethods = [\"lmc\", \"emr\"]\nsettings = { shared_layers = 1 }\n";
    for (text, message) in [
        ("methods = [\"lcm\"]".to_owned(), "did you mean `lmc`"),
        ("methods = []".to_owned(), "at least one"),
        ("method = [\"lmc\"]".to_owned(), "line 1: `method`: unknown key `method` (did you mean `methods`?)"),
        ("methods = \"lmc\"".to_owned(), "`methods`: expected a list"),
        ("methods = [\"emr\"]".to_owned(), "there is no benchmark"),
        ("methods = [\"emr\", \"lmc\", \"emr\"]".to_owned(), "`methods` lists `emr` twice"),
        ("methods = [\"emr\"]\nseeds = [1, 1]".to_owned(), "`seeds` lists `1` twice"),
        (format!("{base}{}{}", variant("a", ""), variant("a", "epochs = 1")), "`variants` lists `a` twice"),
        (format!("{base}{}", variant("a/b", "")), "variant `a/b`: use letters"),
        (
            format!("{base}{}", variant("a", "lambada = 1")),
            "method `lmc`, variant `a`, on small: configuration key `lambada`",
        ),
        (format!("{base}{}", variant("a", "lambda = 1.0")), "`lambda`: emr does not read it"),
        (format!("{base}{}", variant("a", "epochs = 0")), "`epochs`: must be at least 1"),
        (
            base.replace("shared_layers = 1", "lr_encoder = \"x\""),
            "configuration key `lr_encoder`: expected a number, found the text \"x\"",
        ),
        (format!("{base}{}", variant("a", "train_seed = 3")), "variant `a`: `train_seed` clashes with `seeds`"),
        (format!("{base}{}{}", variant("a", ""), variant("b", "epochs = 50")), ""),
        (
            format!("{base}{}{}", variant("a", "epochs = 3"), variant("b", "epochs = 3")),
            "a-seed42 and small/lmc-b-seed42 are the same run",
        ),
        (
            format!("{base}seeds = [1]\n").replace("shared_layers", "key_size"),
            "`settings`: configuration key `key_size`: no method of the plan reads it",
        ),
        (format!("{base}tasks = 3\n").replace("settings = { shared_layers = 1 }\n", ""), "small has 2 tasks"),
        (
            format!("{base}orders = [1]\n").replace("settings = { shared_layers = 1 }\n", ""),
            "no benchmark of the plan has several orders",
        ),
        (base.replace("[\"data\"]", "[\"data\", \"./data\"]"), "are both called small"),
        (format!("{base}{}{}", encoders("a", "tiny"), encoders("b", "tiny")), "are the same run"),
        (format!("{base}{}{}", encoders("a", "tiny"), encoders("a", "other")), "`encoders` lists `a` twice"),
        (format!("{base}[[encoders]]\ntext = \"tiny\"\n[[encoders]]\ntext = \"other\"\n"), "needs a `name`"),
        (format!("{base}[[encoders]]\nname = \"a\"\n"), "needs `text`, `vision` or both"),
        (format!("{base}[[build]]\nprotocol = \"small.tml\"\nraw = \".\"\n"), "`build`: "),
        (
            format!("{base}[[build]]\nprotocol = \"small.toml\"\nraw = \"nowhere\"\n"),
            "nowhere is no folder with corpus files",
        ),
        (format!("{base}[[build]]\nprotocol = \"small.toml\"\nraw = \".\"\n"), "are both called small"),
        (
            "benchmarks = [\"data\"]\nmethods = [\"lmc\", \"lmc-replay\"]\nsettings = { shared_layers = 1 }\n"
                .to_owned()
                + &variant("replay-a", "epochs = 1")
                + &variant("a", "epochs = 2"),
            "share the folder small/lmc-replay-a-seed42; rename",
        ),
    ] {
        if message.is_empty() {
            assert_eq!(place.names(&text).len(), 4, "{text}");
        } else {
            let error = place.refusal(&text);
            assert!(error.contains(message), "{text}\n{error}");
        }
    }
    place.plan("benchmarks = [\"nowhere\"]\nmethods = [\"emr\"]");
    assert!(place.error("sweep plan.toml --out out").contains("nowhere: no such folder"));
    place.plan("benchmarks = [\"data\"]\nmethods = [\"emr\"]");
    assert!(place.error("sweep plan.toml").contains("give --out, or `out` in the plan"));
    assert!(place.error("sweep plan.toml --out out --set train_seed=1").contains("clashes with the seeds of the plan"));
    let error = place.error("sweep plan.toml --out out --set head=foo");
    let expected = "--set: method `emr`, on small: configuration key `head`: unknown value `foo`; known: markers, cls";
    assert!(error.contains(expected), "{error}");
    assert!(place.error("sweep plan.toml --out out --device gpu").contains("expected cpu, cuda"));
    assert!(place.error("sweep plan.toml --out out --checkpoint-every=-1").contains("give a number of minutes"));
    assert!(place.error("sweep plan.toml --out out --memory-per-run nan").contains("give a number of GiB above 0"));
    assert!(place.error("sweep plan.toml --out out --run 1").contains("the plan has 1 run, numbered from 0"));
    assert!(!place.path("out").exists(), "nothing is written before everything is right");
}

#[test]
fn a_dry_run_lists_the_runs_with_hashes_that_are_the_same_everywhere() {
    let place = Corpora::new();
    place.build();
    place.plan(&format!("benchmarks = [\"data\"]\nmethods = [\"vanilla\", \"emr\"]\nseeds = [1, 2]\n{SHORT}"));
    let list = place.ok("sweep plan.toml --dry-run");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 4, "{list}");
    assert!(rows.iter().enumerate().all(|(number, row)| row[0] == number.to_string() && row[1].len() == 16), "{list}");
    assert_eq!(rows[3][2], "small/emr-seed2");
    assert!(rows.iter().all(|row| rows.iter().filter(|other| other[1] == row[1]).count() == 1), "{list}");
    let other = place.ok("sweep plan.toml --dry-run --benchmark ./data --out elsewhere");
    assert_eq!(other, list, "paths are no part of a run's identity");
    let hashes = |list: &str| list.lines().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect::<Vec<_>>();
    let changed = place.ok("sweep plan.toml --dry-run --set memory_per_class=3");
    assert_eq!(hashes(&changed)[..2], hashes(&list)[..2], "vanilla stores nothing");
    assert_ne!(hashes(&changed)[2..], hashes(&list)[2..]);
    // The same in every release: a hash that changes makes lists of clusters useless.
    let (_, hash) = (rows[0][2], rows[0][1]);
    assert_eq!(hash, GOLDEN_HASH);
    assert!(!place.path("out").exists() && !place.path("elsewhere").exists());
}

/// Of `vanilla` with seed 1 on `small` with [`SHORT`].
const GOLDEN_HASH: &str = "442640e28b96450b";

#[test]
fn a_plan_builds_its_benchmarks_first_and_keeps_them() {
    let place = Corpora::new();
    let family = place.read("small.toml").split("[[tasks]]").next().unwrap().replace("small", "fam");
    fs_err::write(
        place.path("fam.toml"),
        format!(
            "{family}classes = [\"/per/per/peer\", \"/per/org/member_of\"]\nn_tasks = 2\norder_seeds = [1, 2, 3]\n"
        ),
    )
    .unwrap();
    let build = |orders: &str| {
        format!(
            "out = \"out\"\nmethods = [\"majority\"]\n{orders}\n[[build]]\nprotocol = \"fam.toml\"\nraw = \".\"\n[[build]]\nprotocol = \"small.toml\"\nraw = \".\"\n"
        )
    };
    place.plan(&build("orders = [1, 3]"));
    let list = place.ok("sweep plan.toml --dry-run");
    let names: Vec<&str> = list.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
    let expected = ["fam-order1/majority-seed42", "fam-order3/majority-seed42", "small/majority-seed42"];
    assert!(names == expected && !place.path("out").exists(), "{list}");
    place.plan(&build("orders = [4]"));
    assert!(place.error("sweep plan.toml").contains("`orders`: fam has no order 4; it has 1, 2, 3"));
    place.plan(&build("orders = [1, 3]"));
    let report = place.ok("sweep plan.toml");
    assert!(
        report.contains("fam-order3") && place.path("out/benchmarks/fam-order1/manifest.json").exists(),
        "{report}"
    );
    assert!(!place.path("out/benchmarks/fam-order2").exists());
    assert_eq!(place.ok("sweep plan.toml --dry-run"), list, "a built benchmark is the same as one to build");
    assert_eq!(place.ok("sweep plan.toml"), report);
    // The folder of a family stands for its orders, and for nothing else.
    place.plan("methods = [\"majority\"]\nbenchmarks = [\"out/benchmarks\"]\norders = [3]\n");
    let error = place.error("sweep plan.toml --dry-run");
    assert!(error.contains("fam-order1 and out/benchmarks/small are of different protocols"), "{error}");
    let [small, twin, first] = ["small", "twin", "aaa"].map(|name| place.path("out/benchmarks").join(name));
    fs_err::rename(&small, &first).unwrap();
    let error = place.error("sweep plan.toml --dry-run");
    assert!(error.contains("fam-order1 and out/benchmarks/aaa are of different protocols"), "{error}");
    fs_err::rename(&first, &small).unwrap();
    fs_err::rename(&small, place.path("away")).unwrap();
    assert!(place.ok("sweep plan.toml --dry-run").contains("fam-order3/majority-seed42"));
    fs_err::rename(place.path("out/benchmarks/fam-order1"), &twin).unwrap();
    fs_err::create_dir(place.path("out/benchmarks/fam-order1")).unwrap();
    fs_err::copy(twin.join("manifest.json"), place.path("out/benchmarks/fam-order1/manifest.json")).unwrap();
    let error = place.error("sweep plan.toml --dry-run");
    assert!(error.contains("fam-order1 and out/benchmarks/twin are the same order; name the folders"), "{error}");
    fs_err::remove_dir_all(place.path("out/benchmarks/fam-order1")).unwrap();
    fs_err::rename(&twin, place.path("out/benchmarks/fam-order1")).unwrap();
    place.plan("methods = [\"majority\"]\nbenchmarks = [\"out/benchmarks\"]\norders = [2]\n");
    assert!(place.error("sweep plan.toml --dry-run").contains("has no order 2; it has 1, 3"));
    fs_err::rename(place.path("away"), &small).unwrap();
    // What was built with other options is not what the plan builds.
    place.plan(&build("orders = [1, 3]").replace("raw = \".\"\n", "raw = \".\"\non_error = \"skip\"\n"));
    let error = place.error("sweep plan.toml");
    assert!(error.contains("another set of options than the plan names"), "{error}");
    // The note of the options is not about a benchmark that took the place of the one that was built.
    for name in ["fam-order1", "fam-order3", "small"] {
        let path = place.path(&format!("out/benchmarks/.{name}.identity"));
        let note = fs_err::read_to_string(&path).unwrap();
        fs_err::write(path, format!("0{note}")).unwrap();
    }
    place.ok("sweep plan.toml --dry-run");
    place.plan(&build("orders = [1, 3]"));
    fs_err::write(place.path("mnre_train.txt"), rows("train", 15)).unwrap();
    let error = place.error("sweep plan.toml");
    assert!(error.contains("mnre_train.txt than the plan names; delete the folder"), "{error}");
}

/// Two entries may give the orders of one protocol other options.
#[test]
fn orders_are_built_with_the_options_of_their_own_entry() {
    let place = Corpora::new();
    let family = place.read("small.toml").split("[[tasks]]").next().unwrap().replace("small", "fam");
    let classes = "classes = [\"/per/per/peer\", \"/per/org/member_of\"]\nn_tasks = 2\norder_seeds = [1, 2]\n";
    fs_err::write(place.path("fam.toml"), format!("{family}{classes}")).unwrap();
    place.plan(
        "out = \"out\"\nmethods = [\"majority\"]\n[[build]]\nprotocol = \"fam.toml\"\nraw = \".\"\norders = [1]\n\
         [[build]]\nprotocol = \"fam.toml\"\nraw = \".\"\norders = [2]\nas_published = true\n",
    );
    place.ok("sweep plan.toml");
    let published = |order: usize| {
        let manifest = place.read(&format!("out/benchmarks/fam-order{order}/manifest.json"));
        serde_json::from_str::<serde_json::Value>(&manifest).unwrap()["as_published"] == true
    };
    assert_eq!([published(1), published(2)], [false, true]);
}

/// A lock of another host may be that of a process that is gone, which nobody here can know.
#[test]
fn a_gap_names_the_process_of_another_host_and_a_damaged_lock_is_the_trouble_of_one_run() {
    let place = Corpora::new();
    place.build();
    place.plan("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"majority\"]\nseeds = [1, 2]\n");
    place.ok("sweep plan.toml");
    for (seed, lock) in [(1, "{\"host\": \"elsewhere\", \"pid\": 7, \"since\": 0}"), (2, "{")] {
        let folder = place.path(&format!("out/runs/small/majority-seed{seed}"));
        fs_err::remove_file(folder.join("result.json")).unwrap();
        fs_err::write(folder.join("lock.json"), lock).unwrap();
    }
    let (code, _, gaps) = place.mkgc("sweep plan.toml --report");
    assert_eq!(code, 1, "{gaps}");
    let held = "majority-seed1: is still running: process 7 on host elsewhere has worked on it since 1970-01-01";
    assert!(gaps.contains(held) && gaps.contains("delete out/runs/small/majority-seed1/lock.json"), "{gaps}");
    assert!(gaps.contains("majority-seed2: failed: out/runs/small/majority-seed2/lock.json: "), "{gaps}");
    assert!(place.ok("sweep plan.toml --status").contains("0 of 2 runs finished, 1 running, 1 failed"));
    // A run in another process has not failed.
    let (code, _, err) = place.mkgc("sweep plan.toml");
    assert!(
        code == 2 && err.contains("2 of 2 runs have no result (1 running, 1 failed)") && err.contains(held),
        "{err}"
    );
    fs_err::remove_dir_all(place.path("out/runs/small/majority-seed2")).unwrap();
    let (code, _, err) = place.mkgc("sweep plan.toml");
    assert!(code == 2 && err.contains("1 of 2 runs have no result (1 running)"), "{err}");
    assert!(!err.contains("--retry-failed"), "{err}");
}

/// A log that cannot be written is the trouble of one run.
#[test]
fn a_run_that_cannot_be_started_takes_no_other_down() {
    let place = Corpora::new();
    place.build();
    place.plan("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"majority\"]\nseeds = [1, 2, 3]\n");
    fs_err::create_dir_all(place.path("out/logs/small/majority-seed2.log")).unwrap();
    let (code, _, err) = place.mkgc("sweep plan.toml --jobs 2");
    assert!(code == 2 && err.contains("majority-seed2: the process could not be started"), "{err}");
    assert_eq!([1, 2, 3].map(|seed| place.has_result(&format!("small/majority-seed{seed}"))), [true, false, true]);
    // The next sweep also clears up behind a process that was killed between its result and its checkpoint.
    let left = place.path("out/runs/small/majority-seed1/checkpoint");
    fs_err::create_dir(&left).unwrap();
    fs_err::remove_dir(place.path("out/logs/small/majority-seed2.log")).unwrap();
    place.ok("sweep plan.toml --jobs 2 --retry-failed");
    assert!(place.has_result("small/majority-seed2") && !left.exists());
}

/// What the plan says is checked before anything is built.
#[test]
fn long_names_are_refused_when_the_plan_is_read() {
    let place = Corpora::new();
    place.build();
    let plan = |rest: &str| {
        place.plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\"]\n{rest}"));
        place.error("sweep plan.toml --dry-run")
    };
    let error = plan(&format!("[[variants]]\nname = \"{}\"\n", "v".repeat(300)));
    assert!(error.contains("is too long for the name of a file"), "{error}");
}

#[test]
fn a_single_run_is_made_by_its_number_or_that_of_a_cluster() {
    let place = Corpora::new();
    place.build();
    place.plan(&format!(
        "benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\", \"majority\"]\nseeds = [1, 2]\n{SHORT}"
    ));
    place.ok("sweep plan.toml --run 1");
    let cluster = |name: &str, value: &str, line: &str| {
        let output = place.command(line).env(name, value).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(cluster("SLURM_ARRAY_TASK_ID", "0", "sweep plan.toml --run --offset 2").0, 0);
    assert_eq!(cluster("JOB_COMPLETION_INDEX", "3", "sweep plan.toml --run").0, 0);
    let made = ["vanilla-seed1", "vanilla-seed2", "majority-seed1", "majority-seed2"];
    assert_eq!(made.map(|run| place.has_result(&format!("small/{run}"))), [false, true, true, true]);
    assert!(cluster("SLURM_ARRAY_TASK_ID", "x", "sweep plan.toml --run").1.contains("SLURM_ARRAY_TASK_ID is `x`"));
    assert!(cluster("A", "b", "sweep plan.toml --run").1.contains("--run needs a number"));
    let (code, report, gaps) = place.mkgc("sweep plan.toml --report");
    assert!(code == 1 && report.contains("| vanilla | 1 |"), "{report}");
    let expected = "1 of 4 runs have no result (1 waiting):\nsmall/vanilla-seed1: has not begun";
    assert!(gaps.contains(expected), "{gaps}");
    assert!(place.ok("sweep plan.toml --status").contains("3 of 4 runs finished, 1 waiting"));
    place.ok("sweep plan.toml --jobs 2");
    assert_eq!(place.begun("small/vanilla-seed1"), 1);
    assert!(!place.path("out/logs/small/majority-seed1.log").exists(), "finished runs are skipped");
    place.ok("sweep plan.toml --report");
}

/// LMC shares more layers than the tiny encoder has.
#[test]
fn a_failed_run_is_left_alone_until_it_is_to_be_made_again() {
    let place = Corpora::new();
    place.build();
    place.plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"lmc\", \"vanilla\"]\n{SHORT}"));
    let (code, report, err) = place.mkgc("sweep plan.toml --jobs 2");
    assert!(code == 2 && report.contains("| vanilla | 1 |"), "{err}");
    assert!(
        err.contains("1 of 2 runs have no result (1 failed)") && err.contains("lmc-seed42: failed: shared_layers is 3"),
        "{err}"
    );
    assert!(err.contains("(see out/logs/small/lmc-seed42.log)") && err.contains("--retry-failed"), "{err}");
    let (code, _, err) = place.mkgc("sweep plan.toml");
    assert!(code == 2 && err.contains("shared_layers is 3"), "{err}");
    assert_eq!((place.begun("small/lmc-seed42"), place.begun("small/vanilla-seed42")), (1, 1));
    let status = place.ok("sweep plan.toml --status");
    let line = status.lines().find(|line| line.contains("small/lmc-seed42: ")).unwrap();
    assert!(line.contains("failed") && line.contains("shared_layers is 3"), "{status}");
    assert!(status.contains("see out/logs/small/lmc-seed42.log") && status.contains("1 of 2 runs finished, 1 failed"));
    let (code, report, gaps) = place.mkgc("sweep plan.toml --report");
    assert!(code == 1 && gaps.contains("small/lmc-seed42: failed: shared_layers is 3"), "{gaps}");
    assert!(report.contains("shared_layers is 3"), "the gap is part of the report: {report}");
    let (code, _, err) = place.mkgc("sweep plan.toml --retry-failed");
    assert!(code == 2 && place.begun("small/lmc-seed42") == 2, "{err}");
    // With a setting that the network can have, it is another attempt at the same folder.
    place.ok("sweep plan.toml --retry-failed --set shared_layers=1");
    assert!(place.has_result("small/lmc-seed42") && !place.path("out/logs/small/lmc-seed42.failure.json").exists());
}

/// A plan of one short run of Vanilla, and its folder.
fn short(place: &Corpora) -> std::path::PathBuf {
    place.build();
    place.plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\"]\n{SHORT}"));
    place.path("out/runs/small/vanilla-seed42")
}

/// What is wrong is the machine, not the run.
#[test]
fn a_run_that_met_a_full_disk_goes_on_with_the_same_command() {
    let place = Corpora::new();
    let run = short(&place);
    place.ok("sweep plan.toml");
    fs_err::remove_file(run.join("result.json")).unwrap();
    let full = "run/a.safetensors: cannot be written: the disk is full; free some space and give the same command again, which \
                goes on";
    let failure = serde_json::json!({"schema_version": 4, "code_version": "0", "tasks_learned": 1, "error": [full]});
    fs_err::write(run.join("failure.json"), failure.to_string()).unwrap();
    let status = place.ok("sweep plan.toml --status");
    assert!(
        status.contains("0 of 1 runs finished") && status.contains("disk is full") && !status.contains("1 failed"),
        "{status}"
    );
    place.ok("sweep plan.toml");
    assert!(place.has_result("small/vanilla-seed42") && !run.join("failure.json").exists());
}

/// What is wrong is the command, not the run.
#[test]
fn a_run_that_was_asked_for_with_other_settings_still_goes_on_with_its_own() {
    let place = Corpora::new();
    let run = short(&place);
    place.ok("sweep plan.toml");
    fs_err::remove_file(run.join("result.json")).unwrap();
    let refusal = "was started with another configuration (epochs 1, now 7)";
    for line in ["sweep plan.toml --set epochs=7 --retry-failed", "sweep plan.toml --set epochs=7 --run 0"] {
        let (code, _, err) = place.mkgc(line);
        assert!(code == 2 && err.contains(refusal), "{err}");
    }
    let status = place.ok("sweep plan.toml --set epochs=7 --status");
    assert!(status.contains(refusal) && status.contains("1 failed"), "{status}");
    // So it is with what only the run's own process finds.
    let record = place.read("out/runs/small/vanilla-seed42/run.json");
    let other = record.replacen("\"code_version\": \"", "\"code_version\": \"0.0.", 1);
    fs_err::write(run.join("run.json"), other).unwrap();
    let (code, _, err) = place.mkgc("sweep plan.toml");
    assert!(code == 2 && err.contains("did not go on: error: run ") && err.contains("another mkgc version"), "{err}");
    assert!(err.contains("1 of 1 runs have no result (1 interrupted)"), "{err}");
    fs_err::write(run.join("run.json"), record).unwrap();
    assert!(!place.path("out/logs/small/vanilla-seed42.failure.json").exists());
    assert!(place.ok("sweep plan.toml --status").contains("0 of 1 runs finished, 1 interrupted"));
    place.ok("sweep plan.toml");
    assert!(run.join("result.json").exists());
}

/// A folder whose files are damaged is failed for every command, and what all of them advise works.
#[test]
fn damage_of_a_finished_run_is_told_alike_and_its_remedy_works() {
    let place = Corpora::new();
    let run = short(&place);
    let remedy = "restore the file, or delete the folder and make the run again";
    for (damage, cause) in [
        ("result.json", "result.json: line 1: is not JSON"),
        ("stages", "stages/0/predictions.parquet: is missing; "),
        ("stages/1/predictions.parquet", "predictions.parquet: is no whole Parquet file; "),
    ] {
        place.ok("sweep plan.toml");
        match damage {
            "stages" => fs_err::remove_dir_all(run.join(damage)).unwrap(),
            file => fs_err::write(run.join(file), "x").unwrap(),
        }
        // Whether predictions can be read is found when they are.
        let known =
            if damage.ends_with("parquet") { "1 of 1 runs finished\n" } else { "0 of 1 runs finished, 1 failed" };
        let status = place.ok("sweep plan.toml --status");
        assert!(status.contains(known) && (!known.contains("failed") || status.contains(cause)), "{status}");
        for (line, expected) in
            [("sweep plan.toml", 2), ("sweep plan.toml --retry-failed", 2), ("sweep plan.toml --report", 1)]
        {
            let (code, _, err) = place.mkgc(line);
            assert!(err.contains("1 of 1 runs have no result (1 failed)"), "{line}: {err}");
            assert!(code == expected && err.contains(cause) && err.contains(remedy), "{line}: {err}");
        }
        if !damage.ends_with("parquet") {
            let line = "train data --method vanilla --set epochs=1 --set max_length=16 --set batch_size=4 --out \
                        out/runs/small/vanilla-seed42";
            let err = place.error(line);
            assert!(err.contains(cause) && err.contains(remedy), "{err}");
        }
        fs_err::remove_dir_all(&run).unwrap();
    }
    place.ok("sweep plan.toml");
}

#[test]
fn the_status_after_a_plan_has_changed_says_what_is_so() {
    let place = Corpora::new();
    let run = short(&place);
    let plan = place.read("plan.toml");
    // A run that failed before it learned anything goes on with other settings.
    place.plan(&plan.replace("epochs = 1", "epochs = 20, lr_encoder = 1e30"));
    let (code, _, err) = place.mkgc("sweep plan.toml");
    assert!(code == 2 && err.contains("the training loss became"), "{err}");
    place.plan(&plan);
    for line in ["sweep plan.toml --status", "sweep plan.toml --report"] {
        let (_, out, err) = place.mkgc(line);
        let told = out + &err;
        assert!(told.contains("the training loss became") && !told.contains("was started with another"), "{told}");
    }
    place.ok("sweep plan.toml --retry-failed");
    // A finished one does not, and is told with the keys that have changed.
    place.plan(&plan.replace("epochs = 1", "epochs = 2"));
    let status = place.ok("sweep plan.toml --status");
    assert!(status.contains("was started with another configuration (epochs 1, now 2), on which"), "{status}");
    // Nor does it become one of fewer tasks.
    place.plan(&format!("tasks = 1\n{plan}"));
    for line in ["sweep plan.toml --status", "sweep plan.toml", "sweep plan.toml --report"] {
        let (_, out, err) = place.mkgc(line);
        let told = out + &err;
        let expected = "has learned 2 tasks already, and is asked to stop after 1; choose another --out";
        assert!(told.contains(expected), "{told}");
    }
    place.plan(&plan);
    place.ok("sweep plan.toml");
    assert!(run.join("result.json").exists() && place.begun("small/vanilla-seed42") == 2);
}

#[test]
fn flags_win_over_the_plan() {
    let place = Corpora::new();
    place.build();
    fs_err::write(place.path("recipe.toml"), "epochs = 4\nlr_head = 0.5\n").unwrap();
    fs_err::write(place.path("flags.toml"), "epochs = 5\n").unwrap();
    let text = "out = \"planned\"\nbenchmarks = [\"nowhere\"]\nmethods = [\"vanilla\"]\nrecipe = \"recipe.toml\"\n\
                device = \"cuda:7\"\ndtype = \"bf16\"\nsettings = { batch_size = 3, clip_norm = 7.0 }\n[[encoders]]\ntext = \"nowhere\"\n";
    place.plan(text);
    let plan = Plan::read(&place.path("plan.toml")).unwrap();
    let flags = SweepOverrides {
        benchmarks: vec![place.path("data")],
        out: Some(place.path("given")),
        encoder: Some("tiny".to_owned()),
        recipe: Some(place.path("flags.toml")),
        device: Some("cpu".to_owned()),
        dtype: Some("f32".to_owned()),
        settings: toml::from_str("batch_size = 2").unwrap(),
        ..SweepOverrides::default()
    };
    let sweep = Sweep::new(&plan, &flags).unwrap();
    let run = &sweep.runs[0];
    let config = &run.settings.config;
    assert_eq!((config.epochs, config.batch_size, config.clip_norm), (5, 2, 7.0));
    assert_eq!((run.encoder.as_str(), sweep.device.as_str(), sweep.dtype.as_str()), ("tiny", "cpu", "f32"));
    assert_eq!(sweep.out().unwrap(), place.path("given"));
    let planned = SweepOverrides { benchmarks: vec![place.path("data")], ..SweepOverrides::default() };
    let sweep = Sweep::new(&plan, &planned).unwrap();
    let config = &sweep.runs[0].settings.config;
    assert_eq!((config.epochs, config.batch_size, config.lr_head), (4, 3, 0.5));
    assert_eq!((sweep.device.as_str(), sweep.dtype.as_str()), ("cuda:7", "bf16"));
    assert_eq!(sweep.out().unwrap(), place.path("planned"));
}

#[test]
fn a_plan_keeps_the_networks_of_its_runs() {
    let place = Corpora::new();
    place.build();
    let plan = |which: &str| {
        format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\"]\nsave_model = \"{which}\"\n{SHORT}")
    };
    place.plan(&plan("first"));
    let error = place.error("sweep plan.toml");
    assert!(error.contains("`save_model`: unknown value `first`; known: last, every"), "{error}");
    place.plan(&plan("every"));
    let every = place.ok("sweep plan.toml --dry-run");
    place.plan(&plan("last"));
    assert_eq!(place.ok("sweep plan.toml --dry-run"), every, "what is kept changes no number");
    place.ok("sweep plan.toml");
    let run = place.path("out/runs/small/vanilla-seed42");
    assert!(run.join("model/model.safetensors").exists() && !run.join("stages/0/model").exists());
}

#[test]
fn shipped_plans_are_valid() {
    let place = Corpora::new();
    let given = SweepOverrides { benchmarks: vec![place.build()], ..SweepOverrides::default() };
    for entry in fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plans")).unwrap() {
        let plan = Plan::read(&entry.unwrap().path()).unwrap();
        assert!(!Sweep::new(&plan, &given).unwrap().runs.is_empty());
    }
}

#[cfg(target_os = "linux")]
mod signals {
    use super::*;

    /// A long run beside a short one.
    fn long_and_short(place: &Corpora) {
        place.build();
        place.plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\", \"majority\"]\n{LONG}"));
    }

    /// Starts a sweep and waits until its long run has learned a task; returns the process of that run.
    fn at_work(place: &Corpora, sweep: &Child) -> u32 {
        let learned = place.path("out/runs/small/vanilla-seed42/stages/0/predictions.parquet");
        wait("the long run has learned a task", || learned.exists());
        child_of(sweep.id(), 0).unwrap()
    }

    fn ended(mut sweep: Child) -> i32 {
        sweep.wait().unwrap().code().unwrap()
    }

    #[test]
    fn a_crash_takes_no_other_run_down() {
        let place = Corpora::new();
        long_and_short(&place);
        let sweep = place.start("sweep plan.toml --jobs 2");
        signal(at_work(&place, &sweep), "ABRT");
        assert_eq!(ended(sweep), 2);
        assert!(place.has_result("small/majority-seed42"));
        let err = place.read("err.txt");
        assert!(err.contains("small/vanilla-seed42: failed: the process crashed (SIGABRT)"), "{err}");
        let (code, _, gaps) = place.mkgc("sweep plan.toml --report");
        assert!(code == 1 && gaps.contains("crashed (SIGABRT) (see out/logs/small/vanilla-seed42.log)"), "{gaps}");
        let (code, _, _) = place.mkgc("sweep plan.toml");
        assert_eq!((code, place.begun("small/vanilla-seed42")), (2, 1), "what crashed is not made again unasked");
    }

    #[test]
    fn the_report_is_renewed_while_runs_go_on() {
        let place = Corpora::new();
        long_and_short(&place);
        let mut sweep = place.start("sweep plan.toml --jobs 2");
        let page = place.path("out/report/report.html");
        wait("the short run is in the report", || page.exists());
        let page = fs_err::read_to_string(page).unwrap();
        assert!(page.contains("majority") && page.contains("is still running: process "), "{page}");
        assert!(sweep.try_wait().unwrap().is_none() && !place.has_result("small/vanilla-seed42"));
        signal(sweep.id(), "TERM");
        assert_eq!(ended(sweep), 75);
    }

    /// Returns the command of a line with a copy of the program, the file `mkgc`.
    fn copied(place: &Corpora, line: &str) -> std::process::Command {
        let original = place.command(line);
        let program = place.path("mkgc");
        fs_err::copy(original.get_program(), &program).unwrap();
        let mut command = std::process::Command::new(program);
        command.args(original.get_args()).current_dir(place.path("."));
        command.envs(original.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let log = fs_err::File::create(place.path("err.txt")).unwrap().into_file();
        command.stdout(Stdio::null()).stderr(log);
        command
    }

    /// The trouble is the machine's, not that of the run whose turn it is.
    #[test]
    fn where_no_process_can_be_started_runs_in_training_save_and_the_others_wait() {
        use std::os::unix::fs::PermissionsExt;

        let place = Corpora::new();
        place.build();
        let methods = "methods = [\"vanilla\", \"majority\"]\nseeds = [42, 43]\n";
        place.plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\n{methods}{LONG}"));
        let sweep = copied(&place, "sweep plan.toml --jobs 2").spawn().unwrap();
        let first = at_work(&place, &sweep);
        let executable = |mode| fs_err::set_permissions(place.path("mkgc"), PermissionsExt::from_mode(mode)).unwrap();
        executable(0o644);
        signal(child_of(sweep.id(), 1).unwrap(), "KILL");
        assert_eq!(ended(sweep), 2);
        assert!(!is_alive(first), "the sweep ended before its runs");
        let err = place.read("err.txt");
        assert!(err.contains("cannot start `") && err.contains("mkgc`: you may not do this"), "{err}");
        let status = place.ok("sweep plan.toml --status");
        assert!(status.contains("0 of 4 runs finished, 2 waiting, 2 interrupted"), "{status}");
        assert!(place.path("out/runs/small/vanilla-seed42/checkpoint").exists());
    }

    /// An upgrade replaces the file of the program while a sweep works.
    #[test]
    fn a_sweep_goes_on_with_the_program_that_it_began_with() {
        let place = Corpora::new();
        place.build();
        place
            .plan(&format!("benchmarks = [\"data\"]\nout = \"out\"\nmethods = [\"vanilla\"]\nseeds = [1, 2]\n{SHORT}"));
        let sweep = copied(&place, "sweep plan.toml").spawn().unwrap();
        wait("the first run has begun", || place.path("out/runs/small/vanilla-seed1/run.json").exists());
        fs_err::write(place.path("other"), "another version").unwrap();
        fs_err::rename(place.path("other"), place.path("mkgc")).unwrap();
        assert_eq!(ended(sweep), 0);
        assert!(place.has_result("small/vanilla-seed1") && place.has_result("small/vanilla-seed2"));
    }

    #[test]
    fn a_killed_run_goes_on_with_the_next_sweep_and_ends_in_the_same_bytes() {
        let place = Corpora::new();
        long_and_short(&place);
        let sweep = place.start("sweep plan.toml --jobs 2");
        signal(at_work(&place, &sweep), "KILL");
        assert_eq!(ended(sweep), 2);
        let err = place.read("err.txt");
        assert!(
            err.contains("1 of 2 runs have no result (1 interrupted)")
                && err.contains("is unfinished: stopped after 1 of 2 tasks")
                && err.contains("was killed (SIGKILL)"),
            "{err}"
        );
        assert!(place.ok("sweep plan.toml --status").contains("interrupted      1/2"));
        place.ok("sweep plan.toml");
        assert_eq!((place.begun("small/vanilla-seed42"), place.begun("small/majority-seed42")), (2, 1));
        place.ok("sweep plan.toml --out undisturbed");
        let result = "runs/small/vanilla-seed42/result.json";
        assert_eq!(place.read(&format!("out/{result}")), place.read(&format!("undisturbed/{result}")));
    }

    #[test]
    fn an_interrupted_sweep_stops_its_runs_and_goes_on() {
        let place = Corpora::new();
        long_and_short(&place);
        for name in ["INT", "TERM"] {
            remove_runs(&place);
            let sweep = place.start("sweep plan.toml --jobs 2");
            let child = at_work(&place, &sweep);
            signal(sweep.id(), name);
            assert_eq!(ended(sweep), 75, "{name}: {}", place.read("err.txt"));
            wait("the run has stopped", || !is_alive(child));
            assert!(!place.has_result("small/vanilla-seed42"));
            assert!(place.ok("sweep plan.toml --status").contains("1 of 2 runs finished, 1 interrupted"));
        }
        place.ok("sweep plan.toml");
        assert_eq!(place.begun("small/vanilla-seed42"), 2);
    }

    #[test]
    fn runs_stop_when_their_sweep_is_killed() {
        let place = Corpora::new();
        long_and_short(&place);
        let mut sweep = place.start("sweep plan.toml");
        let child = at_work(&place, &sweep);
        signal(sweep.id(), "KILL");
        sweep.wait().unwrap();
        wait("the run has noticed", || !is_alive(child));
        assert!(place.read("out/logs/small/vanilla-seed42.log").contains("the sweep that started this run is gone"));
    }

    #[test]
    fn a_sweep_under_nohup_outlives_its_terminal() {
        let place = Corpora::new();
        long_and_short(&place);
        let sweep = place.command("sweep plan.toml");
        let mut nohup = std::process::Command::new("sh");
        nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(sweep.get_program()).args(sweep.get_args());
        nohup.envs(sweep.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(place.path("."));
        let log = fs_err::File::create(place.path("err.txt")).unwrap().into_file();
        let sweep = nohup.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        at_work(&place, &sweep);
        signal(sweep.id(), "HUP");
        std::thread::sleep(Duration::from_secs(1));
        assert!(!place.read("err.txt").contains("stopping"), "{}", place.read("err.txt"));
        signal(sweep.id(), "TERM");
        assert_eq!(ended(sweep), 75);
        assert!(place.read("err.txt").contains("stopping"));
    }

    #[test]
    fn threads_are_shared_out() {
        let place = Corpora::new();
        long_and_short(&place);
        let line = "sweep plan.toml --jobs 3";
        let mut sweep = place.command(line).env("RAYON_NUM_THREADS", "8").stdout(Stdio::null()).spawn().unwrap();
        let child = at_work(&place, &sweep);
        let environment = std::fs::read(Path::new("/proc").join(child.to_string()).join("environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.split('\0').any(|variable| variable == "RAYON_NUM_THREADS=3"), "{environment}");
        signal(sweep.id(), "TERM");
        sweep.wait().unwrap();
    }
}
