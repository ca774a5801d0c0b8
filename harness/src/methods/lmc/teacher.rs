//! LMC's teacher: the network of the task before. Frozen, without dropout, it says the same of a row every time, so its
//! pooled attention maps are computed once per task and kept.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mkgc_models::distill::{Pooling, attention_distillation, attention_distillation_released, pool};
use mkgc_models::dual::Key;
use mkgc_models::mode::Mode;

use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::{Error, Result};
use crate::learner::{Forward, Learner};

/// Pooled maps of one row and stream, `[layers, kinds, heads, L]` with `L` real positions.
struct Pooled {
    values: Vec<f32>,
    kinds: usize,
    length: usize,
}

/// Pooled maps of every row of a task.
pub struct Teacher {
    pooling: Pooling,
    released: bool,
    text: BTreeMap<String, Pooled>,
    vision: BTreeMap<String, Pooled>,
}

/// Rows whose maps are pooled at a time.
const CHUNK: usize = 32;

impl Teacher {
    /// Of the network as it is now, for `rows`; none where no layer's maps are distilled.
    pub fn new(learner: &Learner, rows: &[Example], config: &Config) -> Result<Option<Self>> {
        if config.shared_layers == 0 {
            return Ok(None);
        }
        let released = config.key == Key::Released;
        let pooling = if released { Pooling::Width } else { config.pooling };
        let mut teacher = Self { pooling, released, text: BTreeMap::new(), vision: BTreeMap::new() };
        let mut order: Vec<&Example> = rows.iter().collect();
        order.sort_by_key(|row| row.ids.len());
        for chunk in order.chunks(CHUNK) {
            teacher.show(learner, chunk)?;
        }
        Ok(Some(teacher))
    }

    fn show(&mut self, learner: &Learner, rows: &[&Example]) -> Result<()> {
        let batch = learner.batch(rows)?;
        let forward = learner.forward(&batch, &mut Mode::Eval)?;
        let seen = vision_mask(&forward, &batch)?;
        let text = pool(&forward.text_maps, &batch.mask, self.pooling)?;
        let vision = pool(&forward.vision_maps, &seen, self.pooling)?;
        for (row, example) in rows.iter().enumerate() {
            self.text.insert(example.id.clone(), self.pooled(&text, row, example.ids.len())?);
            self.vision.insert(example.id.clone(), self.pooled(&vision, row, vision.dims()[4])?);
        }
        Ok(())
    }

    /// The real part of a row. Without pooling, kinds are positions too.
    fn pooled(&self, pooled: &Tensor, row: usize, length: usize) -> Result<Pooled> {
        let kinds = if self.pooling == Pooling::None { length } else { pooled.dims()[2] };
        let real = pooled.get(row)?.narrow(1, 0, kinds)?.narrow(3, 0, length)?;
        Ok(Pooled { values: real.flatten_all()?.to_device(&Device::Cpu)?.to_vec1()?, kinds, length })
    }

    /// `L_AD^text + L_AD^vision` of a student's forward pass on rows the teacher knows.
    pub fn distillation(&self, student: &Forward, batch: &Batch) -> Result<Tensor> {
        let loss = |maps: &[Tensor], mask: &Tensor, kept: &BTreeMap<String, Pooled>| -> Result<Tensor> {
            let teacher = self.gather(kept, batch, maps)?;
            Ok(if self.released {
                attention_distillation_released(maps, mask, &teacher)?
            } else {
                attention_distillation(maps, mask, &teacher, self.pooling)?
            })
        };
        let text = loss(&student.text_maps, &batch.mask, &self.text)?;
        Ok((text + loss(&student.vision_maps, &vision_mask(student, batch)?, &self.vision)?)?)
    }

    /// The teacher's maps of a batch, padded with 0 as [`pool`] pads.
    fn gather(&self, kept: &BTreeMap<String, Pooled>, batch: &Batch, maps: &[Tensor]) -> Result<Tensor> {
        let Some(first) = maps.first() else { return Err(Error::Usage("no attention maps to distil".to_owned())) };
        let (rows, heads, longest, _) = first.dims4()?;
        let kinds = match self.pooling {
            Pooling::None => longest,
            Pooling::Both => 2,
            Pooling::Width | Pooling::Height => 1,
        };
        let mut values = vec![0.0f32; rows * maps.len() * kinds * heads * longest];
        for (example, row) in batch.examples.iter().zip(values.chunks_mut(maps.len() * kinds * heads * longest)) {
            let unknown = || Error::Usage(format!("row {} was not shown to the teacher", example.id));
            let pooled = kept.get(&example.id).ok_or_else(unknown)?;
            let layers = row.chunks_mut(kinds * heads * longest);
            for (layer, own) in layers.zip(pooled.values.chunks(pooled.kinds * heads * pooled.length)) {
                for (to, from) in layer.chunks_mut(longest).zip(own.chunks(pooled.length)) {
                    to[..pooled.length].copy_from_slice(from);
                }
            }
        }
        Ok(Tensor::from_vec(values, (rows, maps.len(), kinds, heads, longest), batch.ids.device())?)
    }
}

/// Every position of the vision stream is real.
fn vision_mask(forward: &Forward, batch: &Batch) -> Result<Tensor> {
    let length = forward.vision_maps.first().map_or(Ok(0), |map| map.dim(3))?;
    Ok(Tensor::ones((batch.examples.len(), length), DType::U32, batch.ids.device())?)
}
