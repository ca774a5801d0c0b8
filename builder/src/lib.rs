//! Corpus files to ordered class-incremental splits: parse, plan, write Parquet, verify, export.
//!
//! Each module has one duty: [`corpus`] parses and validates, [`protocol`] reads the TOML that defines a stream of
//! tasks, [`plan`] joins the two (pure), [`images`] finds and decodes pictures, [`dataset`] reads and writes benchmark
//! folders, [`build`] runs the whole way, [`verify`] checks a folder, [`defects`] counts what is wrong in a corpus,
//! [`export`] writes the text layout of the published splits.

pub mod build;
pub mod corpus;
pub mod dataset;
pub mod defects;
pub mod error;
pub mod export;
mod gather;
pub mod images;
pub mod place;
pub mod plan;
pub mod protocol;
mod stats;
pub mod verify;

pub use error::{Error, Result};
