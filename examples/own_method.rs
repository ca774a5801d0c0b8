//! Trains a method of one's own on a small synthetic benchmark, without a change to the crates.
//!
//! The method fine-tunes on the rows of the task mixed with the rows that it stored of earlier tasks.
//!
//! ```sh
//! cargo run --example own_method
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use mkgc_builder::build::{BuildOptions, build};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::config::Overrides;
use mkgc_harness::config::settings::{STORED_ROWS, TRAINING};
use mkgc_harness::data::Task;
use mkgc_harness::demo::synthetic;
use mkgc_harness::error::Result;
use mkgc_harness::learner::Learner;
use mkgc_harness::methods::shared::memory::Memory;
use mkgc_harness::methods::shared::training::{TaskLoss, train_task};
use mkgc_harness::methods::{Keeps, Method, MethodSpec, Session, registry};
use mkgc_harness::train::{Request, Run};

const MIXED: MethodSpec = MethodSpec {
    about: "fine-tunes on each task's rows mixed with stored rows",
    keeps: Keeps::RowsPerClass,
    settings: &[TRAINING, STORED_ROWS, &["replay_o"]],
    ..MethodSpec::new("mixed", |session| {
        Ok(Box::new(Mixed { learner: session.learner(0)?, memory: Memory::default() }))
    })
};

struct Mixed {
    learner: Learner,
    memory: Memory,
}

impl Method for Mixed {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let mut mixed = task.clone();
        mixed.train.extend(self.memory.replayed(self.memory.tasks(), session.masks_outside()).concat());
        train_task(&self.learner, &mixed, session, &mut TaskLoss)?;
        self.memory.push(session.select(&self.learner, task)?);
        Ok(())
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.memory)
    }

    fn memory_mut(&mut self) -> Option<&mut Memory> {
        Some(&mut self.memory)
    }
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [raw, protocol, benchmark, run] = ["raw", "small.toml", "small", "run"].map(|name| folder.path().join(name));
    synthetic::write_mnre(&raw, 1)?;
    fs_err::write(&protocol, synthetic::MNRE_PROTOCOL)?;
    build(&BuildOptions::new(protocol.to_string_lossy(), raw, &benchmark))?;

    let flags = toml::from_str("epochs = 5\nlr_encoder = 1e-3\nlr_head = 2e-3\n")?;
    let settings = registry::resolve(Extraction::Relations, &MIXED, Overrides { flags, ..Overrides::default() })?;
    let request = Request { settings, ..Request::new(&benchmark, MIXED, &run)? };
    let result = Run::open(request)?.train()?;
    for scores in &result.stages {
        println!("after task {}: micro-F1 {:.3}", scores.tasks_learned, scores.micro_f1.number().unwrap_or(f64::NAN));
    }
    Ok(())
}
