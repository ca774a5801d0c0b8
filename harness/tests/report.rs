//! Reports over made-up predictions: what is averaged, what is told apart, what is refused, what stays visible without a
//! number.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::runs::{ROWS, Runs, entry, row};
use mkgc_harness::metrics::value::Value as Score;
use mkgc_harness::report;
use mkgc_harness::report::board::{Absent, AbsentKind, Board, Entry};
use mkgc_harness::run::predictions::PredictionRow;
use mkgc_harness::stats::interval::student;
use serde_json::{Value, json};

fn absent(board: &Board, kind: AbsentKind) -> Vec<&Absent> {
    board.absent.iter().filter(|run| run.kind == kind).collect()
}

#[test]
fn seeds_are_averaged_and_both_intervals_kept_apart() {
    let runs = Runs::new();
    for (seed, wrong) in [(1, 4), (2, 5), (3, 10)] {
        runs.plain(&format!("emr{seed}"), "emr", seed, wrong);
    }
    let board = runs.board();
    let entry = entry(&board, "emr");
    let last = entry.stages["micro_f1"].last().unwrap();
    let expected = [0.75, 0.8, 0.9];
    assert_eq!((entry.seeds.as_slice(), last.instances), ([1, 2, 3].as_slice(), ROWS));
    assert_eq!(last.by_seed, expected.map(Some));
    assert!((last.mean.number().unwrap() - 2.45 / 3.0).abs() < 1e-12);
    assert_eq!(last.seed_interval, student(&expected));
    let [low, high] = last.sampling_interval.unwrap();
    // Of one seed, √(0.8 · 0.2 / 200) · 1.96 is 0.055; three seeds share some of their wrong rows.
    assert!((0.75..0.80).contains(&low) && (0.83..0.88).contains(&high), "{low} {high}");
    assert_eq!(entry.stages["micro_f1"][0].sampling_interval, None);
    assert_eq!(entry.matrix.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_benchmark_whose_name_leads_out_of_the_folder_is_refused() {
    let runs = Runs::new();
    runs.plain("emr", "emr", 1, 4);
    let out = runs.path("report");
    for name in ["../x", "/tmp/x", ".."] {
        let board = Board { benchmark: name.to_owned(), ..runs.board() };
        let error = report::write(&[board], &out).unwrap_err().to_string();
        assert!(error.contains("the name cannot be that of a file"), "{error}");
    }
    assert!(!out.exists());
}

#[test]
fn ranks_follow_what_can_be_told_apart() {
    let runs = Runs::new();
    for (method, wrong) in [("joint", 100), ("rp-cre", 8), ("emr", 9), ("vanilla", 2)] {
        runs.plain(method, method, 1, wrong);
    }
    let board = runs.board();
    let ranks: Vec<(&str, usize)> =
        board.entries.iter().map(|entry| (entry.label.as_str(), entry.rank.unwrap())).collect();
    assert_eq!(ranks, [("joint", 1), ("emr", 2), ("rp-cre", 2), ("vanilla", 4)]);
    assert_eq!(board.comparisons.len(), 6);
    let pair = board.comparisons.iter().find(|pair| (pair.one, pair.other) == (1, 2)).unwrap();
    assert!(pair.p > 0.05 && pair.p_holm >= pair.p && (pair.difference - 0.01).abs() < 0.006, "{pair:?}");
    // Each learns the first task like Joint; of the second, every other wrong row of EMR, none of Vanilla's.
    let of = |label: &str| entry(&board, label).summary["intransigence_chaudhry18"].mean.clone();
    let emr = of("emr").number().unwrap();
    assert!((emr - (1.0 - 0.89) / 2.0).abs() < 1e-12 && of("vanilla").number() == Some(0.0), "{emr}");
    assert!(of("joint").reason().unwrap().starts_with("undefined: "));
    assert!(entry(&board, "emr").summary["last_task_masked_micro_f1"].mean.reason().is_some(), "no scores, no twin");
    let confusion = &entry(&board, "vanilla").confusion;
    // The even rows are wrong, and these are all of relation a.
    let numbers = |shares: &[Score]| shares.iter().map(Score::number).collect::<Option<Vec<f64>>>();
    assert_eq!(numbers(&confusion.old), Some(vec![0.0, 0.0, 1.0, 0.0]));
    assert_eq!(numbers(&confusion.new), Some(vec![1.0, 0.0, 0.0, 0.0]));
    assert_eq!((numbers(&confusion.none), confusion.items), (None, [100, 100, 0]));
}

#[test]
fn intransigence_needs_joint() {
    let runs = Runs::new();
    runs.plain("emr", "emr", 1, 8);
    let value = entry(&runs.board(), "emr").summary["intransigence_chaudhry18"].mean.clone();
    assert_eq!(value.reason().unwrap(), "undefined: needs a run of Joint on the board");
    runs.run("joint", "joint", 1, 100, |record| record["encoder"]["identity"] = "other".into());
    let value = entry(&runs.board(), "emr").summary["intransigence_chaudhry18"].mean.clone();
    assert!(value.reason().unwrap().contains("another text encoder"));
}

/// The record of an older run does not say its tokenizer, so it agrees with runs that differ from each other.
#[test]
fn an_older_run_hides_no_difference_between_two_others() {
    let runs = Runs::new();
    runs.plain("a", "emr", 1, 8);
    for (name, seed, hash) in [("b", 2, "one"), ("c", 3, "other")] {
        runs.run(name, "emr", seed, 8, |record| record["encoder"]["tokenizer"] = hash.into());
    }
    let error = runs.boards().unwrap_err().to_string();
    assert!(error.contains("differ in their encoders") && error.contains("(tokenizer one)"), "{error}");
}

/// Boards of two groups rarely have equal settings.
#[test]
fn runs_that_differ_in_settings_are_refused_or_entries_of_their_own() {
    let runs = Runs::new();
    runs.plain("a", "emr", 1, 8);
    runs.run("b", "emr", 2, 9, |record| record["config"]["batch_size"] = 7.into());
    runs.run("c", "emr", 3, 9, |record| {
        record["config"]["batch_size"] = 7.into();
        record["encoder"]["name"] = "models/large".into();
        record["encoder"]["identity"] = "0123456789abcdef".into();
    });
    runs.plain("d", "vanilla", 1, 2);
    let error = runs.boards().unwrap_err().to_string();
    assert!(error.contains("setting `batch_size`") && error.contains("give --split"), "{error}");
    let loaded = report::split(report::load(&[runs.path("")]).unwrap()).unwrap();
    let board = report::boards(loaded).unwrap().remove(0);
    let mut labels: Vec<&str> = board.entries.iter().map(|entry| entry.label.as_str()).collect();
    labels.sort_unstable();
    let before = labels[0].split_once("batch_size=").unwrap().1.split_once(',').unwrap().0;
    assert!(before.parse::<usize>().unwrap() != 7, "{labels:?}");
    let of_seven = ["emr [batch_size=7, encoder=large]", "emr [batch_size=7, encoder=minilm]", "vanilla"];
    assert_eq!(labels.len(), 4);
    assert!(of_seven.iter().all(|label| labels.contains(label)), "{labels:?}");
    let twins = |hash: &str| runs.run(hash, "joint", 1, 9, |record| record["encoder"]["tokenizer"] = hash.into());
    twins("one");
    twins("two");
    let loaded = report::split(report::load(&[runs.path("")]).unwrap()).unwrap();
    let board = report::boards(loaded).unwrap().remove(0);
    let named = |entry: &&Entry| entry.label.starts_with("joint [encoder=minilm ") && entry.label.ends_with(" one]");
    assert_eq!(board.entries.iter().filter(named).count(), 1, "the hashes tell encoders of one name apart");
}

/// What `report --split` makes entries of is what a board takes as one entry otherwise.
#[test]
fn entries_are_split_by_what_boards_refuse() {
    let labels = |runs: &Runs| {
        let loaded = report::split(report::load(&[runs.path("")]).unwrap()).unwrap();
        let mut labels: Vec<_> =
            report::boards(loaded).unwrap().remove(0).entries.into_iter().map(|entry| entry.label).collect();
        labels.sort();
        labels
    };
    let runs = Runs::new();
    runs.plain("older", "emr", 1, 8);
    let with_tokenizer = |name: &str, seed: u64, hash: &str| {
        runs.run(name, "emr", seed, 8, |record| record["encoder"]["tokenizer"] = hash.into());
    };
    with_tokenizer("newer", 2, "one");
    assert_eq!(labels(&runs), ["emr"], "an older record lacks a hash, which is no difference");
    with_tokenizer("other", 3, "two");
    assert_eq!(labels(&runs).len(), 3, "but two hashes are one, and then nobody knows the older one");

    let runs = Runs::new();
    for (seed, name) in [(1, "one/minilm"), (2, "two/minilm")] {
        runs.run(name, "emr", seed, 8, |record| record["encoder"]["name"] = name.into());
    }
    let found = labels(&runs);
    assert!(found[0].starts_with("emr [encoder=one/minilm ") && found[1].starts_with("emr [encoder=two/minilm "));
}

#[test]
fn what_gives_no_number_is_a_row_with_its_cause() {
    let runs = Runs::new();
    runs.plain("a/emr1", "emr", 1, 8);
    runs.plain("a/emr2", "emr", 2, 8);
    runs.plain("b/emr1", "emr", 1, 9);
    runs.plain("b/vanilla1", "vanilla", 1, 2);
    let failed = runs.plain("b/vanilla2", "vanilla", 2, 2);
    fs_err::remove_file(failed.join("result.json")).unwrap();
    let failure =
        r#"{"schema_version": 3, "code_version": "0", "tasks_learned": 1, "error": ["no space", "disk | full"]}"#;
    fs_err::write(failed.join("failure.json"), failure).unwrap();
    let half = runs.plain("b/ewc1", "ewc", 1, 2);
    fs_err::remove_file(half.join("result.json")).unwrap();
    let line = r#"{"stage":1,"epoch":0,"step":150,"loss":0.1,"lr_encoder":0.1,"samples_per_s":1.0,"memory_mib":1}"#;
    fs_err::write(half.join("metrics.jsonl"), format!("{line}\n{{\"stage\":1,\"ep")).unwrap();
    runs.plain("c/joint1", "joint", 1, 100);
    let damaged = runs.plain("c/rp-cre1", "rp-cre", 1, 8);
    fs_err::write(damaged.join("stages/1/predictions.parquet"), "x").unwrap();
    let board = runs.board();
    assert_eq!(board.entries.len(), 3);
    let one = |kind: AbsentKind, label: &str| {
        let found: Vec<&Absent> = absent(&board, kind).into_iter().filter(|run| run.label == label).collect();
        assert_eq!(found.len(), 1, "{kind} {label}: {:?}", board.absent);
        found[0].clone()
    };
    let failed = one(AbsentKind::Failed, "vanilla");
    assert_eq!((failed.seed, failed.cause.as_str()), (Some(2), "in task 2 of 2: no space: disk | full"));
    assert!(failed.log.unwrap().ends_with("vanilla2/failure.json"));
    let half = one(AbsentKind::Unfinished, "ewc");
    assert!(half.cause.contains("ends in task 2 of 2, step 150") && half.log.unwrap().ends_with("metrics.jsonl"));
    assert!(one(AbsentKind::Failed, "rp-cre").cause.contains("its predictions cannot be used"));
    assert!(one(AbsentKind::Duplicate, "emr").cause.contains("a/emr1, which is shown"));
    assert_eq!(one(AbsentKind::Missing, "joint").seed, Some(2));
    assert_eq!(board.absent.len(), 5, "a failed seed is no gap: {:?}", board.absent);
    let text = report::write(&[board], &runs.path("report")).unwrap();
    assert!(text.contains("| vanilla | 2 | failed | in task 2 of 2: no space: disk \\| full |"), "{text}");
}

#[test]
fn a_missing_seed_is_asked_for_where_a_command_can_make_it() {
    let runs = Runs::new();
    let scored = |record: &mut Value| record["external"] = json!({"predictions": []});
    let stream = json!({"protocol": 1, "memory": "all", "phases": [], "refused": {}, "started_after": [0],
        "stored_rows": 0, "stored_by_class": {}});
    let dealt_out = |record: &mut Value| record["external"] = json!({"predictions": [], "stream": stream});
    runs.plain("emr1", "emr", 1, 8);
    runs.plain("emr2", "emr", 2, 8);
    runs.run("a", "Dealt out", 1, 7, dealt_out);
    runs.run("b", "Scored once", 0, 9, scored);
    runs.run("c1", "Scored twice", 1, 7, scored);
    runs.run("c3", "Scored twice", 3, 7, scored);
    let board = runs.board();
    let gaps: Vec<(&str, u64, &str)> = absent(&board, AbsentKind::Missing)
        .into_iter()
        .map(|run| {
            (run.label.as_str(), run.seed.unwrap(), run.cause.strip_prefix("other methods have this seed; ").unwrap())
        })
        .collect();
    let expected = [
        ("emr", 3, "make it with `mkgc train`"),
        ("Dealt out (external, stream)", 2, "make it with `mkgc stream --train-seed`"),
        ("Dealt out (external, stream)", 3, "make it with `mkgc stream --train-seed`"),
        ("Scored twice (external)", 2, "make it with `mkgc score --train-seed`"),
    ];
    assert_eq!(gaps, expected);
    assert_eq!(board.absent.len(), expected.len());
}

#[test]
fn a_run_given_twice_counts_once_and_folders_without_runs_are_named() {
    let runs = Runs::new();
    let run = runs.plain("deep/er/emr", "emr", 1, 8);
    let loaded = report::load(&[runs.path("deep"), run.clone(), run]).unwrap();
    assert_eq!((loaded.runs.len(), loaded.absent.len()), (1, 0));
    fs_err::create_dir_all(runs.path("empty")).unwrap();
    let error = report::load(&[runs.path("empty")]).err().unwrap().to_string();
    assert!(error.contains("empty") && error.contains("run.json"), "{error}");
}

/// Versions of mkgc may differ in the defaults of settings of other methods, which every record holds.
#[test]
fn a_setting_that_a_method_does_not_read_is_no_difference() {
    let runs = Runs::new();
    let run = |name: &str, method: &str, seed: u64, grid: f64| {
        runs.run(name, method, seed, 8, |record| record["config"]["ewc_grid"] = json!([grid]));
    };
    run("a", "emr", 1, 1.0);
    run("b", "emr", 2, 2.0);
    assert_eq!(runs.board().entries.len(), 1);
    let split = report::split(report::load(&[runs.path("")]).unwrap()).unwrap();
    assert_eq!(report::boards(split).unwrap()[0].entries[0].label, "emr");
    run("c", "ewc", 1, 1.0);
    run("d", "ewc", 2, 2.0);
    let error = runs.boards().unwrap_err().to_string();
    assert!(error.contains("setting `ewc_grid`"), "{error}");
}

#[test]
fn runs_that_must_not_be_compared_are_refused_by_name() {
    let vision = |layout: &str, real: usize| json!({"encoder": {"name": "tiny", "identity": "tiny"}, "layout": layout, "real_images": real, "stand_in_images": 5 - real});
    type Change = Box<dyn Fn(&mut Value)>;
    let cases: [(&str, &str, Change); 7] = [
        ("vanilla", "data (fingerprint)", Box::new(|record| record["dataset"]["fingerprint"] = "other".into())),
        (
            "vanilla",
            "protocol (tasks)",
            Box::new(|record| record["dataset"]["tasks"][0]["classes"] = json!(["b", "a"])),
        ),
        (
            "vanilla",
            "labels: None, a, b and None, a, b, c",
            Box::new(|record| record["dataset"]["labels"] = json!(["None", "a", "b", "c"])),
        ),
        ("lmc", "visual mode: image and crops", Box::new(move |record| record["vision"] = vision("crops", 5))),
        (
            "concat",
            "pictures: 5 real and 0 stand-ins and 2 real",
            Box::new(move |record| record["vision"] = vision("image", 2)),
        ),
        ("emr", "setting `epochs`", Box::new(|record| record["config"]["epochs"] = 7.into())),
        ("emr", "encoders", Box::new(|record| record["encoder"]["identity"] = "other".into())),
    ];
    for (method, what, change) in cases {
        let runs = Runs::new();
        runs.run("one/emr", "emr", 1, 8, |record| record["vision"] = Value::Null);
        runs.run("one/lmc", "mkgformer", 1, 8, |record| record["vision"] = vision("image", 5));
        runs.run("two", method, 2, 8, |record| {
            record["vision"] = Value::Null;
            change(record);
        });
        let error = runs.boards().err().unwrap_or_else(|| panic!("{what} is not refused")).to_string();
        assert!(error.contains(what) && error.contains("/one/") && error.contains("/two "), "{error}");
        assert!(error.contains("apart"), "no remedy: {error}");
    }
}

/// `visual = "blank"` and `"shuffled"`: rows of their own, not refused beside the pictures themselves.
#[test]
fn controls_of_the_pictures_stand_beside_them_under_their_own_label() {
    let vision = |layout: &str, real: usize, stand_in: usize| json!({"encoder": {"name": "tiny", "identity": "tiny"}, "layout": layout, "real_images": real, "stand_in_images": stand_in, "stand_in_rows": stand_in});
    let runs = Runs::new();
    let run = |name: &str, visual: &str, seen: Value| {
        runs.run(name, "lmc", 1, 8, |record| {
            record["config"]["visual"] = visual.into();
            record["vision"] = seen.clone();
        })
    };
    run("a-blank", "blank", vision("image", 0, 0));
    run("b", "auto", vision("image", 4, 1));
    run("c-shuffled", "shuffled", vision("image", 4, 1));
    let board = runs.board();
    let rows = board.entries.iter().chain(&board.apart);
    let mut labels: Vec<&str> = rows.map(|entry| entry.label.as_str()).collect();
    labels.sort_unstable();
    let marked = ["lmc (blank images)", "lmc (shuffled images) (stand-in images)", "lmc (stand-in images)"];
    assert_eq!(labels, marked);
    // Pictures that differ are refused whatever stands before them.
    let second = run("d", "shuffled", vision("image", 5, 0));
    let error = runs.boards().err().unwrap().to_string();
    assert!(error.contains("pictures: 4 real and 1 stand-ins and 5 real"), "{error}");
    fs_err::remove_dir_all(second).unwrap();
    run("e-blank", "blank", vision("crops", 0, 0));
    let error = runs.boards().err().unwrap().to_string();
    assert!(error.contains("visual mode: image and crops"), "{error}");
}

#[test]
fn every_file_of_a_report_says_the_same() {
    let runs = Runs::new();
    for (method, seed, wrong) in [("joint", 1, 100), ("emr", 1, 8), ("emr", 2, 10), ("rp-cre", 1, 9), ("vanilla", 1, 2)]
    {
        runs.run(&format!("{method}-{seed}"), method, seed, wrong, |record| record["dataset"]["name"] = "a_b".into());
    }
    let out = runs.path("report");
    let boards = runs.boards().unwrap();
    let text = report::write(&boards, &out).unwrap();
    let read = |name: &str| fs_err::read_to_string(Path::new(&out).join(name)).unwrap();
    assert_eq!(text, read("report.md"));
    let mean = boards[0].entries[1].stages["micro_f1"][1].mean.number().unwrap();
    let emr = text.lines().find(|line| line.starts_with("| 2 | emr |")).unwrap();
    assert!(emr.contains("| 2 | 100.0 ± 0.0 | 88.8 ± 15.9 [") && (mean - 0.8875).abs() < 1e-9, "{emr}");
    let csv = read("a_b-micro_f1.csv");
    assert!(csv.starts_with("rank,method,seeds,T1,T1_seeds_low,T1_seeds_high,T2,T2_seeds_low"), "{csv}");
    assert!(csv.contains("\n2,emr,2,1.000000,1.000000,1.000000,0.887500,"), "{csv}");
    assert!(read("scores.csv").contains("a_b,emr,2,2,micro_f1,0.900000,200,,,,false\n"), "{}", read("scores.csv"));
    assert!(read("scores.csv").contains("a_b,emr,2,2,macro_f1,0.898990,200,,2,2,false\n"), "{}", read("scores.csv"));
    assert!(read("scores.csv").contains("a_b,emr,1,,last_task_masked_accuracy,,200,"));
    assert!(read("a_b-pairs.csv").starts_with("one,other,difference,p,p_holm\njoint,"));
    assert!(read("a_b-f1_by_class.csv").contains("\nvanilla,1,a,1,100,1.000000,0.000000,false\n"));
    let json: Value = serde_json::from_str(&read("board.json")).unwrap();
    assert_eq!(json[0]["entries"][1]["stages"]["micro_f1"][1]["mean"], mean);
    let latex = read("a_b.tex");
    assert!(latex.contains("a\\_b: Micro-F1 without None") && latex.contains("\\begin{tabular}{lrrrrrr}"), "{latex}");
    let row = |start: &str| latex.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(row("rp-cre").contains("\\textbf{88.9}") || row("emr").contains("\\textbf{"), "{latex}");
    assert!(row("joint").starts_with("joint & 1 & 100.0"), "the upper bound takes no part: {latex}");
    assert!(latex.lines().any(|line| line.starts_with("emr\\dag &") || line.starts_with("rp-cre\\dag &")), "{latex}");
    assert!(!row("vanilla").contains("\\dag"), "{latex}");
}

/// A published run is anybody's to edit; one file alone never carries the edit.
#[test]
fn runs_whose_files_were_changed_are_told_from_the_others() {
    let runs = Runs::new();
    runs.plain("one", "emr", 1, 8);
    let doctored = runs.plain("two", "vanilla", 1, 2);
    let mut result: Value = serde_json::from_slice(&fs_err::read(doctored.join("result.json")).unwrap()).unwrap();
    result["stages"][0]["micro_f1"] = 0.5.into();
    fs_err::write(doctored.join("result.json"), result.to_string()).unwrap();
    let board = runs.board();
    let cause = &absent(&board, AbsentKind::Failed)[0].cause;
    assert!(cause.contains("`stages[0].micro_f1` is 0.5 in result.json, and the predictions give 1.0"), "{cause}");
    // Another task for one row of the first test, and a label that only the second task introduces.
    let changed = |change: fn(PredictionRow) -> PredictionRow| {
        let rows = |stage| (0..ROWS).map(move |index| row(stage, index, 2));
        let first = move |stage| rows(stage).map(|row| if stage == 0 { change(row) } else { row }).collect();
        runs.predicted("two", "vanilla", 1, first, |_| ());
        runs.boards()
            .map_or_else(|error| error.to_string(), |boards| absent(&boards[0], AbsentKind::Failed)[0].cause.clone())
    };
    let refused = changed(|row| PredictionRow { owner: Some(1), ..row });
    assert!(refused.contains("test rows after task 1 (ids, tasks or gold labels)") && refused.contains("leave it out"));
    let refused = changed(|row| PredictionRow { predicted: vec![2], ..row });
    assert!(refused.contains("has the label `b`, which a later task introduces"), "{refused}");
}
