//! The command as a user meets it: exit codes, what goes to stdout and stderr, errors that name the remedy.
#![allow(clippy::unwrap_used)]

mod common;

use common::corpora::{Corpora, rows};
use mkgc_models::simd;

const TRAIN: &str = "train data --epochs 1 --set max_length=16";

#[test]
fn from_raw_files_to_a_table() {
    let place = Corpora::new();
    place.build();
    assert!(place.ok("verify data").lines().all(|line| line.starts_with("ok")));
    for method in ["vanilla", "emr", "joint"] {
        let (code, _, log) = place.mkgc(&format!("{TRAIN} --method {method} --out runs/{method}"));
        let scores: Vec<&str> = log.lines().filter(|line| line.contains(": micro-F1 ")).collect();
        assert!(code == 0 && scores.len() == 2, "{log}");
        assert!(scores[1].starts_with(&format!("small {method} task 2/2: ")), "{log}");
        assert!(scores[1].contains(", average so far "), "{log}");
    }
    let table = place.ok("report runs/vanilla runs/emr runs/joint --out report");
    assert_eq!(table, fs_err::read_to_string(place.path("report/report.md")).unwrap());
    for method in ["vanilla", "emr", "joint"] {
        assert!(table.lines().any(|line| line.contains(&format!("| {method} | 1 |"))), "{table}");
    }
    let csv = fs_err::read_to_string(place.path("report/small-micro_f1.csv")).unwrap();
    let header = "rank,method,seeds,T1,T2,T2_rows_low,T2_rows_high,average,average_n,forgetting_chaudhry18,\
                  forgetting_chaudhry18_n,bwt_lopezpaz17,bwt_lopezpaz17_n,stand_in\n";
    assert!(csv.starts_with(header), "{csv}");
    assert_eq!(table, place.ok("report runs --out report"), "a folder above runs stands for them");
    let second = place.ok(&format!("{TRAIN} --method vanilla --out runs/vanilla"));
    assert!(second.contains("\"benchmark\": \"small\""), "a finished run is shown again, not trained again");
}

/// A run that finds its pictures prepared never opens their file.
#[test]
fn a_build_prepares_the_pictures_that_a_run_reads() {
    let place = Corpora::new();
    let build = "build small.toml --raw . --out data --pixels 32";
    assert!(place.error(build).contains("no image folder here"));
    let error = place.error(&format!("{build} --max-shard-size 5"));
    assert!(error.contains("expected a whole number with KB, MB or GB"), "{error}");
    assert_eq!(fs_err::read_dir(place.path("cache")).unwrap().count(), 0, "a failed build leaves nothing behind");
    fs_err::create_dir_all(place.path("img_org/train")).unwrap();
    image::RgbImage::from_pixel(9, 9, image::Rgb([200, 0, 0])).save(place.path("img_org/train/x.jpg")).unwrap();
    place.ok(build);
    let cached = || fs_err::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let prepared = cached().next().unwrap();
    assert_eq!(prepared.extension().unwrap(), "pixels");
    place.ok(&format!("{TRAIN} --method concat --out plain"));
    fs_err::write(place.path("data/images/images.parquet"), "damaged").unwrap();
    place.ok(&format!("{TRAIN} --method concat --out prepared"));
    assert!(cached().eq([prepared.clone()]));
    let result = |run: &str| fs_err::read_to_string(place.path(run).join("result.json")).unwrap();
    assert_eq!(result("plain"), result("prepared"));
    // A damaged file is not trusted, and said to be so; here it cannot be made again.
    fs_err::write(&prepared, "damaged").unwrap();
    let error = place.error(&format!("{TRAIN} --method concat --out damaged"));
    assert!(error.contains("warning: ") && error.contains("it is cut off; it is made again"), "{error}");
    assert!(error.contains("images.parquet"), "{error}");
}

