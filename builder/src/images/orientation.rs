//! The orientation that a picture file states: how its pixels are turned or mirrored before they are shown.
//!
//! The rule is that of Pillow's `Image.getexif` and `ImageOps.exif_transpose`, which Hugging Face `datasets` applies: the
//! EXIF tag 0x0112 or, where there is none, `tiff:Orientation` of the XMP packet. Values beyond 1 to 8 mean nothing.

use image::metadata::Orientation;
use memchr::memmem;

/// Returns the orientation that the EXIF chunk or else the XMP packet of a file states.
pub(super) fn stated(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    // Some writers of WebP repeat the mark with which JPEGs begin the chunk.
    let chunk = exif.map(|chunk| chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk));
    let found = chunk.and_then(Orientation::from_exif_chunk).or_else(|| from_xmp(xmp?));
    found.unwrap_or(Orientation::NoTransforms)
}

/// Finds the orientation in an XMP packet, where it is an attribute or an element.
fn from_xmp(packet: &[u8]) -> Option<Orientation> {
    const KEY: &[u8] = b"tiff:Orientation";
    let digit = memmem::find_iter(packet, KEY).find_map(|at| match packet[at + KEY.len()..] {
        [b'>', digit, ..] | [b'=', b'"', digit, ..] if digit.is_ascii_digit() => Some(digit - b'0'),
        _ => None,
    });
    Orientation::from_exif(digit?)
}

/// Returns width and height of a picture once it is turned.
pub(super) fn turned(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::png::PngEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

    use super::super::decode::{check, decode};

    /// Side of the squares of one colour that pictures here are made of: JPEG halves colours, so corners stay pure.
    const SIDE: u32 = 16;
    const COLOURS: [(char, [u8; 3]); 6] = [
        ('a', [250, 10, 10]),
        ('b', [10, 250, 10]),
        ('c', [10, 10, 250]),
        ('d', [250, 250, 10]),
        ('e', [10, 10, 10]),
        ('f', [250, 250, 250]),
    ];
    /// How `abc` over `def` is shown under each orientation, as EXIF 2.3 draws it: the rows from top to bottom.
    const SHOWN: [(u8, &str); 8] = [
        (1, "abc/def"),
        (2, "cba/fed"),
        (3, "fed/cba"),
        (4, "def/abc"),
        (5, "ad/be/cf"),
        (6, "da/eb/fc"),
        (7, "fc/eb/da"),
        (8, "cf/be/ad"),
    ];

    fn stored() -> RgbImage {
        RgbImage::from_fn(3 * SIDE, 2 * SIDE, |x, y| Rgb(COLOURS[(x / SIDE + 3 * (y / SIDE)) as usize].1))
    }

    /// Reads the squares of a picture.
    fn squares(picture: &RgbImage) -> String {
        let letter = |x: u32, y: u32| {
            let pixel = picture[(x * SIDE + SIDE / 2, y * SIDE + SIDE / 2)].0;
            let near = |colour: [u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 60);
            COLOURS.iter().find(|(_, colour)| near(*colour)).unwrap().0
        };
        let row = |y| (0..picture.width() / SIDE).map(|x| letter(x, y)).collect::<String>();
        (0..picture.height() / SIDE).map(row).collect::<Vec<_>>().join("/")
    }

    /// A chunk with one tag, the orientation.
    fn exif(value: u8, big_endian: bool) -> Vec<u8> {
        if big_endian {
            let head = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
            [&head[..], &[0, value, 0, 0, 0, 0, 0, 0]].concat()
        } else {
            let head = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
            [&head[..], &[value, 0, 0, 0, 0, 0, 0, 0]].concat()
        }
    }

    fn encode(mut encoder: impl ImageEncoder, chunk: Vec<u8>) {
        let picture = stored();
        encoder.set_exif_metadata(chunk).unwrap();
        let (width, height) = picture.dimensions();
        encoder.write_image(&picture, width, height, ExtendedColorType::Rgb8).unwrap();
    }

    /// Returns the picture as a JPEG, a PNG and a WebP file with a chunk.
    fn files(chunk: &[u8]) -> [Vec<u8>; 3] {
        let mut jpeg = Cursor::new(Vec::new());
        encode(JpegEncoder::new_with_quality(&mut jpeg, 95), chunk.to_vec());
        let mut png = Cursor::new(Vec::new());
        encode(PngEncoder::new(&mut png), chunk.to_vec());
        let mut webp = Cursor::new(Vec::new());
        encode(WebPEncoder::new_lossless(&mut webp), chunk.to_vec());
        [jpeg, png, webp].map(Cursor::into_inner)
    }

    fn expect(file: &[u8], shown: &str, case: &str) {
        let picture = decode(file).unwrap();
        assert_eq!(squares(&picture), shown, "{case}");
        assert_eq!(check(file), Ok(picture.dimensions()), "{case}");
    }

    #[test]
    fn a_picture_is_shown_as_its_file_states() {
        for (value, shown) in SHOWN {
            for big_endian in [false, true] {
                let chunk = exif(value, big_endian);
                for (format, file) in ["JPEG", "PNG", "WebP"].into_iter().zip(files(&chunk)) {
                    expect(&file, shown, &format!("{format}, orientation {value}"));
                }
            }
            let marked = [b"Exif\0\0", &exif(value, false)[..]].concat();
            expect(&files(&marked)[2], shown, "the mark is skipped");
        }
        for (file, value) in
            [0, 9, 255].into_iter().flat_map(|value| files(&exif(value, false)).map(|file| (file, value)))
        {
            expect(&file, SHOWN[0].1, &format!("orientation {value} means nothing"));
        }
    }

    /// As in the JPEGs of some editors, which write no EXIF.
    #[test]
    fn the_xmp_packet_counts_where_exif_says_nothing() {
        let packet = |value: u8| {
            format!("http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=\"{value}\" b=\"tiff:Orientation\"/>")
        };
        for (value, shown) in SHOWN {
            let [plain, ..] = files(&[]);
            let with = |plain: &[u8], packet: &str| {
                let length = (packet.len() as u16 + 2).to_be_bytes();
                [&plain[..2], b"\xff\xe1", &length, packet.as_bytes(), &plain[2..]].concat()
            };
            expect(&with(&plain, &packet(value)), shown, &format!("attribute {value}"));
            let element = format!("http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>{value}</tiff:Orientation>");
            expect(&with(&plain, &element), shown, &format!("element {value}"));
            let [both, ..] = files(&exif(2, false));
            expect(&with(&both, &packet(value)), SHOWN[1].1, "EXIF wins");
        }
    }
}
