//! Counts optimiser steps and, if enabled, records a full trace of the training run: every optimiser step with its rows
//! and loss, and every network, optimiser and prototype that is made. An independent program can take the same steps
//! from it (`tools/trajectory`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use candle_core::Tensor;
use mkgc_models::params::ParamStore;
use serde::Serialize;
use serde_json::{Value, json};

use crate::data::{Example, UNKNOWN, VisibleLabels};
use crate::error::Result;
use crate::files::write_json;

/// Counts the optimiser steps of a run and, if enabled, records how they were taken.
#[derive(Default)]
pub struct Trace {
    /// Optimiser steps of the run so far.
    pub steps: usize,
    /// Further steps, with settings that were tried and not kept.
    pub tuning_steps: usize,
    record: Option<Record>,
    clock: Option<Clock>,
}

/// Measures how long optimiser steps take.
struct Clock {
    /// Seconds of each step since the end of the one before, and its loss.
    steps: Vec<(f64, f64)>,
    last: Instant,
}

#[derive(Default)]
struct Record {
    entries: Vec<Value>,
    /// Values of fresh variables by file name.
    values: Vec<(String, BTreeMap<String, Tensor>)>,
}

#[derive(Serialize)]
struct TraceRow<'a> {
    id: &'a str,
    ids: &'a [u32],
    anchors: &'a [u32],
    gold: Vec<i64>,
    image: Option<&'a str>,
}

impl<'a> From<&'a Example> for TraceRow<'a> {
    fn from(row: &'a Example) -> Self {
        let gold = row.gold.iter().map(|label| if *label == UNKNOWN { -1 } else { i64::from(*label) }).collect();
        Self { id: &row.id, ids: &row.ids, anchors: &row.anchors, gold, image: row.image.as_deref() }
    }
}

fn rows(examples: &[&Example]) -> Value {
    json!(examples.iter().map(|example| TraceRow::from(*example)).collect::<Vec<_>>())
}

impl Trace {
    /// Returns a trace that keeps every event in memory, for [`Trace::write`].
    pub fn recording() -> Self {
        Self { record: Some(Record::default()), ..Self::default() }
    }

    /// Starts to time each step.
    #[must_use]
    pub fn with_clock(self) -> Self {
        Self { clock: Some(Clock { steps: Vec::new(), last: Instant::now() }), ..self }
    }

    /// Returns the seconds of each step, counted from the end of the step before, and its loss; empty unless
    /// [`Trace::with_clock`] was called.
    pub fn timed(&self) -> &[(f64, f64)] {
        self.clock.as_ref().map_or(&[], |clock| &clock.steps)
    }

    fn note(&mut self, entry: impl FnOnce() -> Value) {
        if let Some(record) = &mut self.record {
            record.entries.push(entry());
        }
    }

    /// Records that a task begins.
    pub fn task(&mut self, seen: &VisibleLabels) {
        self.note(|| json!({"event": "task", "stage": seen.task, "allowed": seen.allowed}));
    }

    /// Counts an optimiser step on `examples`.
    pub fn step(&mut self, phase: &str, examples: &[&Example], loss: f64) {
        self.steps += 1;
        if let Some(clock) = &mut self.clock {
            clock.steps.push((clock.last.elapsed().as_secs_f64(), loss));
            clock.last = Instant::now();
        }
        self.note(|| json!({"event": "step", "phase": phase, "rows": rows(examples), "loss": loss}));
    }

    /// Records that an optimiser was made.
    pub fn optimiser(&mut self) {
        self.note(|| json!({"event": "optimiser"}));
    }

    /// Records a network and its initial variables.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn network(&mut self, store: &ParamStore) -> Result<()> {
        self.fresh("network", store, json!({"event": "network"}))
    }

    /// Records RP-CRE's memory network over prototypes of `classes` classes, with its initial variables.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn memory_network(&mut self, store: &ParamStore, classes: usize) -> Result<()> {
        self.fresh("memory_network", store, json!({"event": "memory_network", "classes": classes}))
    }

    fn fresh(&mut self, kind: &str, store: &ParamStore, entry: Value) -> Result<()> {
        if let Some(record) = &mut self.record {
            let number = record.values.iter().filter(|(name, _)| name.starts_with(&format!("{kind}."))).count();
            record.values.push((format!("{kind}.{number}.safetensors"), store.tensors()?));
            record.entries.push(entry);
        }
        Ok(())
    }

    /// Records an event that its name describes in full, such as `teacher`.
    pub fn event(&mut self, name: &str) {
        self.note(|| json!({"event": name}));
    }

    /// Records that training restarts from the state before the task, with a λ of EWC's grid.
    pub fn candidate(&mut self, lambda: f64) {
        self.note(|| json!({"event": "candidate", "lambda": lambda}));
    }

    /// Records which of `candidates` was kept. All took the same number of steps since `before`; the steps of the others
    /// move from [`Trace::steps`] to [`Trace::tuning_steps`].
    pub fn chosen(&mut self, lambda: f64, before: usize, candidates: usize) {
        let of_each = (self.steps - before) / candidates;
        self.tuning_steps += self.steps - before - of_each;
        self.steps = before + of_each;
        self.note(|| json!({"event": "chosen", "lambda": lambda}));
    }

    /// Records the rows that Fisher information is estimated from.
    pub fn fisher(&mut self, examples: &[&Example]) {
        self.note(|| json!({"event": "fisher", "rows": rows(examples)}));
    }

    /// Records the prototypes of classes and the rows that they are computed from.
    pub fn prototypes(&mut self, purpose: &str, examples: &[&Example], classes: &[u32]) {
        let of = |class: &u32| -> (String, Value) {
            let holds: Vec<&Example> = examples.iter().copied().filter(|row| row.gold.contains(class)).collect();
            (class.to_string(), rows(&holds))
        };
        self.note(|| {
            let classes: serde_json::Map<_, _> = classes.iter().map(of).collect();
            json!({"event": "prototypes", "purpose": purpose, "classes": classes})
        });
    }

    /// Returns the initial values of the newest `network` or `memory_network`; none unless the trace is recording.
    pub fn fresh_values(&self, kind: &str) -> Option<&BTreeMap<String, Tensor>> {
        let of_kind = |(name, _): &&(String, BTreeMap<String, Tensor>)| name.starts_with(&format!("{kind}."));
        self.record.as_ref()?.values.iter().rev().find(of_kind).map(|(_, values)| values)
    }

    /// Returns the losses of all steps; empty unless the trace is recording.
    pub fn losses(&self) -> Vec<f64> {
        let entries = self.record.iter().flat_map(|record| &record.entries);
        entries.filter_map(|entry| entry.get("loss")?.as_f64()).collect()
    }

    /// Writes `case.json`, which holds the keys of `description` and the recorded events, and a file of initial variables
    /// for each network. Does nothing unless the trace is recording.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, mut description: Value) -> Result<()> {
        let Some(record) = &self.record else { return Ok(()) };
        description["trace"] = json!(record.entries);
        write_json(&folder.join("case.json"), &description)?;
        for (name, tensors) in &record.values {
            let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
            candle_core::safetensors::save(&tensors, folder.join(name))?;
        }
        Ok(())
    }
}
