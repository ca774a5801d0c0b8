//! What a run needs before its first task: encoders, tokenizer, pictures, and the record of all that.

use candle_core::utils::get_num_threads;

use super::request::{Request, stop_after};
use crate::data::{Benchmark, Pictures};
use crate::error::{Error, Result};
use crate::learner::{EncoderSource, LearnerSpec};
use crate::run::record::{DatasetRecord, Model, RunRecord, SCHEMA_VERSION, Trained, VisionRecord};

/// Refuses a method that looks at pictures on a benchmark whose corpus has none.
fn refuse_text_only(method: &str, benchmark: &Benchmark) -> Result<()> {
    let manifest = benchmark.manifest();
    if !manifest.text_only {
        return Ok(());
    }
    let reason = format!(
        "`{method}` looks at pictures, and {} is a text-only benchmark: its corpus has none; choose a text method \
         (`mkgc ls methods`)",
        manifest.name
    );
    Err(Error::Usage(reason))
}

/// Opens encoders and pictures.
///
/// # Errors
/// An encoder or a picture cannot be read; `tasks` is more than there are.
pub(crate) fn prepare(request: &Request, benchmark: &Benchmark) -> Result<(LearnerSpec, RunRecord)> {
    let method = &request.method;
    let settings = &request.settings;
    let (mut encoder, tokenizer, text) = EncoderSource::open(&request.encoder, benchmark)?;
    let stop_after = stop_after(request.tasks, benchmark)?;
    let mut pictures = None;
    let mut vision = None;
    if method.multimodal() {
        refuse_text_only(method.name, benchmark)?;
        let weights = encoder.open_vision(&request.vision)?;
        let size = encoder.image_size().unwrap_or_default();
        let opened = Pictures::open(benchmark, &settings.config, size, &request.cache_folder()?)?;
        vision = Some(VisionRecord {
            encoder: weights,
            layout: opened.form(),
            real_images: opened.real(),
            stand_in_images: opened.stand_ins(),
            stand_in_rows: Some(opened.stand_in_rows()),
        });
        pictures = Some(opened);
    }
    let trained = Trained {
        encoder: text,
        vision,
        device: request.device_name.clone(),
        dtype: request.dtype.as_str().to_owned(),
        threads: get_num_threads(),
        config: settings.config.clone(),
        origins: settings.origins.clone(),
    };
    let record = RunRecord {
        schema_version: SCHEMA_VERSION,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        method: method.name.to_owned(),
        variant: request.variant.clone(),
        memory_budget: method.keeps.budget(&settings.config),
        dataset: DatasetRecord::new(benchmark.manifest()),
        model: Model::Trained(Box::new(trained)),
        stop_after,
        cost: None,
    };
    let spec = LearnerSpec {
        kind: benchmark.kind(),
        labels: benchmark.manifest().labels.len(),
        architecture: method.architecture,
        encoder,
        tokenizer,
        pictures,
        device: request.device.clone(),
        dtype: request.dtype,
    };
    Ok((spec, record))
}
