//! Checks predictions against the test rows of a benchmark. All mistakes are collected before any is reported.

use std::collections::BTreeMap;

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Row;

use super::read::SubmittedRow;
use crate::data::{Benchmark, VisibleLabels};
use crate::error::{Error, Result};
use crate::run::predictions::PredictionRow;

/// Number of examples shown of each kind of mistake.
const EXAMPLES: usize = 5;

/// One kind of mistake.
struct Mistake {
    kind: String,
    count: usize,
    examples: Vec<String>,
}

/// Mistakes by kind, in the order in which the kinds were found.
#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, kind: String, example: String) {
        let index = self.0.iter().position(|mistake| mistake.kind == kind).unwrap_or_else(|| {
            self.0.push(Mistake { kind, count: 0, examples: Vec::new() });
            self.0.len() - 1
        });
        let mistake = &mut self.0[index];
        mistake.count += 1;
        if mistake.examples.len() < EXAMPLES {
            mistake.examples.push(example);
        }
    }

    fn result(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let line = |Mistake { kind, count, examples }: &Mistake| {
            let more = if *count > examples.len() { ", …" } else { "" };
            format!("\n  {kind}: {count} ({}{more})", examples.join(", "))
        };
        let lines: String = self.0.iter().map(line).collect();
        Err(Error::Usage(format!("the predictions cannot be scored; nothing was written{lines}")))
    }
}

/// Returns the predictions after each task in the order of its test rows, with gold labels from the benchmark, and `None`
/// where there are none; those after the last task are required. `files` holds the rows of each file by its name.
pub fn check(benchmark: &Benchmark, files: &[(String, Vec<SubmittedRow>)]) -> Result<Vec<Option<Vec<PredictionRow>>>> {
    let mut mistakes = Mistakes::default();
    let mut stages = by_stage(files, benchmark.tasks(), &mut mistakes);
    let mut predictions = Vec::new();
    for (stage, given) in stages.iter_mut().enumerate() {
        predictions.push(stage_predictions(benchmark, stage, given, &mut mistakes)?);
    }
    mistakes.result()?;
    Ok(predictions)
}

/// The file and the row of each id.
type ById<'a> = BTreeMap<&'a str, (&'a str, &'a SubmittedRow)>;

fn by_stage<'a>(files: &'a [(String, Vec<SubmittedRow>)], tasks: usize, mistakes: &mut Mistakes) -> Vec<ById<'a>> {
    let mut stages = vec![ById::new(); tasks];
    for (file, row) in files.iter().flat_map(|(file, rows)| rows.iter().map(move |row| (file, row))) {
        let stage = row.stage;
        let Some(known) = stages.get_mut(stage) else {
            let kind = format!("{file}: rows of stages that do not exist (there are 0 to {})", tasks - 1);
            mistakes.add(kind, format!("{} of stage {stage}", row.id));
            continue;
        };
        if known.insert(&row.id, (file, row)).is_some() {
            mistakes.add(format!("{file}: stage {stage}: ids given more than once"), row.id.clone());
        }
    }
    stages
}

fn stage_predictions(
    benchmark: &Benchmark,
    stage: usize,
    given: &mut ById<'_>,
    mistakes: &mut Mistakes,
) -> Result<Option<Vec<PredictionRow>>> {
    let rows = benchmark.test_rows(stage)?;
    let Some((file, _)) = given.values().next().copied() else {
        if rows.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if stage + 1 == benchmark.tasks() {
            mistakes
                .add("no predictions of the last stage, by which runs are ranked".to_owned(), format!("stage {stage}"));
        }
        return Ok(None);
    };
    let labels =
        AllowedLabels { names: &benchmark.manifest().labels, kind: benchmark.kind(), seen: benchmark.seen(stage) };
    let mut predictions = Vec::new();
    for row in rows {
        match given.remove(row.id.as_str()) {
            Some((file, own)) => {
                let mut add = |what: &str, example| mistakes.add(format!("{file}: stage {stage}: {what}"), example);
                predictions.push(labels.predicted(&row, own, &mut add));
            }
            None => mistakes.add(format!("{file}: stage {stage}: test rows without a prediction"), row.id),
        }
    }
    for (id, (file, _)) in given {
        mistakes.add(format!("{file}: stage {stage}: ids that are no test rows of this stage"), (*id).to_owned());
    }
    Ok(Some(predictions))
}

/// The labels that may be predicted after a task.
struct AllowedLabels<'a> {
    names: &'a [String],
    kind: Extraction,
    seen: VisibleLabels,
}

impl AllowedLabels<'_> {
    /// Turns a submitted row into a stored one and passes each kind of mistake and an example to `add`.
    fn predicted(&self, row: &Row, given: &SubmittedRow, add: &mut impl FnMut(&str, String)) -> PredictionRow {
        let id = &row.id;
        let wanted = if self.kind == Extraction::Relations { 1 } else { row.tokens.len() };
        let got = given.prediction.len();
        if got != wanted {
            let what = ["predictions that are not one relation", "predictions that are not one tag per word"];
            let what = what[usize::from(self.kind == Extraction::Entities)];
            add(what, format!("{id}: {got} for {wanted}"));
        }
        let known = |label: &String| self.names.iter().position(|name| name == label).or_else(|| self.id(label));
        let mut predicted = Vec::new();
        for label in &given.prediction {
            match known(label) {
                None => add("labels that the benchmark does not have", format!("`{label}` for {id}")),
                Some(label) if !self.seen.allowed[label] => {
                    add("labels of tasks still to come", format!("`{}` for {id}", self.names[label]));
                }
                Some(label) => predicted.push(label as u32),
            }
        }
        PredictionRow {
            id: id.clone(),
            owner: row.owner_task,
            gold: self.seen.gold(row),
            predicted,
            scores: self.scores(id, given, add),
            ..PredictionRow::default()
        }
    }

    /// Reads a label that is given as its id.
    fn id(&self, label: &str) -> Option<usize> {
        label.parse().ok().filter(|id| *id < self.names.len())
    }

    /// Returns one score per label, minus infinity for labels not seen, as in mkgc's own runs.
    fn scores(&self, id: &str, given: &SubmittedRow, add: &mut impl FnMut(&str, String)) -> Vec<f32> {
        let got = given.scores.len();
        let wanted = if self.kind == Extraction::Relations { self.names.len() } else { 0 };
        if got == 0 {
            return Vec::new();
        }
        if got != wanted {
            add("scores that are not one per label (for tags, none)", format!("{id}: {got} for {wanted}"));
        } else if given.scores.iter().any(|score| score.is_nan()) {
            add("scores that are no numbers", id.to_owned());
        }
        let seen = self.seen.allowed.iter().zip(&given.scores);
        seen.map(|(allowed, score)| if *allowed { *score } else { f32::NEG_INFINITY }).collect()
    }
}
