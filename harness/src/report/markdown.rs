//! Writes the report's Markdown. Scores are in percent.

use mkgc_builder::corpus::Extraction;

use super::board::{Absent, Board, Confusion, Entry, Estimate, RunCard};
use super::table::{self, APART, Table};
use crate::console::counted;
use crate::escape::{file_name, markdown as escape};
use crate::metrics::value::{Entered, Value};
use crate::metrics::{Metric, StageMetric};
use crate::run::external::{PhaseRecord, StreamRecord};
use crate::run::record::{Model, RunRecord, Trained};
use crate::stats::interval::RESAMPLES;
use crate::stats::permutation::PERMUTATIONS;

/// Prints all boards as one document, with the formulas of the metrics at its end.
pub fn report(boards: &[Board]) -> String {
    let mut text = format!(
        "# Comparative results\n\n\
         Scores are in percent. ± is half the 95 % interval of the mean over seeds (Student's t), where there are several; \
         [ ] is the 95 % interval over test rows (percentile bootstrap, {RESAMPLES} resamples, rows drawn alike for all \
         methods). A method's rank is 1 + the number of methods that are significantly better in the main metric after the \
         last task (paired permutation test over test rows, {PERMUTATIONS} permutations, Holm's correction over all pairs, \
         α = 0.05). Tests and [ ] speak of other test rows, not of other seeds. Where a mean is over classes, tasks or \
         stages, n says over how many: those without test rows are left out.\n"
    );
    for board in boards {
        text += &heading(board);
        let tables = table::all(board);
        if !board.entries.is_empty() {
            tables.iter().for_each(|table| text += &self::table(table, table.entries, "###"));
            text += &ties(board);
            text += &classes(board, &board.entries, "###");
            text += &confusion(board, &board.entries, "###");
        }
        if !board.apart.is_empty() {
            text += &format!("\n### Stand-in pictures\n\n{APART}\n");
            tables.iter().for_each(|table| text += &self::table(table, table.apart, "####"));
            text += &classes(board, &board.apart, "####");
            text += &confusion(board, &board.apart, "####");
        }
        text += &runs(board);
        text += &others(board);
        text += &absent(&board.absent);
    }
    text + &formulas()
}

/// Prints the section that has the formula of each metric and says how to read it.
fn formulas() -> String {
    let explained = Metric::all().filter(|metric| matches!(metric, Metric::Stage(_) | Metric::Matrix(_)));
    let rows = explained.map(|metric| vec![format!("`{}`", metric.key()), escape(&metric.formula())]).collect();
    let header = ["metric", "formula"].map(str::to_owned).to_vec();
    let said = "`last_…` is a metric after the last task, `average_incremental_…` its mean over the stages (Rebuffi et al. \
                2017). R[i][j] is the micro-F1 on task j after learning tasks 0 to i: RE on the rows of task j, NER on its \
                types. A score is undefined where the test has nothing that it is about, whatever was predicted. The text \
                and the vision half are what each stream of a network of two says alone: their plasticity and forgetting \
                show whether the streams learn at one pace and forget alike.";
    format!("\n## Metrics\n\n{said}\n{}", grid(header, 2, rows))
}

/// Prints the main table of each board.
pub fn short(boards: &[Board]) -> String {
    let main = |board: &Board| {
        let title = format!("\n{}: {} after each task", escape(&board.benchmark), board.metrics[0].title);
        let Some(table) = table::all(board).into_iter().next() else { return title };
        let listed = |entries: &[Entry]| if entries.is_empty() { String::new() } else { rows(&table, entries) };
        let why = if table.apart.is_empty() { String::new() } else { format!("\n{APART}\n") };
        title + &listed(table.entries) + &why + &listed(table.apart)
    };
    boards.iter().map(main).collect::<String>().trim_start().to_owned()
}

/// Says which data and tasks a board is about and how much it holds.
fn heading(board: &Board) -> String {
    let names: Vec<String> =
        board.tasks.iter().enumerate().map(|(i, task)| format!("T{} {}", i + 1, escape(&task.name))).collect();
    let entries = board.all().count();
    let runs: usize = board.all().map(|entry| entry.runs.len()).sum();
    let stages = board.all().next().map_or(&[][..], |entry| &entry.stages[&Metric::Stage(StageMetric::MAIN)]);
    let rows: Vec<String> = stages.iter().map(|estimate| estimate.instances.to_string()).collect();
    let (entries, runs) = (counted(entries, "method"), counted(runs, "run"));
    let counts = format!("{entries}, {runs}; test rows after each task: {}.", rows.join(", "));
    let fingerprint = escape(&board.fingerprint);
    let benchmark = escape(&board.benchmark);
    format!("\n## {benchmark}\n\nData fingerprint `{fingerprint}`. Tasks: {}. {counts}\n", names.join(" · "))
}