/// The downloads themselves are tested in the builder, against a server on the loopback interface.
#[test]
fn what_there_is_to_fetch_is_listed_and_files_are_verified() {
    let place = Corpora::new();
    let listed = place.ok("fetch --list");
    let columns: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(columns[0], ["corpus", "file", "bytes", "fetched", "licence", "address"]);
    assert!(columns.iter().all(|row| row.len() == 6), "{listed}");
    let row = |name: &str, file: &str| columns.iter().find(|row| row[..2] == [name, file]).unwrap().clone();
    assert_eq!(row("mnre", "mnre_test.txt")[2..4], ["512573", "yes"]);
    assert_eq!(row("fewrel", "val_wiki.json")[4], "MIT");
    assert!(row("tacred", "")[3].contains("https://catalog.ldc.upenn.edu/LDC2018T24"), "{listed}");
    assert!(place.ok("fetch twitter2015 --list").lines().skip(1).all(|line| line.starts_with("twitter2015\t")));

    let error = place.error("fetch mnre-10 --to raw");
    assert!(error.contains("unknown corpus `mnre-10` (did you mean `mnre`?); known: mnre, twitter2015, "), "{error}");
    assert!(place.error("fetch mnre").contains("--to"), "a folder is needed");
    let error = place.error("fetch tacred --to raw");
    assert!(error.contains("mkgc cannot fetch it"), "{error}");
    // The rows here are made up.
    let error = place.error("fetch mnre --to raw --from . --only mnre_test.txt");
    assert!(error.contains("./mnre_test.txt: not as published: its SHA-256 is "), "{error}");
    assert_eq!(fs_err::read_dir(place.path("raw")).unwrap().count(), 0, "nothing else gets into the folder");
}

#[test]
fn methods_are_listed_with_source_and_memory() {
    let place = Corpora::new();
    let listed = place.ok("ls methods");
    let columns: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(columns[0], ["name", "modality", "rehearses", "memory", "source", "about"]);
    assert!(columns.iter().all(|row| row.len() == 6), "{listed}");
    let row = |name: &str| columns.iter().find(|row| row[0] == name).unwrap().clone();
    assert_eq!(row("lmc")[1..3], ["text + image", "yes"]);
    assert_eq!(row("ewc")[1..3], ["text", "no"]);
}

#[test]
fn settings_are_listed_and_those_that_a_method_does_not_read_are_refused() {
    let place = Corpora::new();
    let listed = place.ok("ls settings lmc");
    let columns: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(columns[0], ["setting", "default", "unit", "source", "about"]);
    assert!(columns.iter().any(|row| row[..3] == ["lr_head", "relations 1e-5, entities 0.05", "per step"]), "{listed}");
    assert!(columns.iter().all(|row| row.len() == 5 && row.iter().all(|cell| !cell.is_empty())), "{listed}");
    place.build();
    assert!(place.error(&format!("{TRAIN} --method lmc --set key_size=3 --out run")).contains("lmc does not read it"));
    assert!(place.error("bench data --method emr --checkpoint-every 1").contains("--checkpoint-every"));
}

#[test]
fn a_plan_runs_its_variants_and_reports_them_with_their_cost() {
    let place = Corpora::new();
    place.build();
    let plan = "methods = [\"lmc\"]\nseeds = [1]\n[[variants]]\nname = \"full\"\n[[variants]]\nname = \"no-distillation\"\nset = { lambda = 0.0 }\n";
    fs_err::write(place.path("plan.toml"), plan).unwrap();
    let line = "sweep plan.toml --benchmark data --set epochs=1 --set memory_epochs=1 --set max_length=16 --set shared_layers=1 --set batch_size=4 --out out";
    let table = place.ok(line);
    for variant in ["full", "no-distillation"] {
        assert!(table.contains(&format!("| – | lmc [{variant}] (stand-in images) | 1 |")), "{table}");
        let log = fs_err::read_to_string(place.path(&format!("out/logs/small/lmc-{variant}-seed1.log"))).unwrap();
        assert!(log.contains("no usable picture; generated ones stand in"), "{log}");
        let record = place.path(&format!("out/runs/small/lmc-{variant}-seed1/run.json"));
        let record: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(record).unwrap()).unwrap();
        assert!(record["cost"]["optimiser_steps"].as_u64().unwrap() > 3, "{record}");
        assert_eq!(record["cost"]["stored_by_class"]["/per/per/peer"], 4);
        assert_eq!((&record["vision"]["real_images"], &record["vision"]["stand_in_images"]), (&0.into(), &1.into()));
        assert_eq!(record["memory_budget"], "6 rows per class");
    }
    assert_eq!(place.ok(line), table, "a finished sweep is shown again");
    assert!(
        place.error("sweep plan.toml --benchmark data --set lambada=1 --out other").contains("did you mean `lambda`")
    );
    let plan = format!("{plan}[[variants]]\nname = \"late\"\nset = {{ lambada = 1.0 }}\n");
    fs_err::write(place.path("plan.toml"), plan).unwrap();
    let error = place.error(&line.replace("--out out", "--out late"));
    assert!(error.contains("`lambada`") && !place.path("late").exists(), "no run starts before every setting is known");
}

