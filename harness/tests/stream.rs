//! `mkgc stream` as a method meets it: what is dealt out and what is not, budgets, predictions, crashes, and clients that are
//! hostile, broken or slow. Schemas of messages are those that are published.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use mkgc_builder::corpus::Extraction::{Entities, Relations};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::BenchmarkFolder;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::external::{Budget, Refusal};
use mkgc_harness::{report, run};
use serde_json::{Value, json};

use common::Place;

fn mkgc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mkgc"))
}

/// A method that talks to `mkgc stream` over its pipes.
struct Method {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    hello: Value,
}

impl Method {
    fn start(data: &Path, out: &Path, options: &[&str]) -> Self {
        let mut command = mkgc();
        command.arg("stream").arg(data).arg("--out").arg(out).args(["--name", "My method"]).args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut method = Self { child, to, from, hello: Value::Null };
        method.hello = method.read();
        method
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn say(&mut self, line: &str) -> Value {
        let to = self.to.as_mut().unwrap();
        writeln!(to, "{line}").unwrap();
        self.read()
    }

    fn ask(&mut self, request: Value) -> Value {
        self.say(&request.to_string())
    }

    fn next(&mut self) -> Value {
        self.ask(json!({"type": "next"}))
    }

    fn test_reply(&mut self) -> Value {
        self.ask(json!({"type": "test"}))
    }

    fn test(&mut self) -> Vec<Value> {
        self.test_reply()["rows"].as_array().unwrap().clone()
    }

    /// Predicts "no class" for all test rows.
    fn predict_none(&mut self) -> Value {
        let rows = self.test();
        let none = |row: &Value| match self.hello["extraction"].as_str() {
            Some("re") => json!("None"),
            _ => json!(vec!["O"; row["tokens"].as_array().unwrap().len()]),
        };
        let predictions: Vec<Value> = rows.iter().map(none).collect();
        self.ask(json!({"type": "predict", "predictions": predictions}))
    }

    /// Closes its pipes; exit code and what mkgc said on stderr.
    fn leave(mut self) -> (i32, String) {
        drop(self.to.take());
        let output = self.child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// The ids of rows of a message that hold a class.
fn ids<'a>(rows: &'a Value, class: &str) -> Vec<&'a str> {
    let of_class = |row: &&Value| class.is_empty() || row["relation"] == class;
    rows.as_array().unwrap().iter().filter(of_class).map(|row| row["id"].as_str().unwrap()).collect()
}

fn code(reply: &Value) -> &str {
    assert_eq!(reply["type"], "error", "{reply}");
    assert!(!reply["message"].as_str().unwrap().is_empty());
    reply["code"].as_str().unwrap()
}

fn record(out: &Path) -> run::external::StreamRecord {
    RunFolder::new(out).record().unwrap().stream().unwrap().clone()
}

fn out() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs/mine");
    (folder, out)
}

const PEER: &str = "/per/per/peer";
const MEMBER: &str = "/per/org/member_of";

