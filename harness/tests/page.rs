//! The HTML page and its plots, from the committed runs.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use mkgc_harness::metrics::value::Value;
use mkgc_harness::report::board::{Absent, AbsentKind, Board, Entry};
use mkgc_harness::report::{self, html, plots};
use mkgc_harness::run::record::{Model, Trained};

fn last(entry: &Entry) -> f64 {
    entry.stages["micro_f1"].last().unwrap().mean.number().unwrap()
}

fn board(benchmark: &str) -> Board {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/minilm/runs").join(benchmark);
    report::boards(report::load(&[runs]).unwrap()).unwrap().remove(0)
}

/// Both boards, with everything a board may also hold.
fn boards() -> [Board; 2] {
    let mut boards = ["mnre-10", "twitter2017-plom"].map(board);
    let first = &mut boards[0];
    first.comparisons[0].p_holm = 0.125;
    first.absent.push(Absent {
        label: "emr [still]".to_owned(),
        seed: Some(7),
        kind: AbsentKind::Failed,
        cause: "the rate is < 0 & no step was taken".to_owned(),
        folder: Some("runs/mnre-10/emr-still".to_owned()),
        log: Some("runs/mnre-10/emr-still/log.txt".to_owned()),
    });
    first.entries[1].label = "<script>alert('x')</script>".to_owned();
    first.entries[1].method = "elsewhere".to_owned();
    (first.entries[2].rank, first.entries[3].rank) = (Some(4), Some(4));
    let forgetting = first.entries[3].summary.get_mut("forgetting_chaudhry18").unwrap();
    forgetting.mean = Value::Undefined("undefined: needs at least two tasks".to_owned());
    boards
}

/// Keeps a page where `tools/browser/check` finds it.
fn keep(name: &str, page: &str) {
    fs_err::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), page).unwrap();
}

#[test]
fn a_board_of_absent_runs_alone_is_a_page() {
    let mut board = boards().into_iter().next().unwrap();
    board.entries.clear();
    board.apart.clear();
    board.comparisons.clear();
    let page = html::page(&[board]).unwrap();
    assert!(page.contains("no step was taken") && !page.contains("<h3>Classes</h3>"));
}

#[test]
fn the_floor_is_drawn_whatever_its_place() {
    let mut board = board("mnre-10");
    let place = board.entries.iter().position(|entry| entry.label == "vanilla").unwrap();
    let vanilla = board.entries.remove(place);
    let copies = (0..40).map(|number| Entry { label: format!("copy {number}"), ..vanilla.clone() });
    board.entries = copies.chain([vanilla.clone()]).collect();
    let drawn = plots::drawn(&board);
    assert_eq!(drawn, (0..22).chain([40]).collect::<Vec<_>>());
}

#[test]
fn the_page_holds_every_entry_and_cause_and_loads_nothing() {
    let boards = boards();
    let page = html::page(&boards).unwrap();
    keep("report.html", &page);
    for board in &boards {
        for entry in board.all().filter(|entry| !entry.label.starts_with('<')) {
            assert!(page.contains(&format!("<span>{}</span>", entry.label)), "{}", entry.label);
            assert!(page.contains(&entry.runs[0].folder.replace('/', "&#x2f;")), "{}", entry.runs[0].folder);
        }
        assert!(page.contains(&board.fingerprint));
    }
    let parts = ["the rate is &lt; 0 &amp; no step was taken", "emr-still&#x2f;log.txt", "<td>0.1250</td>"];
    for part in parts.into_iter().chain(["<abbr title=\"undefined: needs at least two tasks\">undefined</abbr>"]) {
        assert!(page.contains(part), "{part}");
    }
    // A tie is marked, stand-ins are, numbers are the runs'.
    let shown = format!("{:.1}", last(&boards[0].entries[0]) * 100.0);
    assert!(page.contains("<td>4=</td>") && page.contains("stand-in images</span>") && page.contains(&shown));
    // Names of other sites may stand in the text, never where a browser would load them.
    for load in ["src=", "@import", "url(", "href=\"http", "fetch(", "<link", "<iframe"] {
        assert!(!page.contains(load), "{load}");
    }
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
}

