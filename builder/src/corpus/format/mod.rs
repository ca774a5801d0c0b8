//! Formats of corpus files: each turns the bytes of a file into [`Instance`](crate::corpus::Instance)s. Those of the
//! published splits also write rows back as text.
//!
//! A format is a file of this folder that implements [`Format`], and a line in `choice.rs` that makes it of the keys of a
//! `[corpus]` table. What formats share lies below: `value` holds a record of any origin as a tree, `sentence`,
//! `relations`, `entities` and `spans` read its fields, `rows` makes rows of them, and `scheme` converts tags to BIO.

mod choice;
mod columns;
mod conll;
mod entities;
mod fewrel;
mod json;
mod jsonl;
mod lines;
pub mod mnre;
mod options;
mod parquet_rows;
mod parquet_table;
mod parquet_values;
mod parts;
mod python_literal;
pub mod raw;
mod relations;
mod rows;
mod scheme;
mod sentence;
mod spans;
mod tacred;
pub mod twitter;
mod value;

pub use choice::{FormatChoice, from_table};
pub use columns::Conll;
pub use fewrel::FewRel;
pub use options::KeyError;
pub use parts::{Part, Parts};
pub use raw::{ContainedPictures, Format, Parsed, RawFile, Records};
pub use tacred::Tacred;
