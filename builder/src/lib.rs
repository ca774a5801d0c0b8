//! Builds class-incremental benchmarks: from the files of a corpus to an ordered sequence of tasks as Parquet files.
//!
//! A build goes through these modules in order: [`corpus`] parses and validates the files, [`protocol`] reads the TOML
//! that defines the tasks, [`plan`] joins the two, [`images`] finds and decodes pictures, [`dataset`] reads and writes
//! benchmark folders, and [`build`] does all of it. [`verify`] checks a folder, and [`export`] writes the text layout of
//! the published splits. [`mod@fetch`] downloads the files of the corpora that [`sources`] knows. [`labels`] and [`bio`]
//! say what labels mean; [`files`] has what is needed for any file, [`plain`] reads TOML and JSON, [`guarded`] keeps
//! panics of other parsers inside, and [`damage`] gathers what is wrong with corpus files.

pub mod bio;
pub mod build;
pub mod corpus;
pub mod damage;
pub mod dataset;
pub mod error;
pub mod export;
pub mod fetch;
pub mod files;
pub mod guarded;
pub mod images;
pub mod labels;
pub mod plain;
pub mod plan;
pub mod protocol;
pub mod sources;
pub mod verify;

pub use error::{Error, Result};
