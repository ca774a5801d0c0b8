//! LMC's teacher: the network of the task before. Frozen, without dropout, it says the same of a row every time, so its
//! pooled attention maps are computed once per task and kept.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mkgc_models::inputs::Stream;
use mkgc_models::losses::distillation::{
    Pooling, attention_distillation, attention_distillation_released, pool, pool_released,
};
use mkgc_models::mode::Mode;
use mkgc_models::networks::Key;

use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::{Error, Result};
use crate::learner::{Forward, Learner};

/// Pooled maps of one row and stream, `[layers, kinds, heads, L]` with `L` real positions.
struct Pooled {
    values: Vec<f32>,
    kinds: usize,
    heads: usize,
    length: usize,
}

/// Pooled maps of rows by their ids; a row has one for each direction that is compared on its own.
type Kept = BTreeMap<String, Vec<Pooled>>;

/// Pooled maps of every row of a task.
pub struct Teacher {
    pooling: Pooling,
    released: bool,
    /// Whether padding is summed over too. The released code does so, in texts that are all padded to one length; here
    /// a batch is as long as its longest row, and what its padding adds would depend on the rows beside a row.
    pub(crate) padding: bool,
    text: Kept,
    vision: Kept,
}

/// Rows whose maps are pooled at a time.
const CHUNK: usize = 32;

impl Teacher {
    /// Pools the maps that the network as it is now gives `rows`; none if nothing is distilled.
    pub fn new(learner: &Learner, rows: &[Example], config: &Config) -> Result<Option<Self>> {
        let mut teacher = Self::unshown(config);
        if config.shared_layers == 0 || (teacher.released && teacher.pooling == Pooling::None) {
            return Ok(None);
        }
        let mut order: Vec<&Example> = rows.iter().collect();
        order.sort_by_key(|row| row.ids.len());
        for chunk in order.chunks(CHUNK) {
            teacher.show(learner, &learner.batch(chunk)?)?;
        }
        Ok(Some(teacher))
    }

    /// Makes a teacher that knows no row yet.
    pub(crate) fn unshown(config: &Config) -> Self {
        let released = config.key == Key::Released;
        Self { pooling: config.pooling, released, padding: false, text: Kept::new(), vision: Kept::new() }
    }

    /// Pools and keeps the maps that the network as it is now gives a batch.
    pub(crate) fn show(&mut self, learner: &Learner, batch: &Batch) -> Result<()> {
        let forward = learner.forward(batch, &mut Mode::Eval)?;
        for stream in [Stream::Text, Stream::Vision] {
            let pooled = self.pool(stream, &forward, batch)?;
            for (row, example) in batch.examples.iter().enumerate() {
                let real = if self.padding { batch.ids.tensor().dim(1)? } else { example.ids.len() };
                let own = pooled.iter().enumerate().map(|(part, pooled)| {
                    let length = if stream == Stream::Text { real } else { pooled.dim(4)? };
                    let kinds = if self.queries_are_kinds(stream, part) { length } else { pooled.dim(2)? };
                    cut(&pooled.get(row)?, kinds, length)
                });
                let own = own.collect::<Result<_>>()?;
                self.kept_mut(stream).insert(example.id.clone(), own);
            }
        }
        Ok(())
    }

    /// Pools maps as they are compared, `[B, layers, kinds, heads, L]` each.
    fn pool(&self, stream: Stream, forward: &Forward, batch: &Batch) -> Result<Vec<Tensor>> {
        let maps = maps(stream, forward);
        let mask = self.mask(stream, forward, batch)?;
        Ok(if self.released {
            pool_released(maps, &mask, stream, self.pooling)?
        } else {
            vec![pool(maps, &mask, self.pooling)?]
        })
    }