#[test]
fn a_method_learns_task_by_task_and_ends_on_the_board() {
    let place = Place::new(Relations);
    let (_keep, out) = out();
    let mut method = Method::start(&place.built(), &out, &["--memory-per-class", "2", "--train-seed", "7"]);
    let hello = method.hello.clone();
    assert_eq!((&hello["type"], &hello["protocol"], &hello["tasks"]), (&json!("hello"), &json!(1), &json!(2)));
    assert_eq!((&hello["memory"], &hello["train_seed"]), (&json!({"per_class": 2}), &json!(7)));
    assert_eq!(hello["images"]["files"], json!(["images/images.parquet"]));
    assert!(!hello.to_string().contains(MEMBER), "classes of later tasks are not told: {hello}");

    let first = method.next();
    assert_eq!((&first["labels"], &first["memory"]), (&json!(["None", PEER]), &json!([])));
    assert!(first["train"].as_array().unwrap().iter().all(|row| row["relation"] != MEMBER && row["task"] == 0));
    let peers = ids(&first["train"], PEER);
    let stored = method.ask(json!({"type": "remember", "rows": &peers[..2]}));
    assert_eq!(stored, json!({"type": "remembered", "stored": 2, "by_class": {PEER: 2}}));
    assert_eq!(code(&method.ask(json!({"type": "remember", "rows": &peers[2..3]}))), "budget");
    assert_eq!(code(&method.next()), "order", "the predictions are missing");

    let rows = method.test();
    for row in &rows {
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["id", "tokens", "head", "tail", "image_id", "crops"], "nothing tells the label");
    }
    let dealt: Vec<&Value> = rows.iter().map(|row| &row["id"]).collect();
    assert!(dealt.is_sorted_by_key(|id| id.as_str()), "hashes are in no order of labels: {dealt:?}");
    let known = BenchmarkFolder::open(&place.built()).unwrap().rows(0, Split::Test).unwrap();
    assert_eq!(known.len(), dealt.len());
    assert!(
        known.iter().all(|row| !dealt.contains(&&json!(row.id))),
        "ids that number a corpus tell labels: {dealt:?}"
    );
    // Problems are listed in the order of the rows as they were dealt out, under their ids there.
    let refused = method.ask(json!({"type": "predict", "predictions": vec!["odd"; rows.len()]}));
    let places: Vec<usize> = (1..=rows.len())
        .filter_map(|n| {
            refused["message"].as_str().unwrap().find(&format!("prediction {n}: {}", dealt[n - 1].as_str().unwrap()))
        })
        .collect();
    assert!(places.len() == rows.len().min(20) && places.is_sorted(), "{refused}");
    assert_eq!(record(&out).refused[&Refusal::Predictions], 1, "counted although the run may end here");
    let answers: Vec<Value> = rows.iter().map(|_| json!(1)).collect();
    assert_eq!(code(&method.ask(json!({"type": "predict", "predictions": &answers[1..]}))), "predictions");
    assert_eq!(code(&method.ask(json!({"type": "predict", "predictions": vec![MEMBER; rows.len()]}))), "predictions");
    assert_eq!(code(&method.ask(json!({"type": "predict", "predictions": vec!["peer"; rows.len()]}))), "predictions");
    for later in [json!(2), json!("/per/org/member")] {
        let refused = method.ask(json!({"type": "predict", "predictions": vec![later; rows.len()]}));
        assert!(code(&refused) == "predictions" && !refused.to_string().contains(MEMBER), "{refused}");
    }
    let predict = json!({"type": "predict", "predictions": answers});
    assert_eq!(method.ask(predict.clone()), json!({"type": "predicted", "task": 0, "last": false}));
    assert_eq!(code(&method.ask(predict)), "order", "predictions are given once");
    assert_eq!(code(&method.ask(json!({"type": "remember", "rows": []}))), "order");

    let second = method.next();
    assert_eq!(ids(&second["memory"], PEER), &peers[..2]);
    assert!(second["train"].as_array().unwrap().iter().all(|row| row["relation"] != PEER));
    // Rows of the first task that were not stored are gone, and those of the test were never there to train on.
    assert_eq!(code(&method.ask(json!({"type": "remember", "rows": [peers[3]]}))), "rows");
    let test = method.test();
    assert!(test.len() > rows.len());
    assert_eq!(code(&method.ask(json!({"type": "remember", "rows": [test[0]["id"]]}))), "rows");
    assert_eq!(method.predict_none(), json!({"type": "predicted", "task": 1, "last": true}));
    let end = method.next();
    assert_eq!(end["result"]["stages"].as_array().unwrap().len(), 2);
    let (exit, log) = method.leave();
    assert!(exit == 0 && log.contains("tiny-re My method task 2/2: "), "{log}");

    let kept = record(&out);
    assert_eq!(
        kept.refused,
        [(Refusal::Order, 3), (Refusal::Budget, 1), (Refusal::Rows, 2), (Refusal::Predictions, 6)].into()
    );
    assert_eq!(
        (kept.memory, kept.stored_rows, kept.started_after.as_slice()),
        (Budget::PerClass(2), 2, [0].as_slice())
    );
    assert_eq!((kept.phases.len(), kept.command), (2, None));
    let boards = report::boards(report::load(&[&out]).unwrap()).unwrap();
    assert_eq!(boards[0].entries[0].label, "My method (external, stream)");
    let board = serde_json::to_value(&boards[0]).unwrap();
    assert_eq!(board["entries"][0]["runs"][0]["record"]["memory_budget"], "2 rows per class");
}