#[test]
fn steps_are_timed_and_accounted_for() {
    let place = Corpora::new();
    place.build();
    let line = "bench data --method emr --set max_length=16 --set batch_size=1 --steps 2 --second-task --length 12";
    let answer: serde_json::Value = serde_json::from_str(&place.ok(&format!("{line} --account case"))).unwrap();
    let of = |key: &str| answer[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    assert!(of("seconds").len() == 2 && of("seconds").iter().all(|seconds| *seconds > 0.0), "{answer}");
    let machine = &answer["machine"];
    assert_eq!([&machine["inner_loops"], &machine["products"]], [simd::inner_loops(), simd::products()]);
    assert!(machine["product_gflops"].as_f64() > Some(0.0) && machine["cores"].as_u64() > Some(0), "{machine}");
    assert!(!machine["processor"].as_str().unwrap().is_empty(), "{machine}");
    let case = fs_err::read_to_string(place.path("case/case.json")).unwrap();
    let case: serde_json::Value = serde_json::from_str(&case).unwrap();
    let steps: Vec<_> = case["trace"].as_array().unwrap().iter().filter(|entry| entry["event"] == "step").collect();
    assert!(steps.iter().all(|step| step["rows"][0]["ids"].as_array().unwrap().len() == 12), "{case}");
    // Two on the first task; two pairs of replay and current follow before those that count.
    let losses: Vec<f64> = steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect();
    assert_eq!(of("losses"), losses[4..6]);
    assert!(place.path("case/network.0.safetensors").exists());
    let error = place.error(&line.replace("--steps 2", "--steps 200"));
    assert!(error.contains("ask for fewer steps"), "{error}");
    assert!(place.error(&line.replace("emr", "emm")).contains("did you mean `emr`"));
}

/// The matrix needs old tasks at every stage, whatever a test file holds.
#[test]
fn per_task_tests_score_like_cumulative_ones() {
    let place = Corpora::new();
    place.build();
    place.ok(&format!("{TRAIN} --method emr --out cumulative"));
    let protocol = fs_err::read_to_string(place.path("small.toml")).unwrap();
    fs_err::write(place.path("small.toml"), protocol.replacen("[[tasks]]", "tests = \"per-task\"\n[[tasks]]", 1))
        .unwrap();
    place.ok("build small.toml --raw . --out data --force");
    place.ok(&format!("{TRAIN} --method emr --out per-task"));
    let result = |run: &str| -> serde_json::Value {
        serde_json::from_str(&fs_err::read_to_string(place.path(run).join("result.json")).unwrap()).unwrap()
    };
    let (cumulative, per_task) = (result("cumulative"), result("per-task"));
    assert_ne!(cumulative["fingerprint"], per_task["fingerprint"]);
    assert_eq!(cumulative["matrix"], per_task["matrix"]);
    assert_eq!(cumulative["stages"], per_task["stages"]);
}

#[test]
fn a_damaged_folder_fails_verification_with_exit_code_1() {
    let place = Corpora::new();
    let data = place.build();
    fs_err::write(data.join("tasks/task_01_test.parquet"), "x").unwrap();
    let (code, out, err) = place.mkgc("verify data");
    assert_eq!(code, 1);
    assert!(out.lines().any(|line| line.contains("SHA-256") && line.ends_with("tasks/task_01_test.parquet")), "{out}");
    assert!(err.contains("1 failed"), "{err}");
}

#[test]
fn files_of_the_manifest_are_checked_before_they_are_read_and_others_are_ignored() {
    let place = Corpora::new();
    let data = place.build();
    fs_err::create_dir_all(data.join(".cache/huggingface")).unwrap();
    fs_err::write(data.join(".cache/huggingface/x"), "x").unwrap();
    fs_err::write(data.join(".DS_Store"), "x").unwrap();
    let (code, _, log) = place.mkgc("verify data");
    assert!(code == 0 && log.contains("not in the manifest, so not checked: .DS_Store, .cache/\n"), "{log}");
    place.ok("export data --layout continuemkgc --out text");
    place.ok(&format!("{TRAIN} --method vanilla --out run"));
    let file = data.join("tasks/task_01_test.parquet");
    let mut bytes = fs_err::read(&file).unwrap();
    bytes[40] ^= 1;
    fs_err::write(&file, bytes).unwrap();
    for line in ["export data --layout continuemkgc --out other", &format!("{TRAIN} --method vanilla --out other")] {
        let error = place.error(line);
        assert!(error.contains("data: does not match its manifest; build or download it again"), "{error}");
        assert!(error.contains("\n  tasks/task_01_test.parquet: SHA-256 is "), "{error}");
    }
    assert!(!place.path("other/small").exists() && !place.path("other/stages").exists());
}

#[test]
fn wrong_input_is_answered_with_a_remedy() {
    let place = Corpora::new();
    assert!(place.error("build mnre-1O --raw . --out data").contains("did you mean `mnre-10`?"));
    assert!(place.error("build mnre-10 --raw nowhere --out data").contains("nowhere: no train file"));
    assert!(place.error("verify .").contains("not a benchmark folder; make one with `mkgc build`"));
    for line in ["verify nowhere", "export nowhere --layout continuemkgc --out text"] {
        assert!(place.error(line).contains("nowhere: no such folder; make it with `mkgc build`"));
    }
    assert!(place.error("train nowhere --method emr --out run").contains("nowhere: no such folder"));
    let scored = "score --data nowhere --predictions x.csv --name mine --out run";
    assert!(place.error(scored).contains("nowhere: no such folder"));
    place.build();
    assert!(place.error("build small.toml --raw . --out data").contains("--force"));
    assert!(place.error(&format!("{TRAIN} --method erm --out run")).contains("did you mean `emr`?"));
    assert!(place.error(&format!("{TRAIN} --method emr --set epoch=1 --out run")).contains("did you mean `epochs`?"));
    assert!(place.error(&format!("{TRAIN} --method emr --encoder nowhere --out run")).contains("model.safetensors"));
    for (method, key) in [("lmc", "shared_layers is 3"), ("mkgformer", "interaction_layers is 4")] {
        let error = place.error(&format!("{TRAIN} --method {method} --out run"));
        assert!(error.contains(key) && error.contains("lower it"), "{error}");
    }
    assert!(place.error("report data --out report").contains("run.json"));
    assert!(place.error(&format!("{TRAIN} --method emr --out small.toml")).contains("is a file where a folder"));
    assert!(!place.path("run").join("run.json").exists());
}

#[test]
fn the_origin_of_every_setting_is_shown() {
    let place = Corpora::new();
    place.build();
    fs_err::write(place.path("recipe.toml"), "batch_size = 3\nepochs = 2\n").unwrap();
    let shown = place.ok("train data --method emr --recipe recipe.toml --epochs 5 --print-config");
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("epochs").starts_with("epochs = 5") && line("epochs").contains("flag"), "{shown}");
    assert!(line("batch_size").contains("recipe.toml"), "{shown}");
    assert!(line("clip_norm").contains("default"), "{shown}");
}

