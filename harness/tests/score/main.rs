//! `mkgc score`: mkgc's own predictions come back with the same numbers from every format, what other programs write is read
//! as they mean it, and every mistake in a file is named.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod formats;
mod mistakes;
mod own;
mod submission;