#[test]
fn tags_are_dealt_out_and_scored_like_relations() {
    let place = Place::new(Entities);
    let (_keep, out) = out();
    let mut method = Method::start(&place.built(), &out, &["--memory", "3"]);
    let first = method.next();
    let train = first["train"].as_array().unwrap();
    let labels = first["labels"].as_array().unwrap();
    for row in train {
        let tags = row["tags"].as_array().unwrap();
        assert_eq!(tags.len(), row["tokens"].as_array().unwrap().len());
        assert!(tags.iter().all(|tag| labels.contains(tag)), "{row}");
    }
    let all = ids(&first["train"], "");
    assert_eq!(code(&method.ask(json!({"type": "remember", "rows": &all[..4]}))), "budget");
    assert_eq!(method.ask(json!({"type": "remember", "rows": &all[..3]}))["stored"], 3);
    let rows = method.test();
    assert!(rows.iter().all(|row| row.get("tags").is_none() && row.get("owner_task").is_none()));
    let wrong: Vec<Value> = rows.iter().map(|_| json!(["O"])).collect();
    assert_eq!(code(&method.ask(json!({"type": "predict", "predictions": wrong}))), "predictions");
    method.predict_none();
    let second = method.next();
    // Only rows of this task and stored ones may stay, and they must fit.
    let kept = json!([{"id": all[0], "task": 0}, second["train"][0]["id"]]);
    assert_eq!(method.ask(json!({"type": "remember", "rows": kept, "replace": true}))["stored"], 2);
    assert_eq!(method.predict_none()["last"], true);
    // The last predictions are enough: nobody need ask for the end.
    assert_eq!(method.leave().0, 0);
    assert!(RunFolder::new(&out).result().exists());
}

#[test]
fn a_method_that_crashes_goes_on_after_its_last_task() {
    let place = Place::new(Relations);
    let (_keep, out) = out();
    let budget = ["--memory-per-class", "2"];
    let mut method = Method::start(&place.built(), &out, &budget);
    let first = method.next();
    let peers = ids(&first["train"], PEER);
    method.ask(json!({"type": "remember", "rows": &peers[..1]}));
    method.predict_none();
    let second = method.next();
    let members = ids(&second["train"], MEMBER);
    method.ask(json!({"type": "remember", "rows": &members[..2]}));
    method.say("what?");
    let (exit, log) = method.leave();
    assert!(
        exit == 2 && log.contains("in task 2 of 2, the method closed its output; the same command goes on"),
        "{log}"
    );
    let failure = run::failure::read(&RunFolder::new(&out)).unwrap().unwrap();
    assert_eq!(failure.tasks_learned, 1);
    assert_eq!(record(&out).refused, [(Refusal::Message, 1)].into(), "counted although the run failed");
    let absent = report::load(&[&out]).unwrap().absent;
    assert!(absent[0].absent.cause.contains("closed its output"), "{}", absent[0].absent.cause);

    let other =
        mkgc().arg("stream").arg(place.built()).arg("--out").arg(&out).args(["--name", "My method"]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("was started with another memory budget"));

    let mut method = Method::start(&place.built(), &out, &budget);
    assert_eq!(method.hello["tasks_done"], 1);
    let again = method.next();
    assert_eq!(
        (&again["task"], ids(&again["memory"], "")),
        (&json!(1), peers[..1].to_vec()),
        "what the crash stored is gone"
    );
    method.predict_none();
    assert_eq!(method.leave().0, 0);
    assert_eq!((record(&out).started_after, record(&out).phases.len()), (vec![0, 1], 2));
    assert!(run::failure::read(&RunFolder::new(&out)).unwrap().is_none());

    // A finished run has nothing left to learn, and is only shown.
    let kept = fs_err::read(out.join("run.json")).unwrap();
    let mut method = Method::start(&place.built(), &out, &budget);
    assert_eq!(method.hello["tasks_done"], json!(2));
    assert_eq!(code(&method.say("what?")), "message");
    assert_eq!(method.next()["type"], json!("end"));
    assert_eq!(method.leave().0, 0);
    assert!(fs_err::read(out.join("run.json")).unwrap() == kept);
}

