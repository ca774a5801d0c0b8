//! Decodes picture files to RGB pixels, for the check during a build and for training alike.
//!
//! The result is that of Pillow's `Image.open(file).convert("RGB")`, which the published code passes to CLIP's
//! processor: transparency is dropped, not blended; palettes and grey are expanded to RGB; CMYK is read as Adobe stores
//! it (inverted); an EXIF orientation is not applied; an animation shows its first frame; a truncated file is an error.
//! One difference: 16-bit grey is scaled to 8 bits, whereas Pillow clips it at 255.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits, RgbImage};
use memchr::memchr;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Largest picture file that is read. This and the next two limits protect against decompression bombs.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Longest side of a picture that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most memory that decoding one picture may take.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Decodes a picture file.
///
/// # Errors
/// The format is unknown or damaged, the file is cut off, or sides or memory exceed the limits; the error is the reason.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let refused = |error: image::ImageError| format!("does not decode: {error}");
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| refused(error.into()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let decoded = reader.decode().map_err(refused)?;
    // The JPEG decoder fills what a cut-off file lacks with grey and says nothing.
    if jpeg && !is_whole_jpeg(bytes) {
        return Err("does not decode: the JPEG file is cut off, its end marker is missing".to_owned());
    }
    Ok(decoded.into_rgb8())
}

/// Returns width and height of a picture that [`decode`] decodes. Of a JPEG with colours only the brightness is computed,
/// which still reads every coefficient and is a quarter less work.
///
/// # Errors
/// The same as those of [`decode`].
pub(super) fn check(bytes: &[u8]) -> Result<(u32, u32), String> {
    match brightness(bytes) {
        Some(size) if is_whole_jpeg(bytes) => Ok(size),
        _ => decode(bytes).map(|picture| picture.dimensions()),
    }
}

/// Decodes the brightness of a JPEG with colours and returns its size; `None` for other or damaged files.
fn brightness(bytes: &[u8]) -> Option<(u32, u32)> {
    if image::guess_format(bytes).ok()? != ImageFormat::Jpeg {
        return None;
    }
    let side = MAX_SIDE as usize;
    // As the image crate opens it, within the limits of `decode`.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(side).set_max_height(side);
    let options = options.jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    if decoder.input_colorspace()? != ColorSpace::YCbCr {
        return None;
    }
    decoder.decode().ok()?;
    let (width, height) = decoder.dimensions()?;
    Some((width as u32, height as u32))
}

/// Returns whether the end marker (EOI) follows the segments; one inside a segment, as of a thumbnail, does not count.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(at) = memchr(0xff, rest) {
        let length = match rest[at + 1..] {
            [0xd9, ..] => return true,
            // Fill bytes, stuffed bytes and restart markers of the picture data, markers without a length.
            [0xff, ..] => 1,
            [0x00 | 0x01 | 0xd0..=0xd8, ..] => 2,
            [_, high, low, ..] => 2 + usize::from(u16::from_be_bytes([high, low])),
            _ => return false,
        };
        rest = rest.get(at + length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba, RgbaImage};

    use super::*;

    fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn noise() -> RgbImage {
        let mut state = 1u32;
        RgbImage::from_fn(61, 47, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        })
    }

    #[test]
    fn a_cut_off_file_is_an_error_in_every_format() {
        let formats =
            [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp].into_iter();
        for format in formats {
            let whole = file(noise(), format);
            assert_eq!(decode(&whole).unwrap().dimensions(), (61, 47));
            assert_eq!(check(&whole), Ok((61, 47)));
            for kept in [whole.len() - 60, whole.len() / 2, 40, 3, 0] {
                let error = decode(&whole[..kept]).expect_err(&format!("{format:?} of {kept} bytes"));
                assert!(error.starts_with("does not decode: "), "{error}");
                assert_eq!(check(&whole[..kept]), Err(error));
            }
        }
    }

    #[test]
    fn the_end_marker_of_a_thumbnail_is_not_that_of_the_file() {
        let whole = file(noise(), ImageFormat::Jpeg);
        let thumbnail = [&[0xff, 0xe1, 0, 8][..], &[0xff, 0xd8, 1, 2, 0xff, 0xd9]].concat();
        let with = [&whole[..2], &thumbnail, &whole[2..]].concat();
        assert_eq!(decode(&with).unwrap(), decode(&whole).unwrap());
        assert!(decode(&with[..with.len() - 1]).unwrap_err().contains("cut off"));
    }

    #[test]
    fn a_check_says_of_damaged_jpegs_what_decoding_says() {
        let whole = file(noise(), ImageFormat::Jpeg);
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let decoded = decode(&damaged).map(|picture| picture.dimensions());
            refused += usize::from(decoded.is_err());
            assert_eq!(check(&damaged), decoded, "byte {at}");
        }
        assert!((10..whole.len() / 2).contains(&refused), "{refused}");
    }

    #[test]
    fn alpha_is_dropped_and_16_bits_are_scaled() {
        let clear = RgbaImage::from_pixel(2, 2, Rgba([10, 20, 30, 0]));
        assert_eq!(decode(&file(clear, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [10, 20, 30]);
        let deep = ImageBuffer::from_pixel(2, 2, Luma([0x8080u16]));
        assert_eq!(decode(&file(deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [0x80; 3]);
        let grey = GrayImage::from_pixel(2, 2, Luma([7]));
        assert_eq!(decode(&file(grey, ImageFormat::Bmp)).unwrap().get_pixel(1, 1).0, [7; 3]);
    }
}
