//! What a board keeps apart and leaves open: rows with stand-in pictures, bounds of another modality, tests that lack
//! something, what single streams say.
#![allow(clippy::unwrap_used)]

mod common;

use common::runs::{Runs, entry, row};
use mkgc_harness::report;
use mkgc_harness::report::board::Board;
use mkgc_harness::run::predictions::PredictionRow;
use serde_json::{Value, json};

/// What a multimodal run saw: so many of five pictures are generated.
fn pictures(stand_ins: usize) -> impl Fn(&mut Value) {
    move |record| {
        record["vision"] = json!({"encoder": {"name": "tiny", "identity": "tiny"}, "layout": "image",
                                  "real_images": 5 - stand_ins, "stand_in_images": stand_ins});
    }
}

fn intransigence(board: &Board, label: &str) -> mkgc_harness::metrics::value::Value {
    entry(board, label).summary["intransigence_chaudhry18"].mean.clone()
}

/// The files of a report by name.
fn written(runs: &Runs) -> impl Fn(&str) -> String {
    let out = runs.path("report");
    report::write(&runs.boards().unwrap(), &out).unwrap();
    move |name| fs_err::read_to_string(out.join(name)).unwrap()
}

#[test]
fn rows_with_stand_in_pictures_are_listed_apart_in_every_form() {
    let runs = Runs::new();
    runs.plain("emr", "emr", 1, 8);
    runs.plain("vanilla", "vanilla", 1, 2);
    runs.run("lmc", "lmc", 1, 100, pictures(2));
    runs.run("concat", "concat", 1, 3, pictures(2));
    let board = runs.board();
    let labels = |entries: &[report::board::Entry]| entries.iter().map(|entry| entry.label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&board.entries), ["emr", "vanilla"]);
    assert_eq!(labels(&board.apart), ["lmc (stand-in images)", "concat (stand-in images)"]);
    assert_eq!(board.comparisons.len(), 1, "no test with a row apart");
    assert_eq!((board.entries[0].rank, board.apart[0].rank), (Some(1), None), "the best row apart takes no rank");
    assert!(board.apart[0].stages["micro_f1"][1].sampling_interval.is_some());
    let read = written(&runs);
    let (text, why) = (read("report.md"), "Generated pictures took the place of missing ones of the corpus");
    let (ranked, apart) = text.split_once("\n### Stand-in pictures\n").unwrap();
    assert!(!ranked.contains("| lmc (stand-in images) |") && ranked.contains("| 1 | emr |"), "{ranked}");
    let place = |part: &str| apart.find(part).unwrap_or_else(|| panic!("{part} in {apart}"));
    assert!(place(why) < place("| – | lmc (stand-in images) | 1 |"), "the sentence stands above the list");
    assert!(!apart.contains("| 1 | emr |"), "{apart}");
    let latex = read("twitter2017-plom.tex");
    let (learners, others) = latex.split_once(why).unwrap();
    assert!(learners.contains("\nemr") && !learners.contains("\nlmc") && others.contains("\nlmc (stand-in images) &"));
    assert!(!others[..others.find("\\bottomrule").unwrap()].contains("textbf"), "{others}");
    let csv = read("twitter2017-plom-micro_f1.csv");
    assert!(csv.lines().nth(1).unwrap().ends_with(",false") && csv.lines().nth(3).unwrap().ends_with(",true"), "{csv}");
    assert!(csv.contains("\n,lmc (stand-in images),1,"), "no rank: {csv}");
    assert!(!read("twitter2017-plom-pairs.csv").contains("lmc"));
    let page = read("report.html");
    let (before, after) = page.split_once("<tbody class=\"apart\">").unwrap();
    assert!(!before.contains("data-label=\"lmc") && after.contains("data-label=\"lmc (stand-in images)\""));
    assert!(after.trim_start().contains(why) && page.contains("<small>not ranked"));
    let short = report::short(&runs.boards().unwrap());
    assert!(short.find("| emr |").unwrap() < short.find(why).unwrap(), "{short}");
}

#[test]
fn a_board_may_hold_rows_apart_alone() {
    let runs = Runs::new();
    runs.run("lmc", "lmc", 1, 100, pictures(2));
    let text = written(&runs)("report.md");
    assert!(text.contains("1 method, 1 run;") && text.contains("| – | lmc (stand-in images) | 1 |"), "{text}");
    assert!(!text.contains("Cannot be told apart"), "{text}");
}

