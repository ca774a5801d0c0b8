//! What a method is charged for, and, on request, a full account of what it did: every optimiser step with its rows
//! and loss, every fresh network, optimiser and prototype. The account is what an independent program needs to take
//! the same steps (`tools/trajectory`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use candle_core::Tensor;
use mkgc_models::params::ParamStore;
use serde::Serialize;
use serde_json::{Value, json};

use super::write_json;
use crate::data::{Example, Seen, UNKNOWN};
use crate::error::Result;

/// Steps taken so far and, if asked for, how.
#[derive(Default)]
pub struct Ledger {
    /// Optimiser steps of the run so far.
    pub steps: usize,
    /// Further steps, with settings that were tried and not kept.
    pub tuning_steps: usize,
    account: Option<Account>,
    clock: Option<Clock>,
}

/// Times steps.
struct Clock {
    /// Seconds of each step since the end of the one before, and its loss.
    steps: Vec<(f64, f64)>,
    last: Instant,
}

#[derive(Default)]
struct Account {
    entries: Vec<Value>,
    /// Values of fresh variables by file name.
    values: Vec<(String, BTreeMap<String, Tensor>)>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    ids: &'a [u32],
    anchors: &'a [u32],
    gold: Vec<i64>,
    image: &'a str,
}

impl<'a> From<&'a Example> for Row<'a> {
    fn from(row: &'a Example) -> Self {
        let gold = row.gold.iter().map(|label| if *label == UNKNOWN { -1 } else { i64::from(*label) }).collect();
        Self { id: &row.id, ids: &row.ids, anchors: &row.anchors, gold, image: &row.image }
    }
}

fn rows(examples: &[&Example]) -> Value {
    json!(examples.iter().map(|example| Row::from(*example)).collect::<Vec<_>>())
}

impl Ledger {
    /// One that keeps the full account in memory.
    pub fn with_account() -> Self {
        Self { account: Some(Account::default()), ..Self::default() }
    }

    /// The same, which also times each step.
    #[must_use]
    pub fn with_clock(self) -> Self {
        Self { clock: Some(Clock { steps: Vec::new(), last: Instant::now() }), ..self }
    }

    /// Seconds of each step, from the end of the one before, and its loss; empty without a clock.
    pub fn timed(&self) -> &[(f64, f64)] {
        self.clock.as_ref().map_or(&[], |clock| &clock.steps)
    }

    fn note(&mut self, entry: impl FnOnce() -> Value) {
        if let Some(account) = &mut self.account {
            account.entries.push(entry());
        }
    }

    /// A task begins.
    pub fn task(&mut self, seen: &Seen) {
        self.note(|| json!({"event": "task", "stage": seen.stage, "allowed": seen.allowed}));
    }

    /// An optimiser step on `examples`.
    pub fn step(&mut self, phase: &str, examples: &[&Example], loss: f64) {
        self.steps += 1;
        if let Some(clock) = &mut self.clock {
            clock.steps.push((clock.last.elapsed().as_secs_f64(), loss));
            clock.last = Instant::now();
        }
        self.note(|| json!({"event": "step", "phase": phase, "rows": rows(examples), "loss": loss}));
    }

    /// A fresh optimiser.
    pub fn optimiser(&mut self) {
        self.note(|| json!({"event": "optimiser"}));
    }

    /// A fresh network.
    pub fn network(&mut self, store: &ParamStore) -> Result<()> {
        self.fresh("network", store, json!({"event": "network"}))
    }

    /// A fresh memory network over prototypes of so many classes.
    pub fn memory_network(&mut self, store: &ParamStore, classes: usize) -> Result<()> {
        self.fresh("memory_network", store, json!({"event": "memory_network", "classes": classes}))
    }

    fn fresh(&mut self, kind: &str, store: &ParamStore, entry: Value) -> Result<()> {
        if let Some(account) = &mut self.account {
            let number = account.values.iter().filter(|(name, _)| name.starts_with(&format!("{kind}."))).count();
            account.values.push((format!("{kind}.{number}.safetensors"), store.tensors()?));
            account.entries.push(entry);
        }
        Ok(())
    }

    /// Something that needs no more words than its name, e.g. `teacher`.
    pub fn event(&mut self, name: &str) {
        self.note(|| json!({"event": name}));
    }

    /// Training with a λ to try begins, from where the task began.
    pub fn candidate(&mut self, lambda: f64) {
        self.note(|| json!({"event": "candidate", "lambda": lambda}));
    }

    /// Of so many candidates, which all took as many steps since `before`, one is kept as it ended.
    pub fn chosen(&mut self, lambda: f64, before: usize, candidates: usize) {
        let of_each = (self.steps - before) / candidates;
        self.tuning_steps += self.steps - before - of_each;
        self.steps = before + of_each;
        self.note(|| json!({"event": "chosen", "lambda": lambda}));
    }

    /// Fisher information is estimated from rows.
    pub fn fisher(&mut self, examples: &[&Example]) {
        self.note(|| json!({"event": "fisher", "rows": rows(examples)}));
    }

    /// Prototypes of classes are computed from rows.
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

    /// Values of the newest fresh variables of a kind, if the account has them.
    pub fn fresh_values(&self, kind: &str) -> Option<&BTreeMap<String, Tensor>> {
        let of_kind = |(name, _): &&(String, BTreeMap<String, Tensor>)| name.starts_with(&format!("{kind}."));
        self.account.as_ref()?.values.iter().rev().find(of_kind).map(|(_, values)| values)
    }

    /// Losses of all steps; empty without an account.
    pub fn losses(&self) -> Vec<f64> {
        let entries = self.account.iter().flat_map(|account| &account.entries);
        entries.filter_map(|entry| entry.get("loss")?.as_f64()).collect()
    }

    /// Writes the account: `case.json` with `description`'s keys and the trace, and the values of fresh variables.
    pub fn write(&self, folder: &Path, mut description: Value) -> Result<()> {
        let Some(account) = &self.account else { return Ok(()) };
        description["trace"] = json!(account.entries);
        write_json(&folder.join("case.json"), &description)?;
        for (name, tensors) in &account.values {
            let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
            candle_core::safetensors::save(&tensors, folder.join(name))?;
        }
        Ok(())
    }
}
