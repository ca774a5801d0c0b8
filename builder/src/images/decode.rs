//! Decodes picture files to RGB pixels, for the check during a build and for training alike.
//!
//! The result is that of Pillow's `Image.open(file).convert("RGB")`, which the published code passes to CLIP's
//! processor: transparency is dropped, not blended; palettes and grey are expanded to RGB; CMYK is read as Adobe stores
//! it (inverted); an animation shows its first frame; a truncated file is an error. The picture is turned as the file
//! states ([`super::orientation`]), which `ImageOps.exif_transpose` does for Hugging Face `datasets`. One difference:
//! 16-bit grey is scaled to 8 bits, whereas Pillow clips it at 255.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use memchr::memchr;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::{stated, turned};

/// Largest picture file that is read. This and the next two limits protect against decompression bombs.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most pixels of a picture: twice Pillow's `Image.MAX_IMAGE_PIXELS`, beyond which it raises `DecompressionBombError`.
const MAX_PIXELS: u64 = 178_956_970;
/// Most memory that decoding one picture may take.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Decodes a picture file.
///
/// # Errors
/// The format is unknown or damaged, the file is cut off, or pixels or memory exceed the limits; the error is the reason.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let refused = |error: image::ImageError| format!("does not decode: {error}");
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| refused(error.into()))?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits.clone());
    let jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    check_pixels(decoder.dimensions())?;
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = stated(exif.as_deref(), xmp.as_deref());
    limits.reserve(held_bytes(&decoder, orientation)).map_err(refused)?;
    decoder.set_limits(limits).map_err(refused)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(refused)?;
    // The JPEG decoder fills what a cut-off file lacks with grey and says nothing.
    if jpeg && !is_whole_jpeg(bytes) {
        return Err("does not decode: the JPEG file is cut off, its end marker is missing".to_owned());
    }
    decoded.apply_orientation(orientation);
    Ok(decoded.into_rgb8())
}

/// Returns how many bytes of pixels are held at once: those decoded, beside a copy of them where the picture is turned,
/// or beside the RGB that they are converted to.
fn held_bytes(decoder: &impl ImageDecoder, orientation: Orientation) -> u64 {
    let (width, height) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    let copy = if turned(orientation, (1, 2)) == (1, 2) { 0 } else { decoded };
    let rgb = if decoder.color_type() == ColorType::Rgb8 { 0 } else { 3 * u64::from(width) * u64::from(height) };
    decoded.saturating_add(copy.max(rgb))
}

/// Checks that a picture has no more pixels than common readers accept.
fn check_pixels((width, height): (u32, u32)) -> Result<(), String> {
    if u64::from(width) * u64::from(height) <= MAX_PIXELS {
        return Ok(());
    }
    Err(format!(
        "does not decode: {width} x {height} pixels, more than the {MAX_PIXELS} that Pillow reads; make the picture smaller"
    ))
}

/// Returns width and height of a picture that [`decode`] decodes. Of a JPEG with colours only the brightness is computed,
/// which still reads every coefficient and is a quarter less work.
///
/// # Errors
/// The same as those of [`decode`].
pub fn check(bytes: &[u8]) -> Result<(u32, u32), String> {
    match brightness(bytes) {
        Some(size) if is_whole_jpeg(bytes) => Ok(size),
        _ => decode(bytes).map(|picture| picture.dimensions()),
    }
}

/// Decodes the brightness of a JPEG with colours and returns its size once it is turned; `None` for other or damaged files.
fn brightness(bytes: &[u8]) -> Option<(u32, u32)> {
    if image::guess_format(bytes).ok()? != ImageFormat::Jpeg {
        return None;
    }
    // As the image crate opens it, within the limits of `decode`.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let options = options.jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    let size = (width as u32, height as u32);
    if decoder.input_colorspace()? != ColorSpace::YCbCr || check_pixels(size).is_err() {
        return None;
    }
    // As in `decode`, what the headers state counts; between the scans of a progressive picture there may be more.
    let orientation = stated(decoder.exif().map(Vec::as_slice), decoder.xmp().map(Vec::as_slice));
    decoder.decode().ok()?;
    Some(turned(orientation, size))
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

    /// A header of a PNG that promises a size.
    fn promise(width: u32, height: u32) -> Vec<u8> {
        let mut png = file(RgbImage::new(1, 1), ImageFormat::Png);
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..29]);
        png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        png
    }

    #[test]
    fn pictures_have_as_many_pixels_as_pillow_reads_whatever_their_sides() {
        let long = file(RgbImage::new(40_000, 2), ImageFormat::Png);
        assert_eq!(check(&long), Ok((40_000, 2)));
        assert_eq!(check_pixels((178_956_970, 1)), Ok(()));
        for (width, height) in [(178_956_971, 1), (60_000, 60_000), (13_378, 13_378)] {
            let error = decode(&promise(width, height)).unwrap_err();
            assert!(error.contains(&format!("{width} x {height} pixels, more than the 178956970")), "{error}");
            assert_eq!(check(&promise(width, height)), Err(error));
        }
        assert!(!decode(&promise(13_377, 13_377)).unwrap_err().contains("pixels, more than"));
    }

    /// RGBA takes four bytes a pixel, and the RGB that it becomes three more.
    #[test]
    fn a_picture_whose_pixels_fill_more_than_the_limit_with_their_copy_is_refused() {
        let mut picture = promise(13_000, 13_000);
        // The colour type of the header, and its checksum.
        picture[25] = 6;
        let mut crc = flate2::Crc::new();
        crc.update(&picture[12..29]);
        picture[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = decode(&picture).unwrap_err();
        assert!(error.contains("does not decode: Memory limit exceeded"), "{error}");
        assert_eq!(check(&picture), Err(error));
    }
}
