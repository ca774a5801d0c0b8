//! Continual-learning methods, the training loop that runs them, and the metrics and reports that compare them.
//!
//! Data flows one way: [`data`] (Parquet rows to batches) → [`train`] (the training loop) → [`methods`] → [`learner`]
//! (encoder, head, optimiser) → stored predictions ([`run`]) → [`metrics`] → [`report`]. Every `use` points down:
//! [`error`], [`seed`], [`files`] → [`config`] → [`data`], [`run`] → [`metrics`], [`learner`] → [`methods`] → [`model`] →
//! [`train`], [`predict`], [`report`], [`gate`], [`external`] → [`stream`], [`demo`], [`sweep`], [`bench`] → the command
//! line.

#[cfg(test)]
mod authors;
pub mod bench;
pub mod config;
pub mod console;
pub mod data;
pub mod demo;
pub mod error;
pub mod escape;
pub mod external;
pub mod files;
pub mod gate;
pub mod learner;
pub mod methods;
pub mod metrics;
pub mod model;
mod owned;
pub mod predict;
pub mod report;
pub mod run;
pub mod schema;
pub mod seed;
mod signals;
pub mod stats;
pub mod stream;
pub mod sweep;
pub mod train;
pub mod watch;
