//! CLIP's preprocessing, as Hugging Face's `CLIPImageProcessor` does it with Pillow: the shorter side is resized to S
//! (bicubic, a = -1/2, antialiased, rounded to bytes), the middle S x S are cut out, bytes are scaled to 0..1 and
//! normalised by CLIP's mean and deviation. The longer side becomes ⌊S·long/short⌋ ≥ S, so nothing is ever padded.
//!
//! Crops are treated like whole pictures. Files are not decoded here, but where a benchmark is built, so that all
//! limits on them are in one place.

use std::sync::LazyLock;

use candle_core::{DType, Tensor};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::error::{Error, Result};

/// Mean per channel (`OPENAI_CLIP_MEAN` of transformers).
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation per channel (`OPENAI_CLIP_STD`).
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Returns mean and standard deviation per channel, as transformers writes them: with eight decimals.
pub(crate) fn statistics() -> [[f64; 3]; 2] {
    [MEAN, DEVIATION].map(|values| values.map(|value| (f64::from(value) * 1e8).round() / 1e8))
}

/// Resizes and crops a picture to bytes `[3, S, S]`.
///
/// # Errors
/// The picture or `size` has no pixels.
pub fn resize_crop(image: &RgbImage, size: usize) -> Result<Vec<u8>> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 || size == 0 {
        return Err(Error::Picture(format!("cannot resize {width} x {height} to {size} x {size} pixels")));
    }
    let across = VisiblePart::new(width, height, size);
    let down = VisiblePart::new(height, width, size);
    let refused = |error: &dyn std::fmt::Display| Error::Picture(format!("cannot resize: {error}"));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3).map_err(|error| refused(&error))?;
    // Pillow resizes rows before columns and rounds in between, which takes two calls: a single one starts with
    // columns.
    let mut resizer = Resizer::new();
    let mut rows = Image::new(size as u32, height, PixelType::U8x3);
    let window = options.crop(across.start, 0.0, across.length, f64::from(height));
    resizer.resize(&source, &mut rows, &window).map_err(|error| refused(&error))?;
    let mut both = Image::new(size as u32, size as u32, PixelType::U8x3);
    let window = options.crop(0.0, down.start, size as f64, down.length);
    resizer.resize(&rows, &mut both, &window).map_err(|error| refused(&error))?;
    let (pixels, _) = both.buffer().as_chunks::<3>();
    let mut planes = Vec::with_capacity(3 * size * size);
    (0..3).for_each(|channel| planes.extend(pixels.iter().map(|pixel| pixel[channel])));
    Ok(planes)
}

/// The part of a side that remains after cropping, in pixels of the source. Only this part is resized, however long the
/// side is.
struct VisiblePart {
    start: f64,
    length: f64,
}

impl VisiblePart {
    fn new(side: u32, other: u32, size: usize) -> Self {
        let resized = size as u64 * u64::from(side) / u64::from(side.min(other));
        let scale = f64::from(side) / resized as f64;
        let start = ((resized - size as u64) / 2) as f64 * scale;
        Self { start, length: (size as f64 * scale).min(f64::from(side) - start) }
    }
}

/// The normalised value of each byte per channel, rounded as in transformers: scaled in f64, then normalised in f32.
static SCALE: LazyLock<[[f32; 256]; 3]> = LazyLock::new(|| {
    std::array::from_fn(|channel| {
        std::array::from_fn(|byte| ((byte as f64 * (1.0 / 255.0)) as f32 - MEAN[channel]) / DEVIATION[channel])
    })
});

/// Normalises bytes `[3, S, S]` to values `[3, S, S]`.
pub fn normalise(planes: &[u8]) -> Vec<f32> {
    let channels = planes.chunks_exact((planes.len() / 3).max(1)).zip(SCALE.iter());
    channels.flat_map(|(plane, scale)| plane.iter().map(|byte| scale[usize::from(*byte)])).collect()
}

/// Normalises bytes `[.., 3, S, S]` on their device. Results equal those of [`normalise`] but for the last bit or two.
///
/// # Errors
/// The device fails.
pub fn normalise_on_device(planes: &Tensor) -> candle_core::Result<Tensor> {
    let each = |values: [f32; 3]| Tensor::new(&values, planes.device())?.reshape((3, 1, 1));
    let scaled = (planes.to_dtype(DType::F32)? * (1.0 / 255.0))?;
    scaled.broadcast_sub(&each(MEAN)?)?.broadcast_div(&each(DEVIATION)?)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn the_middle_is_cut_out_and_planes_are_apart() {
        let image = RgbImage::from_fn(8, 2, |x, y| Rgb([x as u8, 10 + y as u8, 20]));
        assert_eq!(resize_crop(&image, 2).unwrap(), [3, 4, 3, 4, 10, 10, 11, 11, 20, 20, 20, 20]);
        let tall = RgbImage::from_fn(1, 5, |_, y| Rgb([y as u8; 3]));
        assert_eq!(resize_crop(&tall, 1).unwrap(), [2; 3]);
    }

    /// The whole picture, resized, would have 64 x 1,048,576 pixels.
    #[test]
    fn an_endless_strip_is_resized_only_where_it_is_seen() {
        let strip = RgbImage::from_fn(16_384, 1, |x, _| Rgb([(x / 64) as u8; 3]));
        assert!(resize_crop(&strip, 64).unwrap().iter().all(|byte| (127..=128).contains(byte)));
    }

    #[test]
    fn both_ways_to_normalise_agree() {
        let planes: Vec<u8> = (0..3 * 256).map(|n| (n % 256) as u8).collect();
        let there = Tensor::from_slice(&planes, (1, 3, 16, 16), &candle_core::Device::Cpu).unwrap();
        let there: Vec<f32> = normalise_on_device(&there).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(there.iter().zip(normalise(&planes)).all(|(there, here)| (there - here).abs() < 1e-6));
    }

    #[test]
    fn no_pixels_are_an_error() {
        assert!(resize_crop(&RgbImage::new(0, 4), 2).unwrap_err().to_string().contains("0 x 4"));
        assert!(resize_crop(&RgbImage::new(4, 4), 0).is_err());
    }
}