#[test]
fn intransigence_is_against_the_bound_of_the_same_modality() {
    let runs = Runs::new();
    runs.plain("emr", "emr", 1, 8);
    runs.run("lmc", "lmc", 1, 4, pictures(0));
    runs.plain("joint", "joint", 1, 100);
    let board = runs.board();
    assert!(intransigence(&board, "emr").number().is_some());
    let missing = "undefined: needs a run of Joint with pictures (joint-multimodal) on the board";
    assert_eq!(intransigence(&board, "lmc").reason().unwrap(), missing);
    runs.run("bound", "joint-multimodal", 1, 2, pictures(0));
    let board = runs.board();
    // Even rows are of relation a, so both learn task b like the bound: every row of it is right.
    assert_eq!(intransigence(&board, "lmc").number(), Some(0.0));
    assert!(intransigence(&board, "joint-multimodal").reason().unwrap().contains("Joint is what others"));
    runs.run("odd", "mkgformer", 1, 5, pictures(0));
    // Every tenth row is an odd one that is wrong: 20 of the 100 of task b.
    let lost = intransigence(&runs.board(), "mkgformer").number().unwrap();
    assert!((lost - (1.0 - 0.8) / 2.0).abs() < 1e-12, "{lost}");
    runs.run("bound", "joint-multimodal", 1, 2, |record| {
        pictures(0)(record);
        record["vision"]["encoder"]["identity"] = "other".into();
    });
    assert!(intransigence(&runs.board(), "lmc").reason().unwrap().contains("another vision encoder"));
}

/// Every row of the last test is of relation a, so that task b is not tested.
fn first_task_alone(stage: usize, wrong: usize) -> Vec<PredictionRow> {
    let of = |index: usize| PredictionRow {
        owner: Some(0),
        gold: vec![1],
        predicted: vec![if stage == 1 && index.is_multiple_of(wrong) { 2 } else { 1 }],
        ..row(stage, index, wrong)
    };
    (0..20).map(of).collect()
}

#[test]
fn a_task_without_test_rows_is_left_out_and_n_says_so() {
    let runs = Runs::new();
    for (method, wrong) in [("emr", 4), ("joint", 10)] {
        runs.predicted(method, method, 1, |stage| first_task_alone(stage, wrong), |_| ());
    }
    let board = runs.board();
    let emr = entry(&board, "emr");
    assert_eq!(emr.matrix[1][1].reason().unwrap(), "undefined: no test rows of task 2");
    let average = &emr.summary["average_lopezpaz17"];
    // Fifteen of twenty found, none of relation a where it is not: 2 · 15 / (20 + 20) with the five false b.
    assert!((average.mean.number().unwrap() - 30.0 / 40.0).abs() < 1e-12, "{average:?}");
    assert_eq!(average.entered.map(|entered| (entered.n, entered.of)), Some((1, 2)));
    assert_eq!(intransigence(&board, "emr").number(), Some(0.0), "the first task is learned alike");
    let read = written(&runs);
    let text = read("report.md");
    assert!(text.contains("\nn: T1 1, T2 1 of 2, average 2.\n"), "{text}");
    assert!(text.contains("\nn: average_lopezpaz17 1 of 2, learning_accuracy_riemer19 1 of 2,"), "{text}");
    assert!(text.contains("| b | T2 | 0 | undefined | undefined |"), "{text}");
    assert!(read("twitter2017-plom.tex").contains("T2 1 of 2"));
    assert!(read("twitter2017-plom-macro_f1.csv").starts_with("rank,method,seeds,T1,T1_n,T2,T2_n,average,average_n,"));
    assert!(read("scores.csv").contains("emr,1,,learning_accuracy_riemer19,1.000000,20,,1,2,false\n"));
    let page = read("report.html");
    assert!(page.contains("<small>n = 1 of 2</small>"));
    assert!(page.contains("undefined: no row of class b in the test file"));
}

