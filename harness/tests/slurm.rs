//! `mkgc sweep --slurm` against stand-ins for Slurm's commands. `tools/slurm/check` runs it on real daemons.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::corpora::Corpora;

/// Stand-ins that note how they are called: sbatch numbers its jobs, squeue lists the file `queue`.
const COMMANDS: [(&str, &str); 4] = [
    ("scontrol", "echo \"MaxJobCount = 10000\"; echo \"MaxArraySize            = 4\""),
    ("squeue", "cat \"$SLURM_HERE/queue\""),
    ("scancel", "echo \"$@\" >> \"$SLURM_HERE/cancelled\""),
    (
        "sbatch",
        "[[ $(wc -l < \"$SLURM_HERE/calls\") -lt ${SLURM_LIMIT:-99} ]] || { echo \"no more jobs\" >&2; exit 1; }
printf '%s\\n' \"$*\" >> \"$SLURM_HERE/calls\"; wc -l < \"$SLURM_HERE/calls\"",
    ),
];

const PLAN: &str = "benchmarks = [\"data\"]\nmethods = [\"majority\", \"vanilla\"]\nseeds = [1, 2, 3]\nout = \"out\"\nsettings = { epochs = 1 }\n";

struct Cluster(Corpora);

impl Cluster {
    fn new() -> Self {
        let corpora = Corpora::new();
        corpora.build();
        fs_err::write(corpora.path("plan.toml"), PLAN).unwrap();
        for file in ["queue", "calls"] {
            fs_err::write(corpora.path(file), "").unwrap();
        }
        fs_err::create_dir(corpora.path("bin")).unwrap();
        for (name, body) in COMMANDS {
            let path = corpora.path("bin").join(name);
            fs_err::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(corpora)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.0.command(line);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.0.path("bin").display()));
        command.env("SLURM_HERE", self.0.path("."));
        command
    }

    fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.0.path(name)).unwrap()
    }
}

#[test]
fn arrays_stay_within_the_limit_and_the_report_waits_for_all() {
    let cluster = Cluster::new();
    cluster.ok("sweep plan.toml --slurm --jobs 3 --gres gpu:1 --sbatch-arg=--time=60 --sbatch-arg -A --sbatch-arg me");
    let calls = cluster.read("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 3, "six runs are two arrays, and the report is a third job: {calls:#?}");
    for (call, array, offset) in [(calls[0], "--array=0-2%2", "array.sh 0"), (calls[1], "--array=0-2%1", "array.sh 3")]
    {
        let wanted = ["--requeue", "--signal=B:USR1@120", "--gres=gpu:1", "--time=60 -A me", array];
        assert!(wanted.iter().all(|part| call.contains(part)) && call.ends_with(offset), "{call}");
    }
    assert!(calls[2].contains("--dependency=afterany:1:2") && calls[2].ends_with("merge.sh"), "{}", calls[2]);
    assert!(!calls[2].contains("--gres"), "the report needs no GPU: {}", calls[2]);
    let list = cluster.read("out/slurm/001/runs.tsv");
    assert_eq!(list, cluster.ok("sweep plan.toml --dry-run"), "the list is that of the plan");
}

#[test]
fn a_second_submission_leaves_queued_runs_alone() {
    let cluster = Cluster::new();
    cluster.ok("sweep plan.toml --slurm");
    fs_err::write(cluster.0.path("queue"), "1 0\n1 2\n2 1\n77 0\n").unwrap();
    let told = cluster.ok("sweep plan.toml --slurm");
    assert!(told.contains("submitted 3 runs (3 are in the queue already)"), "{told}");
    let list = cluster.read("out/slurm/002/runs.tsv");
    let numbers: Vec<&str> = list.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "3", "5"]);
    let last = cluster.read("calls").lines().last().unwrap().to_owned();
    assert!(last.contains("--dependency=afterany:4:1:2"), "the report waits for what is queued, too: {last}");
    assert_eq!(cluster.read("cancelled"), "--state=PENDING 3\n", "the first report would come too early");
}

#[test]
fn a_refusal_half_way_can_be_repeated() {
    let cluster = Cluster::new();
    let mut command = cluster.command("sweep plan.toml --slurm");
    let output = command.env("SLURM_LIMIT", "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no more jobs") && said.contains("submitted before that: 1; the same command"), "{said}");
    fs_err::write(cluster.0.path("queue"), "1 0\n1 1\n1 2\n").unwrap();
    cluster.ok("sweep plan.toml --slurm");
    assert_eq!(cluster.read("out/slurm/002/runs.tsv").lines().count(), 3);
}