/// Prints a table of some entries with its title, how many terms its means are over, and why numbers are missing; nothing
/// if the table shows none of them.
fn table(table: &Table<'_>, entries: &[Entry], level: &str) -> String {
    if !entries.iter().any(|entry| table.shows(entry)) {
        return String::new();
    }
    let mut text = format!("\n{level} {}\n", table.title);
    let empty = table.columns.is_empty();
    if !empty {
        text += &rows(table, entries);
    }
    text += &terms(table);
    for (reason, columns) in &table.reasons {
        let columns = if empty { String::new() } else { format!("{} – ", columns.join(", ")) };
        text += &format!("\n{columns}{}.\n", escape(reason));
    }
    text
}

/// Says how many classes, tasks or stages entered each mean.
fn terms(table: &Table<'_>) -> String {
    let count = |Entered { n, of }: &Entered| if n < of { format!("{n} of {of}") } else { n.to_string() };
    let means = table.entered.iter().map(|(column, entered)| format!("{column} {}", count(entered)));
    let means: Vec<String> = means.collect();
    if means.is_empty() { String::new() } else { format!("\nn: {}.\n", means.join(", ")) }
}

fn rows(table: &Table<'_>, entries: &[Entry]) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    let row = |entry: &Entry| {
        let cells = table.columns.iter().map(|column| column.estimate(entry).map_or_else(String::new, cell));
        let first = [rank(entry), escape(&entry.label), entry.seeds.len().to_string()];
        first.into_iter().chain(cells).collect()
    };
    let header = ["rank", "method", "seeds"].map(str::to_owned).into_iter().chain(columns).collect();
    grid(header, 2, entries.iter().filter(|entry| table.shows(entry)).map(row).collect())
}

fn rank(entry: &Entry) -> String {
    entry.rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string())
}

/// Prints a Markdown table of cells in Markdown, the first `left` columns aligned to the left.
fn grid(header: Vec<String>, left: usize, rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: String = (1..=header.len()).map(|column| if column <= left { "---|" } else { "---:|" }).collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("\n{}|{rule}\n{rows}", line(&header))
}

