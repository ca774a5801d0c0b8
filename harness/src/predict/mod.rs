//! Labels new sentences with a saved model: `mkgc predict`. Sentences are tokenised, batched and scored by the functions
//! that predict a run's test rows, so a test row gets the prediction that the run has stored.

mod find;
mod labelled;
mod pictures;
mod read;
mod sentence;

pub use find::find_model;
pub use labelled::{Entity, Labelled, OutputFormat};
pub use read::{InputFormat, read};
pub use sentence::{Place, Sentence};

use std::path::PathBuf;

use mkgc_builder::corpus::Extraction;
use mkgc_models::mode::Mode;

use crate::config::VisualSetting;
use crate::data::{Batch, Example};
use crate::error::Result;
use crate::learner::Prediction;
use crate::methods::shared::predict::by_length;
use crate::metrics::span;
use crate::model::SavedModel;
use labelled::{probability, rounded};
use pictures::SentencePictures;

/// A saved model that labels sentences, with their pictures.
pub struct Predictor {
    /// The saved model that predicts: its method, its tokenizer and the labels that it has learned.
    pub model: SavedModel,
    /// Folder that relative paths of pictures begin at.
    pub pictures: PathBuf,
}

impl Predictor {
    /// Labels sentences; the result is in their order.
    ///
    /// # Errors
    /// Mentions that need more than the model's longest input; a picture that cannot be read; the device is out of memory.
    pub fn label(&self, sentences: &[Sentence]) -> Result<Vec<Labelled>> {
        let max = self.model.card.config.max_length;
        let examples = sentences.iter().map(|sentence| self.example(sentence, max)).collect::<Result<Vec<_>>>()?;
        let mut labelled: Vec<Option<Labelled>> = vec![None; sentences.len()];
        for rows in by_length(&examples) {
            let own: Vec<&Sentence> = rows.iter().map(|row| &sentences[*row]).collect();
            let batch = self.batch(rows.iter().map(|row| &examples[*row]).collect(), &own)?;
            for (row, result) in rows.into_iter().zip(self.label_batch(&own, &batch)?) {
                labelled[row] = Some(result);
            }
        }
        Ok(labelled.into_iter().flatten().collect())
    }

    /// Counts the sentences of which the model reads only a part, because they are too long for it. As the sentences are
    /// looked at before anything is predicted, the first that is too long or has no picture file is found before hours of
    /// work.
    ///
    /// # Errors
    /// Mentions that need more than the model's longest input; a sentence without the picture file that the model looks at.
    pub fn count_cut(&self, sentences: &[Sentence]) -> Result<usize> {
        let max = self.model.card.config.max_length;
        let shown = self.shown();
        let mut cut = 0;
        for sentence in sentences {
            shown.as_ref().map_or(Ok(()), |shown| shown.check(sentence))?;
            self.example(sentence, max)?;
            cut += usize::from(self.example(sentence, usize::MAX)?.ids.len() > max);
        }
        Ok(cut)
    }

    /// Splits a sentence into at most `max` word pieces.
    fn example(&self, sentence: &Sentence, max: usize) -> Result<Example> {
        Example::new(&sentence.row(), &self.model.spec.tokenizer, max).map_err(|error| {
            let reason = format!("{error} (max_length is what the model was trained with: shorten the sentence)");
            sentence.place.error(&reason)
        })
    }

    fn batch<'b>(&self, examples: Vec<&'b Example>, sentences: &[&Sentence]) -> Result<Batch<'b>> {
        let spec = &self.model.spec;
        let mut batch = Batch::new(examples, spec.tokenizer.pad_id(), &spec.device)?;
        batch.pixels = self.shown().map(|shown| shown.pixels(sentences, &spec.device)).transpose()?;
        Ok(batch)
    }

    /// Returns what the method looks at beside the text, if anything.
    fn shown(&self) -> Option<SentencePictures<'_>> {
        let card = &self.model.card;
        let blank = card.config.visual == VisualSetting::Blank;
        let side = self.model.spec.encoder.image_size()?;
        Some(SentencePictures { method: &card.method, folder: &self.pictures, side, blank })
    }

    fn label_batch(&self, sentences: &[&Sentence], batch: &Batch<'_>) -> Result<Vec<Labelled>> {
        let SavedModel { method, seen, spec, .. } = &self.model;
        let Some(learner) = method.learner() else {
            let predictions = method.predict(batch, seen)?;
            let each = sentences.iter().zip(predictions).map(|(sentence, found)| match spec.kind {
                Extraction::Relations => self.relation(sentence, found.labels[0], None),
                Extraction::Entities => self.entities(sentence, found),
            });
            return Ok(each.collect());
        };
        let features = learner.forward(batch, &mut Mode::Eval)?.features;
        let scores = method.scores(&features)?;
        let predictions = learner.decide(&scores, batch, &seen.allowed)?;
        let each = sentences.iter().zip(predictions).enumerate().map(|(row, (sentence, found))| -> Result<Labelled> {
            if spec.kind == Extraction::Relations {
                let confidence = probability(&found.scores, found.labels[0]);
                return Ok(self.relation(sentence, found.labels[0], Some(confidence)));
            }
            let spans: Vec<_> = self.spans(&found.labels).into_iter().map(|(_, start, end)| start..end).collect();
            let sure = learner.tag_confidence(&scores, row, &found.labels, &spans, &seen.allowed)?;
            let mut labelled = self.entities(sentence, found);
            if let Some(sure) = sure {
                labelled.add_confidence(&sure);
            }
            Ok(labelled)
        });
        each.collect()
    }

    fn relation(&self, sentence: &Sentence, label: u32, confidence: Option<f64>) -> Labelled {
        let prediction = self.name(label).to_owned();
        Labelled::Relation { id: sentence.id.clone(), prediction, confidence: confidence.map(rounded) }
    }

    /// Makes the tags and entities of a sentence; words that were cut off are `O`.
    fn entities(&self, sentence: &Sentence, found: Prediction) -> Labelled {
        let spans = self.spans(&found.labels);
        let entity = |(kind, start, end): (&str, usize, usize)| Entity {
            kind: kind.to_owned(),
            start,
            end,
            text: sentence.tokens[start..end].join(" "),
            confidence: None,
        };
        let entities = spans.into_iter().map(entity).collect();
        let mut tags = found.labels;
        tags.resize(sentence.tokens.len(), 0);
        Labelled::Entities {
            id: sentence.id.clone(),
            tokens: sentence.tokens.clone(),
            prediction: tags.into_iter().map(|tag| self.name(tag).to_owned()).collect(),
            confidence: None,
            confidences: Vec::new(),
            entities,
        }
    }

    fn spans(&self, labels: &[u32]) -> Vec<(&str, usize, usize)> {
        let tags: Vec<&str> = labels.iter().map(|label| self.name(*label)).collect();
        span::spans(&tags)
    }

    fn name(&self, label: u32) -> &str {
        &self.model.card.dataset.labels[label as usize]
    }
}