#[test]
fn names_are_text_not_markup() {
    let page = html::page(&boards()).unwrap();
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("&lt;script&gt;alert(&#x27;x&#x27;)&lt;&#x2f;script&gt;"));
    assert_eq!(page.matches("<script>").count(), 1);
}

#[test]
fn two_hundred_runs_make_a_page_of_bounded_plots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/minilm/runs/mnre-10");
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let runs: Vec<_> = entries.filter(|run| run.to_string_lossy().ends_with("-seed42")).collect();
    let mut board = report::boards(report::load(&runs).unwrap()).unwrap().remove(0);
    let template = board.entries.clone();
    let copy = |number: usize| {
        let mut entry = template[number % template.len()].clone();
        entry.label = format!("{} [copy {number}]", entry.method);
        entry
    };
    board.entries = (0..200).map(copy).collect();
    assert_eq!(plots::drawn(&board).len(), 22);
    let page = html::page(std::slice::from_ref(&board)).unwrap();
    keep("report-200.html", &page);
    assert!(board.entries.iter().all(|entry| page.contains(&format!("<span>{}</span>", entry.label))));
    assert!(page.len() < 3_000_000, "{}", page.len());
}

#[test]
fn plots_are_well_formed_and_name_every_entry() {
    let board = &boards()[0];
    let scores = plots::scores(board, &board.metrics[0]).unwrap().unwrap();
    keep("scores.svg", &scores);
    let document = roxmltree::Document::parse(&scores).unwrap();
    let texts: Vec<&str> =
        document.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect();
    // Long names are cut.
    let names = |text: &str, label: &str| match text.trim().split_once('…') {
        Some((start, "")) => label.starts_with(start),
        _ => text.trim() == label,
    };
    for entry in &board.entries {
        assert!(texts.iter().any(|text| names(text, &entry.label)), "{} in {texts:?}", entry.label);
    }
    let curves = document.descendants().filter(|node| node.attribute("stroke-dasharray").is_some()).count();
    assert_eq!(curves, board.entries.len());
    for entry in &board.entries {
        let matrix = plots::matrix(board, entry).unwrap();
        let cells = |svg: &str, tag| {
            roxmltree::Document::parse(svg)
                .unwrap()
                .descendants()
                .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", tag)))
                .count()
        };
        assert_eq!(cells(&matrix, "rect"), 55);
        assert!(cells(&plots::classes(board, entry).unwrap(), "text") >= 20);
        // Other programs leave no log of their steps, and `majority` takes none.
        let steps = matches!(entry.runs[0].record.model, Model::Trained(_)) && entry.method != "majority";
        let training = plots::training(board, entry).unwrap();
        assert_eq!(training.is_some(), steps, "{}", entry.label);
        assert!(training.is_none_or(|training| cells(&training, "polyline") >= 10));
    }
}

#[test]
fn settings_are_those_that_a_method_reads_and_differ_by_value_alone() {
    let mut board = board("mnre-10");
    board.entries.retain(|entry| entry.label == "vanilla");
    board.apart.clear();
    board.comparisons.clear();
    let second = board.entries[0].runs[0].clone();
    board.entries[0].runs.push(second);
    let page = |change: &dyn Fn(&mut Trained)| {
        let mut board = board.clone();
        let Model::Trained(trained) = &mut board.entries[0].runs[1].record.model else { panic!() };
        change(trained);
        html::page(&[board]).unwrap()
    };
    let differ = |page: &str| page.contains("Settings in which runs on this benchmark differ");
    let same = page(&|_| {});
    assert!(same.contains("<code>batch_size</code>") && !same.contains("<code>memory_per_class</code>"));
    assert!(!differ(&same));
    // Vanilla does not read this one.
    assert!(!differ(&page(&|trained| trained.config.memory_per_class += 1)));
    // Where a value came from does not make it another one.
    assert!(!differ(&page(&|trained| trained.origins.values_mut().for_each(|origin| origin.push('x')))));
    assert!(differ(&page(&|trained| trained.config.batch_size += 1)));
}