#[test]
fn reports_refuse_mixed_data_and_need_a_finished_run() {
    let place = Corpora::new();
    place.build();
    place.ok(&format!("{TRAIN} --method vanilla --out one"));
    fs_err::write(place.path("mnre_train.txt"), rows("train", 15)).unwrap();
    place.ok("build small.toml --raw . --out data --force");
    place.ok(&format!("{TRAIN} --method vanilla --out two"));
    let error = place.error("report one two --out report");
    assert!(error.contains("runs one and two differ in their data") && !place.path("report").exists(), "{error}");
    fs_err::remove_file(place.path("two/result.json")).unwrap();
    let error = place.error("report two --out report");
    assert!(error.contains("run two is unfinished") && error.contains("go on with `mkgc train`"), "{error}");
}

#[test]
fn a_failed_run_says_why_until_it_goes_on() {
    let place = Corpora::new();
    let test = place.build().join("tasks/task_01_test.parquet");
    let bytes = fs_err::read(&test).unwrap();
    fs_err::write(&test, "x").unwrap();
    let said = place.error(&format!("{TRAIN} --method emr --out run"));
    let failure = place.path("run/failure.json");
    let written: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&failure).unwrap()).unwrap();
    // A damaged file is found before anything is learned.
    assert_eq!(written["tasks_learned"], 0);
    assert!(said.contains(written["error"][0].as_str().unwrap()), "{said} {written}");
    fs_err::write(&test, bytes).unwrap();
    place.ok(&format!("{TRAIN} --method emr --out run"));
    assert!(!failure.exists() && place.path("run/result.json").exists());
}