    /// Returns the positions that are summed over, `[B, L]`; every position of the vision stream is real.
    fn mask(&self, stream: Stream, forward: &Forward, batch: &Batch) -> Result<Tensor> {
        if stream == Stream::Text {
            return Ok(if self.padding { batch.mask.ones_like()? } else { batch.mask.clone() });
        }
        let length = forward.vision_maps.first().map_or(Ok(0), |map| map.dim(3))?;
        Ok(Tensor::ones((batch.examples.len(), length), DType::U32, batch.ids.tensor().device())?)
    }

    /// Returns whether a direction keeps every query of a map, so that padded kinds must be cut as well.
    fn queries_are_kinds(&self, stream: Stream, part: usize) -> bool {
        match (self.released, self.pooling) {
            (false, pooling) => pooling == Pooling::None,
            (true, pooling) => stream == Stream::Text && (pooling == Pooling::Height || part == 1),
        }
    }

    fn kept_mut(&mut self, stream: Stream) -> &mut Kept {
        if stream == Stream::Text { &mut self.text } else { &mut self.vision }
    }

    /// Computes `L_AD^text + L_AD^vision` of a student's forward pass on rows that the teacher knows.
    pub fn distillation(&self, student: &Forward, batch: &Batch) -> Result<Tensor> {
        Ok((self.term(Stream::Text, student, batch)? + self.term(Stream::Vision, student, batch)?)?)
    }

    /// Computes one stream's term, a scalar.
    pub(crate) fn term(&self, stream: Stream, student: &Forward, batch: &Batch) -> Result<Tensor> {
        if maps(stream, student).is_empty() {
            return Err(Error::Usage("no attention maps to distil".to_owned()));
        }
        let kept = if stream == Stream::Text { &self.text } else { &self.vision };
        let mask = self.mask(stream, student, batch)?;
        let mut total = Tensor::zeros((), DType::F32, batch.ids.tensor().device())?;
        for (part, student) in self.pool(stream, student, batch)?.iter().enumerate() {
            let teacher = stacked(kept, part, batch, student)?;
            let loss = if self.released {
                attention_distillation_released(student, &teacher, stream)?
            } else {
                attention_distillation(student, &teacher, &mask, self.pooling)?
            };
            total = (total + loss)?;
        }
        Ok(total)
    }
}

/// Returns the attention logits of a stream.
fn maps(stream: Stream, forward: &Forward) -> &[Tensor] {
    if stream == Stream::Text { &forward.text_maps } else { &forward.vision_maps }
}

/// Cuts the padding off a row's pooled maps `[layers, kinds, heads, L]`.
fn cut(pooled: &Tensor, kinds: usize, length: usize) -> Result<Pooled> {
    let real = pooled.narrow(1, 0, kinds)?.narrow(3, 0, length)?;
    let values = real.flatten_all()?.to_device(&Device::Cpu)?.to_vec1()?;
    Ok(Pooled { values, kinds, heads: real.dim(2)?, length })
}

/// Stacks the teacher's maps of a batch, padded with 0 to the size of the student's, as [`pool`] pads.
fn stacked(kept: &Kept, part: usize, batch: &Batch, student: &Tensor) -> Result<Tensor> {
    let (rows, layers, kinds, heads, longest) = student.dims5()?;
    let size = layers * kinds * heads * longest;
    let mut values = vec![0.0f32; rows * size];
    for (example, row) in batch.examples.iter().zip(values.chunks_mut(size)) {
        let unknown = || Error::Usage(format!("row {} was not shown to the teacher", example.id));
        let pooled = kept.get(&example.id).and_then(|parts| parts.get(part)).ok_or_else(unknown)?;
        for (line, from) in pooled.values.chunks(pooled.length).enumerate() {
            let above = line / pooled.heads;
            let head = line % pooled.heads;
            let layer = above / pooled.kinds;
            let kind = above % pooled.kinds;
            let start = ((layer * kinds + kind) * heads + head) * longest;
            row[start..start + pooled.length].copy_from_slice(from);
        }
    }
    Ok(Tensor::from_vec(values, student.dims(), batch.ids.tensor().device())?)
}