fn cell(estimate: &Estimate) -> String {
    let Some(mean) = estimate.mean.number() else {
        return "undefined".to_owned();
    };
    let mut text = percent(mean);
    if let Some([low, high]) = estimate.seed_interval {
        text += &format!(" ± {}", percent((high - low) / 2.0));
    }
    if let Some([low, high]) = estimate.sampling_interval {
        text += &format!(" [{}, {}]", percent(low), percent(high));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// Lists for each entry those that it cannot be told apart from.
fn ties(board: &Board) -> String {
    let pairs = board.comparisons.len();
    let mut text = format!("\n### Cannot be told apart\n\n{} after the last task.", board.metrics[0].title);
    if board.comparisons.is_empty() {
        return text + " There are no pairs to test.\n";
    }
    if pairs as f64 > super::significance::ALPHA * (PERMUTATIONS + 1) as f64 {
        text += &format!(
            " With {pairs} pairs, {PERMUTATIONS} permutations are too few for any to be told apart: report fewer methods."
        );
    }
    text += &format!(" Differences and p values of all {pairs} pairs: `{}-pairs.csv`.\n", file_name(&board.benchmark));
    let row = |(index, entry): (usize, &Entry)| {
        let tied = board.comparisons.iter().filter(|pair| !pair.significant());
        let others = tied.filter_map(|pair| match index {
            one if one == pair.one => Some(pair.other),
            other if other == pair.other => Some(pair.one),
            _ => None,
        });
        let others: Vec<String> = others.map(|other| escape(&board.entries[other].label)).collect();
        let others = if others.is_empty() { "differs from all others".to_owned() } else { others.join(", ") };
        vec![rank(entry), escape(&entry.label), others]
    };
    let header = ["rank", "method", "cannot be told apart from"].map(str::to_owned).to_vec();
    text + &grid(header, 3, board.entries.iter().enumerate().map(row).collect())
}

/// Prints F1 of each class after the last task.
fn classes(board: &Board, entries: &[Entry], level: &str) -> String {
    let labels = entries.iter().map(|entry| escape(&entry.label));
    let header = ["class", "task", "support"].map(str::to_owned).into_iter().chain(labels).collect();
    let f1 = |entry: &Entry, class: usize| entry.classes[class].f1.last().map_or_else(String::new, plain);
    let row = |class: usize| {
        let shared = &entries[0].classes[class];
        let first = [escape(&shared.class), format!("T{}", shared.task + 1), shared.support.to_string()];
        first.into_iter().chain(entries.iter().map(|entry| f1(entry, class))).collect()
    };
    let name = file_name(&board.benchmark);
    let title = format!("\n{level} F1 by class after the last task\n\nAfter every task: `{name}-f1_by_class.csv`.\n");
    title + &grid(header, 2, (0..entries[0].classes.len()).map(row).collect())
}

/// Prints a number in percent, or `undefined`.
fn plain(value: &Value) -> String {
    value.number().map_or_else(|| "undefined".to_owned(), percent)
}

/// Prints what items of old and new classes are predicted as.
fn confusion(board: &Board, entries: &[Entry], level: &str) -> String {
    let [old, new, none] = entries[0].confusion.items;
    let (items, of_none, skipped) = match board.task {
        Extraction::Relations => ("rows", format!("{} without a relation", counted(none, "row")), 0),
        Extraction::Entities => {
            ("entities, by the type predicted for the same words", "predicted spans that are no entity".to_owned(), 1)
        }
    };
    let text = format!(
        "\n{level} Old and new classes after the last task\n\nOld: {old} {items}; new (learned last): {new}; none: \
         {of_none}. Shares in percent.\n"
    );
    let header = ["method", "old: right", "other old", "new", "none", "new: right", "old", "other new", "none"];
    let of_none = ["none: none", "old", "new"];
    let header = header.iter().chain(&of_none[skipped..]).map(|name| (*name).to_owned()).collect();
    let row = |entry: &Entry| {
        let Confusion { old, new, none, .. } = &entry.confusion;
        let shares = old.iter().chain(new).chain(&none[skipped..]);
        std::iter::once(escape(&entry.label)).chain(shares.map(plain)).collect()
    };
    text + &grid(header, 1, entries.iter().map(row).collect())
}

/// Prints the settings and costs of each run.
fn runs(board: &Board) -> String {
    let header = [
        "method",
        "seed",
        "folder",
        "encoder",
        "vision",
        "epochs",
        "batch",
        "rates encoder/head",
        "may store",
        "rows stored",
        "optimiser steps",
        "minutes",
        "device",
        "mkgc",
    ];
    let rows: Vec<Vec<String>> = board.all().flat_map(|entry| &entry.runs).map(run).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n### Runs\n{}", grid(header.map(str::to_owned).to_vec(), header.len(), rows))
}

fn run(card: &RunCard) -> Vec<String> {
    let record = &card.record;
    let vision = record.vision().map_or_else(
        || "none".to_owned(),
        |vision| {
            format!("{}, {} images, {} stand-ins", vision.encoder.name, vision.real_images, vision.stand_in_images)
        },
    );
    let known = |of: fn(&Trained) -> String| record.trained().map_or_else(|| "not known".to_owned(), of);
    let recorded = |cell: Option<String>| cell.unwrap_or_else(|| "not recorded".to_owned());
    let cells = [
        record.label(),
        record.train_seed().to_string(),
        card.folder.clone(),
        known(|model| model.encoder.name.clone()),
        vision,
        known(|model| model.config.epochs.to_string()),
        known(|model| model.config.batch_size.to_string()),
        known(|model| format!("{:e} / {:e}", model.config.lr_encoder, model.config.lr_head)),
        record.memory_budget.clone(),
        recorded(record.stored_rows().map(|rows| rows.to_string())),
        recorded(record.cost.as_ref().map(|cost| cost.optimiser_steps.to_string())),
        recorded(record.minutes().map(|minutes| format!("{minutes:.1}"))),
        known(|model| format!("{}, {} threads", model.device, model.threads)),
        record.code_version.clone(),
    ];
    cells.iter().map(|cell| escape(cell)).collect()
}

/// Lists the models that were trained elsewhere: what they are, and what happened while mkgc dealt the tasks out to them.
fn others(board: &Board) -> String {
    let rows: Vec<Vec<String>> =
        board.all().flat_map(|entry| &entry.runs).filter_map(|card| other(&card.record)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "method",
        "seed",
        "what it is",
        "address",
        "learning, predicting (s)",
        "requests refused",
        "begun again after task",
    ];
    format!("\n### Other programs\n{}", grid(header.map(str::to_owned).to_vec(), header.len(), rows))
}

fn other(record: &RunRecord) -> Option<Vec<String>> {
    let Model::External { source, .. } = &record.model else { return None };
    let stream = |print: &dyn Fn(&StreamRecord) -> String| record.stream().map_or_else(|| "–".to_owned(), print);
    let seconds = |stream: &StreamRecord| {
        let sum = |of: fn(&PhaseRecord) -> f64| stream.phases.iter().map(of).sum::<f64>();
        format!("{:.0}, {:.0}", sum(|phase| phase.learn_seconds), sum(|phase| phase.predict_seconds))
    };
    let after = |stream: &StreamRecord| {
        let again: Vec<String> = stream.started_after.iter().skip(1).map(usize::to_string).collect();
        if again.is_empty() { "–".to_owned() } else { again.join(", ") }
    };
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let cells = [
        record.label(),
        record.train_seed().to_string(),
        said(&source.description),
        said(&source.url),
        stream(&seconds),
        stream(&|stream| stream.refused.values().sum::<usize>().to_string()),
        stream(&after),
    ];
    Some(cells.iter().map(|cell| escape(cell)).collect())
}

/// Lists the runs without a number, and why.
fn absent(absent: &[Absent]) -> String {
    if absent.is_empty() {
        return String::new();
    }
    let row = |run: &Absent| {
        let seed = run.seed.map_or_else(|| "unknown".to_owned(), |seed| seed.to_string());
        let path = run.log.as_ref().or(run.folder.as_ref()).cloned().unwrap_or_else(|| "no folder".to_owned());
        vec![escape(&run.label), seed, run.kind.to_string(), escape(&run.cause), escape(&path)]
    };
    let header = ["method", "seed", "what", "cause", "see"].map(str::to_owned).to_vec();
    format!("\n### Without a number\n{}", grid(header, 5, absent.iter().map(row).collect()))
}