#[test]
fn a_sweep_goes_on_after_a_failed_run_and_says_so_at_its_end() {
    let place = Corpora::new();
    place.build();
    // LMC shares three layers; the tiny encoders have two.
    fs_err::write(place.path("plan.toml"), "methods = [\"lmc\", \"vanilla\"]").unwrap();
    let line = "sweep plan.toml --benchmark data --set epochs=1 --set max_length=16 --out out";
    let (code, table, err) = place.mkgc(line);
    assert_eq!(code, 2, "{err}");
    assert!(table.contains("| vanilla | 1 |") && place.path("out/report/report.md").exists(), "{table}");
    assert!(
        err.contains("1 of 2 runs have no result (1 failed)")
            && err.contains("lmc-seed42: ")
            && err.contains("lower it"),
        "{err}"
    );
}

#[test]
fn a_run_tells_its_scores_after_each_task_and_stops_where_it_is_told_to() {
    let place = Corpora::new();
    place.build();
    let line = "train data --method majority --out run";
    assert!(place.error(&format!("{line} --tasks 0")).contains("--tasks 0: small has 2 tasks; give 1 to 2"));
    let (code, out, err) = place.mkgc(&format!("{line} --tasks 1"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("small majority task 1/2: peer: micro-F1 0.0, ") && !err.contains("task 2/2"), "{err}");
    assert!(out.contains("\"tasks_learned\": 1") && !out.contains("\"tasks_learned\": 2"), "{out}");
    let (_, out, err) = place.mkgc(line);
    assert!(err.contains("task 1/2: peer") && err.contains("task 2/2: "), "{err}");
    assert!(out.contains("\"tasks_learned\": 2"), "{out}");
    let error = place.error("bench data --method majority --steps 2");
    assert!(error.contains("majority takes no such steps"), "{error}");
    fs_err::write(place.path("plan.toml"), "methods = [\"majority\"]\ntasks = 1").unwrap();
    assert!(place.ok("sweep plan.toml --benchmark data --out out").contains("| majority (1 of 2 tasks) | 1 |"));
    fs_err::write(place.path("plan.toml"), "methods = [\"majority\"]\ntasks = 9").unwrap();
    assert!(place.error("sweep plan.toml --benchmark data --out out").contains("`tasks` is 9, but small has 2 tasks"));
}

#[test]
fn the_version_is_that_of_mkgc() {
    let short = concat!("mkgc ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(Corpora::new().mkgc("-V"), (0, short.to_owned(), String::new()));
    let (code, stdout, _) = Corpora::new().mkgc("--version");
    let more = stdout.strip_prefix(short).map(|more| more.lines().collect::<Vec<_>>()).unwrap();
    let commit = more[0].strip_prefix("commit: ").unwrap();
    let hash = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(code == 0 && (hash || commit == "unknown"), "{stdout}");
    let features = if cfg!(feature = "cuda") { "features: cuda" } else { "features: none" };
    assert_eq!(more[1..], [features]);
}

/// clap makes these of the commands, so it is enough that every command is in them.
#[test]
fn completions_and_manual_pages_know_every_command() {
    let place = Corpora::new();
    let commands = "bench build completions demo export fetch gate kernels ls man predict report schema score stream \
                    sweep train verify watch";
    let commands: Vec<&str> = commands.split(' ').collect();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.ok(&format!("completions {shell}"));
        let missing: Vec<_> = commands.iter().filter(|command| !script.contains(**command)).collect();
        assert!(missing.is_empty() && script.contains("save-model"), "{shell}: {missing:?}");
    }
    assert!(place.error("completions csh").contains("possible values: bash"));
    place.ok("man --out new/pages");
    for command in commands {
        let page = fs_err::read_to_string(place.path(&format!("new/pages/mkgc-{command}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(command), "{page}");
    }
    assert!(fs_err::read_to_string(place.path("new/pages/mkgc.1")).unwrap().contains("mkgc\\-predict(1)"));
}
