//! The shape of a method's networks, and batches for them.

use std::sync::mpsc;
use std::thread;

use candle_core::{DType, Device};
use mkgc_builder::corpus::Extraction;
use mkgc_models::inputs::Visual;
use mkgc_models::text::WordTokenizer;

use super::{Architecture, EncoderSource};
use crate::config::Config;
use crate::data::{Batch, Example, Pictures};
use crate::error::Result;

/// Everything needed to make networks of one shape and batches for them.
pub struct LearnerSpec {
    /// Whether relations or entities are extracted.
    pub kind: Extraction,
    /// Number of labels or tags.
    pub labels: usize,
    /// Which network the method trains: BERT alone, two streams or MKGformer.
    pub architecture: Architecture,
    /// Encoder files or built-in shapes.
    pub encoder: EncoderSource,
    /// Tokenizer of the text encoder, which pads batches.
    pub tokenizer: WordTokenizer,
    /// The pictures of the benchmark, for architectures that read them.
    pub pictures: Option<Pictures>,
    /// Device of variables and batches.
    pub device: Device,
    /// Number type of states and products; weights are f32.
    pub dtype: DType,
}

impl LearnerSpec {
    /// Returns the form of the vision stream's input: that of the pictures or, without any, what the settings say.
    pub(super) fn visual_form(&self, config: &Config) -> Visual {
        self.pictures.as_ref().map_or_else(|| config.visual.form(false), Pictures::form)
    }

    /// Pads rows for a network of this shape, with their pictures if it reads them.
    ///
    /// # Errors
    /// Pictures that cannot be read.
    pub fn batch<'b>(&self, examples: &[&'b Example]) -> Result<Batch<'b>> {
        let mut batch = Batch::new(examples.to_vec(), self.tokenizer.pad_id(), &self.device)?;
        if let Some(pictures) = &self.pictures {
            batch.pixels = Some(pictures.pixels(examples, &self.device)?);
        }
        Ok(batch)
    }

    /// Prepares batches on a background thread and passes each to `each` with the plan it belongs to, in order, so the GPU
    /// never waits for data.
    ///
    /// # Errors
    /// Pictures that cannot be read; an error of `each`.
    pub fn batches<'b, T: Send>(
        &self,
        plans: Vec<(T, Vec<&'b Example>)>,
        mut each: impl FnMut(T, &Batch<'b>) -> Result<()>,
    ) -> Result<()> {
        let made = plans.into_iter().map(|(plan, rows)| Ok((plan, self.batch(&rows)?)));
        // No capacity: the thread holds one finished batch until `each` is done with the one before.
        let (sender, receiver) = mpsc::sync_channel(0);
        thread::scope(|scope| {
            scope.spawn(move || made.map(|made| sender.send(made)).all(|sent| sent.is_ok()));
            receiver.into_iter().try_for_each(|made: Result<_>| made.and_then(|(plan, batch)| each(plan, &batch)))
        })
    }
}