#[test]
fn a_last_test_without_a_class_ranks_and_tests_nobody() {
    let runs = Runs::new();
    let rows = |stage: usize| -> Vec<PredictionRow> {
        let none = |index: usize| PredictionRow { gold: vec![0], predicted: vec![0], ..row(1, index, 100) };
        if stage == 0 { first_task_alone(0, 1) } else { (0..20).map(none).collect() }
    };
    for method in ["emr", "vanilla"] {
        runs.predicted(method, method, 1, rows, |_| ());
    }
    let board = runs.board();
    assert!(board.comparisons.is_empty() && board.entries.iter().all(|entry| entry.rank == Some(1)));
    let last = &entry(&board, "emr").stages["micro_f1"][1];
    assert_eq!((last.mean.number(), last.sampling_interval), (None, None));
    let text = written(&runs)("report.md");
    assert!(text.contains("no row of a class seen in the test file after task 2"), "{text}");
    assert!(text.contains("There are no pairs to test") && !text.contains("differs from all others"), "{text}");
    let empty = Runs::new();
    empty.predicted("emr", "emr", 1, |stage| if stage == 0 { first_task_alone(0, 1) } else { vec![] }, |_| ());
    assert!(written(&empty)("report.md").contains("no test rows after task 2"));
}

/// The text half forgets relation a, the vision half keeps it; every step has its ρ.
#[test]
fn what_single_streams_say_is_shown_where_it_is_stored() {
    let runs = Runs::new();
    let rows = |stage: usize| -> Vec<PredictionRow> {
        let of = |index: usize| {
            let row = row(stage, index, 7);
            let text = if stage == 1 && row.gold == [1] { 0 } else { row.gold[0] };
            PredictionRow { text: vec![text], vision: row.gold.clone(), ..row }
        };
        (0..20).map(of).collect()
    };
    let one = |stage: usize| (0..20).map(|index| row(stage, index, 5)).collect();
    let folder = runs.predicted("lmc", "lmc", 1, rows, pictures(0));
    runs.predicted("emr", "emr", 1, one, |_| ());
    let line = |stage: usize, rho: [f32; 2]| {
        json!({"stage": stage, "epoch": 0, "step": 2, "loss": 0.5, "lr_encoder": 1e-3, "samples_per_s": 1.0,
               "memory_mib": 1, "scalars": {"rho": [[1, rho[0]], [2, rho[1]]]}})
    };
    fs_err::write(folder.join("metrics.jsonl"), format!("{}\n{}\n", line(0, [0.5, 2.0]), line(1, [4.0, 1.0]))).unwrap();
    let board = runs.board();
    let summary = &entry(&board, "lmc").summary;
    assert_eq!(summary["text_half_forgetting_chaudhry18"].mean.number(), Some(1.0));
    assert_eq!(summary["vision_half_forgetting_chaudhry18"].mean.number(), Some(0.0));
    let read = written(&runs);
    let report = read("report.md");
    let (_, half) = report.split_once("\n### Micro-F1 of the text half\n").unwrap();
    let half = half.split_once("\n### ").unwrap().0;
    assert!(half.contains("| lmc |") && !half.contains("emr") && !half.contains("undefined"), "{half}");
    let tex = read("twitter2017-plom.tex");
    let (_, half) = tex.split_once("tab:twitter2017-plom-text_half").unwrap();
    let half = half.split_once("\\end{table}").unwrap().0;
    assert!(half.contains("\nlmc") && !half.contains("\nemr"), "{half}");
    assert!(read("twitter2017-plom-text_half_micro_f1.csv").contains("text_half_forgetting_chaudhry18"));
    let page = read("report.html");
    let section = page.split_once("<h3>Text and vision alone</h3>").unwrap().1;
    let section = section.split_once("<h3>").unwrap().0;
    assert!(section.contains("unequal pace") && section.contains("forget unequally"), "{section}");
    assert!(section.contains("data-label=\"lmc\"") && !section.contains("data-label=\"emr\""), "{section}");
    assert!(section.contains("Forgetting of the text half") && section.contains("<td>100.0</td>"), "{section}");
    let plot = read("plots/twitter2017-plom/lmc-balance.svg");
    let document = roxmltree::Document::parse(&plot).unwrap();
    let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    // Two tasks of two steps; the scale is logarithmic and runs from 1/2 to 4.
    assert!(["0.5", "1", "2", "4"].iter().all(|height| texts.contains(height)), "{texts:?}");
    assert_eq!(plot.matches("<polyline fill=\"none\" stroke-dasharray").count(), 2);
    assert!(section.contains("ρ over 4 batches"), "{section}");
    // A board of networks with one stream says nothing of halves.
    fs_err::remove_dir_all(folder).unwrap();
    let page = html(&runs);
    assert!(!page.contains("Text and vision alone") && !page.contains("text half"), "{page}");
}

fn html(runs: &Runs) -> String {
    report::html::page(&runs.boards().unwrap()).unwrap()
}
