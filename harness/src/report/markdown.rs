//! The report's Markdown. Scores are shown in percent.

use super::{Cell, Run, Table};
use crate::run::record::Cost;

/// A benchmark's heading: which data, which tasks.
pub fn heading(name: &str, runs: &[&Run]) -> String {
    let dataset = &runs[0].record.dataset;
    let names: Vec<String> =
        dataset.tasks.iter().enumerate().map(|(i, task)| format!("T{} {}", i + 1, task.name)).collect();
    format!("\n## {name}\n\nData fingerprint `{}`. Tasks: {}.\n", dataset.fingerprint, names.join(" · "))
}

/// A table of one metric.
pub fn table(table: &Table) -> String {
    let mut text = format!("\n### {}\n\n| method |", table.metric.title(table.task));
    text += &table.columns.iter().map(|column| format!(" {column} |")).collect::<String>();
    text += &format!("\n|---|{}\n", "---:|".repeat(table.columns.len()));
    for row in &table.rows {
        let seeds = if row.seeds > 1 { format!(" ({} seeds)", row.seeds) } else { String::new() };
        let cells: String = row.cells.iter().map(|cell| format!(" {} |", percent(cell))).collect();
        text += &format!("| {}{seeds} |{cells}\n", row.method);
    }
    text
}

fn percent(cell: &Cell) -> String {
    match (cell.mean(), cell.std()) {
        (Some(mean), Some(std)) => format!("{:.1} ± {:.1}", mean * 100.0, std * 100.0),
        (Some(mean), None) => format!("{:.1}", mean * 100.0),
        (None, _) => "undefined".to_owned(),
    }
}

/// F1 of each class after the last task.
pub fn classes(runs: &[&Run]) -> String {
    let dataset = &runs[0].record.dataset;
    let classes: Vec<&String> = dataset.tasks.iter().flat_map(|task| &task.classes).collect();
    let mut text = String::from("\n### F1 by class after the last task\n\n| class | support |");
    text += &runs
        .iter()
        .map(|run| format!(" {} (seed {}) |", run.record.label(), run.result.train_seed))
        .collect::<String>();
    text += &format!("\n|---|---:|{}\n", "---:|".repeat(runs.len()));
    for class in classes {
        let last = |run: &Run| run.result.stages.last().cloned();
        let support = last(runs[0]).and_then(|stage| stage.support_by_class.get(class).copied()).unwrap_or(0);
        let f1 = |run: &&Run| last(run).and_then(|stage| stage.f1_by_class.get(class).copied()).unwrap_or(0.0);
        let cells: String = runs.iter().map(|run| format!(" {:.1} |", f1(run) * 100.0)).collect();
        text += &format!("| {class} | {support} |{cells}\n");
    }
    text
}

/// What each run was made with and what it cost.
pub fn settings(runs: &[&Run]) -> String {
    let columns = [
        "method",
        "seed",
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
    let mut text = format!("\n### Runs\n\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for run in runs {
        let (record, config) = (&run.record, &run.record.config);
        let vision = record.vision.as_ref().map_or_else(
            || "-".to_owned(),
            |vision| {
                let (real, stand_in) = (vision.real_images, vision.stand_in_images);
                format!("{}, {real} images, {stand_in} stand-ins", vision.encoder.name)
            },
        );
        let cost = |of: fn(&Cost) -> String| record.cost.as_ref().map_or_else(|| "not recorded".to_owned(), of);
        let cells = [
            record.label(),
            config.train_seed.to_string(),
            record.encoder.name.clone(),
            vision,
            config.epochs.to_string(),
            config.batch_size.to_string(),
            format!("{:e} / {:e}", config.lr_encoder, config.lr_head),
            record.memory_budget.clone(),
            cost(|cost| cost.stored_rows.to_string()),
            cost(|cost| cost.optimiser_steps.to_string()),
            cost(|cost| format!("{:.1}", cost.wall_seconds / 60.0)),
            format!("{}, {} threads", record.device, record.threads),
            record.code_version.clone(),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}