#[test]
fn a_stream_that_ended_before_its_result_gets_it_and_deals_out_nothing() {
    let place = Place::new(Relations);
    let (_keep, out) = out();
    let mut method = Method::start(&place.built(), &out, &[]);
    method.next();
    method.predict_none();
    method.next();
    assert_eq!(method.leave().0, 2);
    // Once as if the first task were all that is wanted, once as if mkgc were killed after the last predictions.
    for (tasks, options) in [(1, ["--tasks", "1"].as_slice()), (2, [].as_slice())] {
        if tasks == 2 {
            let mut method = Method::start(&place.built(), &out, options);
            method.next();
            method.predict_none();
            assert_eq!(method.leave().0, 0);
            fs_err::remove_file(RunFolder::new(&out).result()).unwrap();
        }
        let mut method = Method::start(&place.built(), &out, options);
        assert_eq!((&method.hello["tasks"], &method.hello["tasks_done"]), (&json!(tasks), &json!(tasks)));
        assert_eq!(method.next()["type"], json!("end"));
        assert_eq!(method.leave().0, 0);
        assert!(RunFolder::new(&out).result().exists());
    }
    assert_eq!(record(&out).started_after, [0, 1]);
}

#[test]
fn a_stream_stops_early_and_is_extended() {
    let place = Place::new(Relations);
    let (_keep, out) = out();
    let mut method = Method::start(&place.built(), &out, &["--tasks", "1"]);
    method.next();
    assert_eq!(method.predict_none()["last"], true);
    assert_eq!(method.leave().0, 0);
    let label = RunFolder::new(&out).record().unwrap().label();
    assert_eq!(label, "My method (1 of 2 tasks) (external, stream)");
    let mut method = Method::start(&place.built(), &out, &[]);
    assert_eq!(method.hello["tasks_done"], json!(1));
    assert_eq!(method.next()["task"], json!(1));
    assert_eq!(method.predict_none()["last"], true);
    assert_eq!(method.leave().0, 0);
    assert_eq!(RunFolder::new(&out).record().unwrap().label(), "My method (external, stream)");
}

