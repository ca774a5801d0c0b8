//! Training or evaluation, which differ in dropout, and the seeded generator of its masks.

use candle_core::{Result, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ops::{self, DropoutMask};

/// The generator of dropout masks. candle's own CPU generator cannot be seeded.
pub struct DropoutRng(ChaCha8Rng);

impl DropoutRng {
    /// Creates a generator; the same seed gives the same masks.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns the generator, whose position says how many masks were drawn.
    pub fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}

/// Whether a network runs in training or in evaluation.
pub enum Mode<'a> {
    /// Evaluation, in which dropout changes nothing.
    Eval,
    /// Training, with dropout masks from this generator.
    Train(&'a mut DropoutRng),
}

impl Mode<'_> {
    /// Returns the next mask of dropout with probability `p`, or none where nothing is dropped.
    pub(crate) fn mask(&mut self, p: f64) -> Option<DropoutMask> {
        match self {
            Self::Train(rng) if p > 0.0 => Some(DropoutMask::new(rng.0.next_u64(), p)),
            _ => None,
        }
    }

    /// Applies inverted dropout (Srivastava et al. 2014): in training, each value is zeroed with probability `p` (in
    /// steps of 1/65536) and the others are scaled by `1 / (1 - p)`.
    ///
    /// # Errors
    /// The mask cannot be made on the tensor's device.
    pub fn dropout(&mut self, x: &Tensor, p: f64) -> Result<Tensor> {
        self.mask(p).map_or_else(|| Ok(x.clone()), |mask| ops::dropout(x, mask))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn dropout_is_seeded_scaled_and_off_in_evaluation() {
        let x = Tensor::ones((200, 500), candle_core::DType::F32, &Device::Cpu).unwrap();
        let draw = |seed| Mode::Train(&mut DropoutRng::new(seed)).dropout(&x, 0.1).unwrap();
        let values = draw(1).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let zeros = values.iter().filter(|value| **value == 0.0).count() as f64 / 1e5;
        assert!((zeros - 0.1).abs() < 0.005, "{zeros}");
        assert!(values.iter().all(|value| *value == 0.0 || (value - 1.0 / 0.9).abs() < 1e-6));
        assert_eq!(values, draw(1).flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert_ne!(values, draw(2).flatten_all().unwrap().to_vec1::<f32>().unwrap());
        let same = Mode::Eval.dropout(&x, 0.1).unwrap();
        assert_eq!(same.sum_all().unwrap().to_scalar::<f32>().unwrap(), 1e5);
    }
}
