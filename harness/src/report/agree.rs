//! Checks that runs may be compared: that they share the data, and what each of their labels stands for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::load::FinishedRun;
use super::settings::settings;
use crate::config::VisualSetting;
use crate::error::{Error, Result};
use crate::run::record::{EncoderRecord, TaskRecord, VisionRecord};

/// Refuses runs whose numbers must not be compared. The error names two folders, what differs and the remedy.
pub fn check(runs: &[FinishedRun]) -> Result<()> {
    let mut by_label: BTreeMap<String, Vec<&FinishedRun>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        let before = &runs[..index];
        if let Some(other) = before.first() {
            same_data(other, run)?;
        }
        if let Some(other) = before.iter().find(|other| other.record.vision().is_some()) {
            same_form(other, run)?;
        }
        if let Some(other) = before.iter().find(|other| sees_pictures(other)).filter(|_| sees_pictures(run)) {
            same_pictures(other, run)?;
        }
        // With all of them: an older run, whose record has fewer hashes, agrees with two that differ from each other.
        let same_label = by_label.entry(run.record.label()).or_default();
        same_label.iter().try_for_each(|other| same_settings(other, run))?;
        same_label.push(run);
    }
    Ok(())
}

/// Two runs and what to do if they differ.
struct Pair<'a> {
    one: &'a FinishedRun,
    other: &'a FinishedRun,
    remedy: &'static str,
}

impl Pair<'_> {
    /// Refuses the pair if what `describe` says of the runs differs.
    fn same(&self, what: &str, describe: impl Fn(&FinishedRun) -> String) -> Result<()> {
        let this = describe(self.one);
        let that = describe(self.other);
        if this == that { Ok(()) } else { Err(self.refuse(what, &this, &that)) }
    }

    fn refuse(&self, what: &str, this: &str, that: &str) -> Error {
        let one = self.one.folder.display();
        let other = self.other.folder.display();
        Error::Usage(format!("runs {one} and {other} differ in their {what}: {this} and {that}; {}", self.remedy))
    }
}

fn same_data(one: &FinishedRun, other: &FinishedRun) -> Result<()> {
    let pair = Pair { one, other, remedy: "train both on the same built folder, or report them apart" };
    pair.same("protocol (tasks)", |run| {
        let classes = |task: &TaskRecord| task.classes.join("+");
        run.record.dataset.tasks.iter().map(classes).collect::<Vec<_>>().join(" | ")
    })?;
    let labels = |run: &FinishedRun| run.record.dataset.labels.join(", ");
    if one.record.dataset.labels != other.record.dataset.labels || one.record.dataset.task != other.record.dataset.task
    {
        return Err(pair.refuse("labels", &labels(one), &labels(other)));
    }
    pair.same("data (fingerprint)", |run| run.record.dataset.fingerprint.clone())?;
    if one.record.tasks() != other.record.tasks() {
        let learned = |run: &FinishedRun| run.record.shortened().unwrap_or_else(|| "all tasks".to_owned());
        let remedy = "let `mkgc train` go on with the shorter run, or report them apart";
        return Err(Pair { remedy, ..pair }.refuse("number of tasks (--tasks)", &learned(one), &learned(other)));
    }
    let differ = |(one, other): (&Option<String>, &Option<String>)| one.is_some() && other.is_some() && one != other;
    if let Some(stage) = one.tests.iter().zip(&other.tests).position(differ) {
        let rows = |run: &FinishedRun| {
            let digest = run.tests[stage].as_deref().unwrap_or_default();
            format!("{} rows with SHA-256 {digest:.8}…", run.result.stages[stage].rows)
        };
        let what = format!("test rows after task {} (ids, tasks or gold labels)", stage + 1);
        let remedy = "the data are the same, so the predictions of one of them were changed: leave it out";
        return Err(Pair { remedy, ..pair }.refuse(&what, &rows(one), &rows(other)));
    }
    Ok(())
}

/// Tells whether a run was shown pictures at all; blank ones do not count.
fn sees_pictures(run: &FinishedRun) -> bool {
    let trained = run.record.trained();
    trained.is_some_and(|model| model.vision.is_some() && model.config.visual != VisualSetting::Blank)
}

fn same_form(one: &FinishedRun, other: &FinishedRun) -> Result<()> {
    let (Some(ours), Some(theirs)) = (one.record.vision(), other.record.vision()) else {
        return Ok(());
    };
    let form = |vision: &VisionRecord| format!("{:?}", vision.layout).to_lowercase();
    if form(ours) == form(theirs) {
        return Ok(());
    }
    let pair = Pair { one, other, remedy: "report whole pictures and crops apart" };
    Err(pair.refuse("visual mode", &form(ours), &form(theirs)))
}

fn same_pictures(one: &FinishedRun, other: &FinishedRun) -> Result<()> {
    let (Some(ours), Some(theirs)) = (one.record.vision(), other.record.vision()) else {
        return Ok(());
    };
    let count = |vision: &VisionRecord| format!("{} real and {} stand-ins", vision.real_images, vision.stand_in_images);
    if count(ours) == count(theirs) {
        return Ok(());
    }
    let pair = Pair { one, other, remedy: "train both on the same pictures, or report them apart" };
    Err(pair.refuse("pictures", &count(ours), &count(theirs)))
}

/// Returns the encoders of a run: text, then vision.
fn encoders(run: &FinishedRun) -> Vec<&EncoderRecord> {
    let vision = run.record.vision().map(|vision| &vision.encoder);
    run.record.trained().map(|model| &model.encoder).into_iter().chain(vision).collect()
}

fn described(encoders: &[&EncoderRecord]) -> String {
    let text = |encoder: &&EncoderRecord| {
        let further = encoder.further().map(|(of, hash)| format!(" ({of} {hash})")).collect::<String>();
        format!("{} {}{further}", encoder.name, encoder.identity)
    };
    encoders.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Checks two runs of one row of a table, which may differ in the seed alone.
fn same_settings(one: &FinishedRun, other: &FinishedRun) -> Result<()> {
    let pair = Pair { one, other, remedy: "give --split to make two entries of them, or report them apart" };
    let same = |(one, other): (&EncoderRecord, &EncoderRecord)| one.name == other.name && one.is_same(other);
    let ours = encoders(one);
    let theirs = encoders(other);
    if ours.len() != theirs.len() || !ours.iter().copied().zip(theirs.iter().copied()).all(same) {
        return Err(pair.refuse("encoders", &described(&ours), &described(&theirs)));
    }
    if one.record.stream().is_some() && other.record.stream().is_some() {
        let pair = Pair { one, other, remedy: "give --split to make two entries of them, or report them apart" };
        pair.same("memory budget", |run| run.record.memory_budget.clone())?;
    }
    let ours = settings(&one.record)?;
    let theirs = settings(&other.record)?;
    let differs = |(key, value): &(&String, &Value)| theirs.get(*key) != Some(value);
    if let Some((key, value)) = ours.iter().find(differs) {
        return Err(pair.refuse(
            &format!("setting `{key}`"),
            &value.to_string(),
            &theirs.get(key).unwrap_or(&Value::Null).to_string(),
        ));
    }
    Ok(())
}