/// Runs `mkgc stream --command`.
fn command(place: &Place, out: &Path, command: &str, options: &[&str]) -> Output {
    let mut stream = mkgc();
    stream.arg("stream").arg(place.built()).arg("--out").arg(out).args(["--name", "x", "--command", command]);
    stream.args(options).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_command_of_any_language_is_served_and_its_result_printed() {
    let place = Place::new(Relations);
    let (keep, out) = out();
    // A shell that predicts the first label for as many rows as the test has.
    let script = r#"
        ask() { printf '%s\n' "$1"; read -r reply; }
        read -r hello
        for task in 1 2; do
            ask '{"type": "next"}'
            ask '{"type": "test"}'
            n=$(printf '%s' "$reply" | grep -o '"id"' | wc -l)
            ask "{\"type\": \"predict\", \"predictions\": [0$(printf ',0%.0s' $(seq 2 "$n"))]}"
        done
    "#;
    let path = keep.path().join("method.sh");
    fs_err::write(&path, script).unwrap();
    let started = format!("sh {}", path.display());
    let done = command(&place, &out, &started, &[]);
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{log}");
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&result["method"], result["stages"].as_array().unwrap().len()), (&json!("x"), 2));
    assert_eq!(record(&out).command, Some(started));
    // The command line may hold keys and paths, so it is not published; the report says what was recorded.
    let (board, site) = (keep.path().join("board"), keep.path().join("site"));
    let report = mkgc().arg("report").arg(&out).arg("--out").arg(&board).arg("--publish").arg(&site).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let text = fs_err::read_to_string(board.join("report.md")).unwrap();
    assert!(text.contains("### Other programs") && text.contains("| requests refused |"), "{text}");
    assert!(!text.contains("| not recorded | not recorded | not recorded |"), "rows and minutes are recorded: {text}");
    let record = run::find::find(&[site.join("runs")]).unwrap().remove(0).join("run.json");
    for file in [site.join("board.json"), record] {
        let published = fs_err::read_to_string(&file).unwrap();
        let place = file.display();
        assert!(published.contains("started_after") && !published.contains("method.sh"), "{place}: {published}");
    }
    // A run that lies in the folder is the user's own, and is left as it is with a warning.
    let own = site.join("runs/own");
    fs_err::create_dir_all(&own).unwrap();
    for file in ["run.json", "result.json"] {
        fs_err::copy(out.join(file), own.join(file)).unwrap();
    }
    fs_err::create_dir_all(own.join("stages")).unwrap();
    for stage in ["0", "1"] {
        let name = format!("stages/{stage}/predictions.parquet");
        fs_err::create_dir_all(own.join(&name).parent().unwrap()).unwrap();
        fs_err::copy(out.join(&name), own.join(&name)).unwrap();
    }
    let report = mkgc().arg("report").arg(&own).arg("--out").arg(&board).arg("--publish").arg(&site).output().unwrap();
    let log = String::from_utf8_lossy(&report.stderr);
    assert!(report.status.success() && log.contains("runs/own/run.json has the command line"), "{log}");
    // Once more, the result is read and the command not run.
    assert_eq!(command(&place, &out, "exit 1", &[]).stdout, done.stdout);
}

