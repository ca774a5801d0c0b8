//! JSON Schemas of the files that other programs read, derived from the types that mkgc reads and writes them with.

use std::path::Path;

use mkgc_builder::dataset::Manifest;
use schemars::{Schema, schema_for};

use crate::error::Result;
use crate::files::write_json;
use crate::metrics::score::RunResult;
use crate::model::ModelCard;
use crate::run::failure::Failure;
use crate::run::json::RunFile;
use crate::run::predictions::PredictionRow;
use crate::stream::message;

/// Returns file name and schema of each: those of a run, of a benchmark's manifest, of a row of
/// `predictions.parquet`, of a saved model's `mkgc.json`, and of the messages of `mkgc stream`.
pub fn all() -> [(&'static str, Schema); 8] {
    [
        ("manifest.schema.json", schema_for!(Manifest)),
        ("run.schema.json", schema_for!(RunFile)),
        ("result.schema.json", schema_for!(RunResult)),
        ("failure.schema.json", schema_for!(Failure)),
        ("predictions.schema.json", schema_for!(PredictionRow)),
        ("model.schema.json", schema_for!(ModelCard)),
        ("stream-request.schema.json", schema_for!(message::ClientRequest)),
        ("stream-reply.schema.json", schema_for!(message::Reply<'static>)),
    ]
}

/// Writes all into a folder.
pub fn write(out: &Path) -> Result<()> {
    all().iter().try_for_each(|(name, schema)| write_json(&out.join(name), schema))
}
