//! What runs must share to stand on one board.

use serde_json::Value;

use super::load::Run;
use crate::config::VisualSetting;
use crate::error::{Error, Result};

/// Refuses runs whose numbers must not be compared; the error names two folders, what differs and the remedy.
pub fn check(runs: &[Run]) -> Result<()> {
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
        if let Some(other) = before.iter().find(|other| other.record.label() == run.record.label()) {
            same_settings(other, run)?;
        }
    }
    Ok(())
}

fn refuse(one: &Run, other: &Run, what: &str, (this, that): (&str, &str), remedy: &str) -> Error {
    let (one, other) = (one.folder.display(), other.folder.display());
    Error::Usage(format!("runs {one} and {other} differ in their {what}: {this} and {that}; {remedy}"))
}

fn same_data(one: &Run, other: &Run) -> Result<()> {
    let (ours, theirs) = (&one.record.dataset, &other.record.dataset);
    let tasks =
        |run: &Run| run.record.dataset.tasks.iter().map(|task| task.classes.join("+")).collect::<Vec<_>>().join(" | ");
    let remedy = "train both on the same built folder, or report them apart";
    if tasks(one) != tasks(other) {
        return Err(refuse(one, other, "protocol (tasks)", (&tasks(one), &tasks(other)), remedy));
    }
    if ours.labels != theirs.labels || ours.task != theirs.task {
        return Err(refuse(one, other, "labels", (&ours.labels.join(", "), &theirs.labels.join(", ")), remedy));
    }
    if ours.fingerprint != theirs.fingerprint {
        return Err(refuse(one, other, "data (fingerprint)", (&ours.fingerprint, &theirs.fingerprint), remedy));
    }
    if one.record.tasks() != other.record.tasks() {
        let learned = |run: &Run| run.record.shortened().unwrap_or_else(|| "all tasks".to_owned());
        let remedy = "let `mkgc train` go on with the shorter run, or report them apart";
        return Err(refuse(one, other, "number of tasks (--tasks)", (&learned(one), &learned(other)), remedy));
    }
    if one.ids != other.ids || !one.counts.iter().map(|row| row.gold).eq(other.counts.iter().map(|row| row.gold)) {
        let rows = |run: &Run| format!("{} rows", run.ids.len());
        let remedy = "the data are the same, so one of them has damaged predictions: leave it out";
        return Err(refuse(one, other, "test rows", (&rows(one), &rows(other)), remedy));
    }
    Ok(())
}

/// Whether a run was shown pictures at all: zeros are none.
fn sees_pictures(run: &Run) -> bool {
    let trained = run.record.trained();
    trained.is_some_and(|model| model.vision.is_some() && model.config.visual != VisualSetting::Blank)
}

fn same_form(one: &Run, other: &Run) -> Result<()> {
    let (Some(ours), Some(theirs)) = (one.record.vision(), other.record.vision()) else {
        return Ok(());
    };
    let layouts = (format!("{:?}", ours.layout).to_lowercase(), format!("{:?}", theirs.layout).to_lowercase());
    if layouts.0 != layouts.1 {
        return Err(refuse(
            one,
            other,
            "visual mode",
            (&layouts.0, &layouts.1),
            "report whole pictures and crops apart",
        ));
    }
    Ok(())
}

fn same_pictures(one: &Run, other: &Run) -> Result<()> {
    let (Some(ours), Some(theirs)) = (one.record.vision(), other.record.vision()) else {
        return Ok(());
    };
    let count = |real: usize, stand_in: usize| format!("{real} real and {stand_in} stand-ins");
    let counts = (count(ours.real_images, ours.stand_in_images), count(theirs.real_images, theirs.stand_in_images));
    if counts.0 != counts.1 {
        let remedy = "train both on the same pictures, or report them apart";
        return Err(refuse(one, other, "pictures", (&counts.0, &counts.1), remedy));
    }
    Ok(())
}

/// Seeds of one row of a table are runs that differ in the seed alone.
fn same_settings(one: &Run, other: &Run) -> Result<()> {
    let remedy = "name variants in a plan of `mkgc sweep`, or report them apart";
    let encoders = |run: &Run| {
        let vision = run.record.vision().map(|vision| &vision.encoder);
        let name = |(name, identity): (&str, &str)| format!("{name} {identity}");
        let encoders = run.record.trained().map(|model| &model.encoder).into_iter().chain(vision);
        encoders.map(|encoder| name((&encoder.name, &encoder.identity))).collect::<Vec<_>>().join(", ")
    };
    if encoders(one) != encoders(other) {
        return Err(refuse(one, other, "encoders", (&encoders(one), &encoders(other)), remedy));
    }
    let settings = |run: &Run| serde_json::to_value(run.record.trained().map(|model| &model.config));
    let (ours, theirs) = (settings(one)?, settings(other)?);
    let differs = |(key, value): &(&String, &Value)| *key != "train_seed" && theirs.get(key) != Some(value);
    if let Some((key, value)) = ours.as_object().and_then(|ours| ours.iter().find(differs)) {
        let values = (value.to_string(), theirs[key].to_string());
        return Err(refuse(one, other, &format!("setting `{key}`"), (&values.0, &values.1), remedy));
    }
    Ok(())
}