#[cfg(unix)]
#[test]
fn hostile_and_slow_commands_are_given_up_with_the_reason() {
    let place = Place::new(Relations);
    let (keep, _) = out();
    let long = "head -c 80000000 /dev/zero | tr '\\0' x";
    for (name, given, reason) in [
        ("none", "sh -c 'exit 3'", "`sh -c 'exit 3'` ended with exit status: 3: it closed its"),
        ("missing", "./no-such-method", "ended with exit status: 127"),
        (
            "garbage",
            "yes",
            "too many requests refused one after another, the last: no request: `y` (lines that are not JSON)",
        ),
        ("echo", "cat", "too many requests refused one after another, the last: no request is of the type `error`"),
        ("silent", "sleep 600", "said or read nothing for 0.5 seconds (--timeout)"),
        ("greedy", "exec 0<&-; sleep 600", "(--timeout)"),
        ("bytes", "printf '\\377\\n'; sleep 600", "sent a line that is not UTF-8"),
        ("long", long, "sent a line of more than 64 MiB"),
    ] {
        let out = keep.path().join(name);
        let timeout: &[&str] = if given.contains("sleep") { &["--timeout", "0.5"] } else { &[] };
        let ended = command(&place, &out, given, timeout);
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{name}: {log}");
        assert!(log.contains(reason) || name == "greedy" && log.contains("closed its input"), "{name}: {log}");
        let failure = run::failure::read(&RunFolder::new(&out)).unwrap().unwrap();
        assert!(failure.error[0].contains("in task 1 of 2"), "{name}: {failure:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_of_a_command_that_is_given_up_goes_on_running() {
    let place = Place::new(Relations);
    let (keep, _) = out();
    for (name, command_line) in [("plain", "sh PATH"), ("group", "sh PATH | cat")] {
        let note = keep.path().join(format!("{name}.pid"));
        let path = keep.path().join(format!("{name}.sh"));
        let script = format!("echo $$ > {note}; exec sleep 600", note = note.display());
        fs_err::write(&path, script).unwrap();
        let given = command_line.replace("PATH", &path.display().to_string());
        let ended = command(&place, &keep.path().join(name), &given, &["--timeout", "1"]);
        assert_eq!(ended.status.code(), Some(2));
        let pid = fs_err::read_to_string(note).unwrap();
        let running = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        assert!(running.is_empty(), "{name}: {}", String::from_utf8_lossy(&running));
    }
}

/// Ctrl-C on a terminal and the end of a job reach mkgc, which has put anything but a plain command into a group of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_ends_mkgc_ends_the_command() {
    use std::os::unix::process::ExitStatusExt;
    use std::time::{Duration, Instant};

    let place = Place::new(Relations);
    let (keep, _) = out();
    // One ignores the signal and is killed. The other is a child of the shell, which dies at once, and saves its state.
    let ignores = "trap '' TERM; echo $$ > NOTE.new; mv NOTE.new NOTE; sleep 600";
    let saves = "sh -c 'trap \"sleep 1; touch NOTE.saved; exit\" TERM; echo $$ > NOTE.new; mv NOTE.new NOTE; \
                 while :; do sleep 0.1; done'; true";
    for (name, script) in [("ignores", ignores), ("saves", saves)] {
        let note = keep.path().join(name);
        let path = keep.path().join(format!("{name}.sh"));
        fs_err::write(&path, script.replace("NOTE", &note.display().to_string())).unwrap();
        let mut stream = mkgc();
        stream.arg("stream").arg(place.built()).arg("--out").arg(keep.path().join(format!("{name}.run")));
        stream.args(["--name", "x", "--command", &format!("A='1 2' sh {}", path.display())]);
        let mut stream = stream.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !note.exists() {
            assert!(Instant::now() < deadline && stream.try_wait().unwrap().is_none(), "{name} did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = fs_err::read_to_string(&note).unwrap();
        let kill = format!("kill -s TERM {}", stream.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(stream.wait().unwrap().signal(), Some(15), "{name}");
        let cmdline = format!("/proc/{}/cmdline", pid.trim());
        while !std::fs::read(&cmdline).unwrap_or_default().is_empty() {
            assert!(Instant::now() < deadline, "{name} is alive");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(keep.path().join("saves.saved").exists(), "it was killed while it saved its state");
}

/// Row after row until no more fit is a way to fill a memory.
#[test]
fn refusals_for_the_budget_do_not_end_a_stream() {
    let place = Place::new(Relations);
    let (_keep, out) = out();
    let mut method = Method::start(&place.built(), &out, &["--memory", "1"]);
    let first = method.next();
    let rows = ids(&first["train"], "");
    method.ask(json!({"type": "remember", "rows": &rows[..1]}));
    for turn in 0..150 {
        let reply = method.ask(json!({"type": "remember", "rows": [rows[1 + turn % (rows.len() - 1)]]}));
        assert_eq!(code(&reply), "budget");
    }
    assert_eq!(method.predict_none()["type"], json!("predicted"));
    method.next();
    assert_eq!(method.predict_none()["last"], json!(true));
    assert_eq!(code(&method.test_reply()), "order");
    assert_eq!(method.next()["type"], json!("end"));
    assert_eq!(method.leave().0, 0);
    assert_eq!(record(&out).refused, [(Refusal::Budget, 150), (Refusal::Order, 1)].into(), "up to the last request");
}

#[test]
fn names_and_folders_that_cannot_be_used_are_refused_before_anything_is_written() {
    let place = Place::new(Relations);
    let (keep, out) = out();
    let error = |name: &str, out: &Path, options: &[&str]| {
        let mut stream = mkgc();
        stream.arg("stream").arg(place.built()).arg("--out").arg(out).args(["--name", name]).args(options);
        let output = stream.stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error("emr", &out, &[]).contains("`emr` is a method of mkgc"));
    assert!(error("x", &out, &["--memory", "some"]).contains("give a number of rows, or `all`"));
    assert!(error("x", &out, &["--memory", "3", "--memory-per-class", "3"]).contains("cannot be used with"));
    assert!(error("x", &out, &["--timeout", "0"]).contains("a number of seconds above 0"));
    assert!(error("x", &out, &["--tasks", "3"]).contains("has 2 tasks"));
    assert!(!out.exists());
    fs_err::write(keep.path().join("note"), "mine").unwrap();
    assert!(error("x", keep.path(), &[]).contains("is not empty and holds no run.json"));
}
