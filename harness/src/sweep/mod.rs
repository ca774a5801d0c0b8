//! A sweep: the runs of a plan, made as child processes on one machine.
//!
//! [`Plan`] is the TOML file, [`Sweep`] the numbered list of runs that it stands for once flags and benchmarks are
//! known. [`make`] builds what is missing and makes the runs, [`make_one`] makes a single one in this process, and
//! [`write_report`] compares what is finished. `docs/sweep.md` explains every key.
//!
//! [`slurm`] submits the runs to a cluster instead (`docs/cluster.md`).
//!
//! What a run has reached is always read from its folder, never remembered, so a sweep goes on after any crash, and the
//! same functions serve runs that another program started.

mod benchmarks;
mod child;
mod jobs;
mod live;
mod matrix;
mod one;
mod plan;
mod renewal;
mod report;
mod resources;
pub mod slurm;
mod spec;
mod state;
mod table;

pub use jobs::{JobOptions, Outcome, make};
pub use matrix::{Sweep, SweepOverrides};
pub use one::make_one;
pub use plan::Plan;
pub use report::{Gap, lacking, write_report};
pub use spec::PlannedRun;
pub use state::{Observed, RunState};
pub use table::status;