#[test]
fn the_same_command_submits_a_report_that_was_refused() {
    let cluster = Cluster::new();
    let output = cluster.command("sweep plan.toml --slurm").env("SLURM_LIMIT", "2").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("submitted before that: 1, 2; the same command"),
        "{said}"
    );
    fs_err::write(cluster.0.path("queue"), "1 0\n1 1\n1 2\n2 0\n2 1\n2 2\n").unwrap();
    let told = cluster.ok("sweep plan.toml --slurm");
    assert!(told.contains("6 are in the queue already") && told.contains("job 3 writes the report to "), "{told}");
    let last = cluster.read("calls").lines().last().unwrap().to_owned();
    assert!(last.contains("--dependency=afterany:1:2") && last.ends_with("slurm/001/merge.sh"), "{last}");
    assert!(!cluster.ok("sweep plan.toml --slurm").contains("writes the report"), "once is enough");
    assert_eq!(cluster.read("calls").lines().count(), 3);
}

#[test]
fn tasks_make_the_runs_of_their_list_and_notice_another_plan() {
    let cluster = Cluster::new();
    cluster.ok("sweep plan.toml --slurm");
    let task = |index: &str| {
        let mut task = Command::new("bash");
        task.arg(cluster.0.path("out/slurm/001/array.sh")).arg("3").current_dir("/");
        task.envs([("SLURM_ARRAY_TASK_ID", index), ("SLURM_ARRAY_JOB_ID", "2"), ("SLURM_JOB_ID", "5")]);
        task.env("SLURM_CPUS_ON_NODE", "1").env("MKGC_CACHE", cluster.0.path("cache"));
        task.status().unwrap().code()
    };
    assert_eq!(task("1"), Some(0));
    assert!(cluster.0.path("out/runs/small/vanilla-seed2/result.json").exists());
    fs_err::write(cluster.0.path("plan.toml"), PLAN.replace("epochs = 1", "epochs = 2")).unwrap();
    fs_err::write(cluster.0.path("out/slurm/001/2_2.out"), "slurmstepd: JOB 6 CANCELLED DUE TO TIME LIMIT\n").unwrap();
    assert_eq!(task("2"), Some(2));
    let log = cluster.read("out/logs/small/vanilla-seed3.log");
    assert!(log.contains("run 5, small/vanilla-seed3, is not the one that was submitted"), "{log}");
    fs_err::write(cluster.0.path("plan.toml"), PLAN).unwrap();
    let output = cluster.command("sweep plan.toml --report").output().unwrap();
    let gaps = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let gap = gaps.lines().find(|line| line.contains("vanilla-seed3")).unwrap();
    assert!(gap.contains("Slurm says: slurmstepd: JOB 6") && gap.contains("vanilla-seed3.log"), "{gap}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_submitted() {
    let cluster = Cluster::new();
    let said = cluster.error("sweep plan.toml --slurm --sbatch-arg=--array=0-5");
    assert!(said.contains("--sbatch-arg --array: mkgc sets this option itself"), "{said}");
    let said = cluster.error("sweep plan.toml --slurm --sbatch-arg=-Mother");
    assert!(said.contains("--sbatch-arg -M: mkgc sets this option itself"), "{said}");
    let said = cluster.error("sweep plan.toml --slurm --sbatch-arg -a0-5");
    assert!(said.contains("--sbatch-arg -a: mkgc sets this option itself"), "{said}");
    assert!(cluster.read("calls").is_empty());
    let output = cluster.command("sweep plan.toml --slurm").env("PATH", "/nowhere").output().unwrap();
    let alone = String::from_utf8(output.stderr).unwrap();
    assert!(alone.contains("`scontrol` is not on the PATH; call `mkgc sweep --slurm` where"), "{alone}");
    let shown = cluster.ok("sweep plan.toml --slurm --dry-run");
    assert!(shown.lines().count() == 3 && shown.contains("--dependency=afterany:ARRAY1:ARRAY2"), "{shown}");
    assert!(cluster.read("calls").is_empty() && !cluster.0.path("out/slurm").exists());
}
