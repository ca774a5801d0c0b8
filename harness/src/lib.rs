//! Continual-learning methods, the task stream that runs them, and the metrics and reports that compare them.
//!
//! Data flows one way: [`data`] (Parquet rows to batches) → [`stream`] (the task loop) → [`methods`] → [`learner`]
//! (encoder, head, optimiser) → stored predictions ([`run`]) → [`metrics`] → [`report`].

#[cfg(test)]
mod authors;
pub mod bench;
pub mod config;
pub mod data;
pub mod demo;
pub mod error;
pub mod external;
pub mod gate;
pub mod learner;
pub mod methods;
pub mod metrics;
pub mod report;
pub mod run;
pub mod schema;
pub mod seed;
pub mod stats;
pub mod stream;
pub mod sweep;
