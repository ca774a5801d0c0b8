//! 32 x 32 pictures whose colour and pattern tell the class.

use std::io;
use std::path::Path;

use image::{ImageError, Rgb, RgbImage};

use super::dice::Dice;

/// Side of a picture in pixels.
const SIDE: u32 = 32;

/// What is bright in a picture; the rest is dim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Horizontal stripes, 4 pixels high.
    Rows,
    /// Vertical stripes, 4 pixels wide.
    Columns,
    /// A chess board of squares 4 pixels wide.
    Checks,
    /// Separate squares, 4 pixels wide and 4 pixels apart.
    Dots,
    /// One even surface, which stands for no class.
    Plain,
}

/// The patterns that stand for something, by index of the class or class pair.
pub(super) const PATTERNS: [Pattern; 4] = [Pattern::Rows, Pattern::Columns, Pattern::Checks, Pattern::Dots];

/// The colours that stand for something, by index of the class.
pub(super) const COLOURS: [[u8; 3]; 8] = [
    [220, 40, 40],
    [40, 200, 60],
    [50, 80, 220],
    [230, 210, 40],
    [40, 210, 220],
    [210, 60, 210],
    [240, 140, 30],
    [200, 200, 200],
];

/// Pattern and colours that a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) colour: [u8; 3],
    pub(super) pattern: Pattern,
}

impl Scene {
    /// Draws a picture that says nothing: any colour, no pattern.
    pub(super) fn mute(dice: &mut Dice) -> Self {
        Self { colour: dice.pick(&COLOURS), pattern: Pattern::Plain }
    }
}

impl Pattern {
    fn bright(self, x: u32, y: u32) -> bool {
        let column = x & 4 == 0;
        let row = y & 4 == 0;
        match self {
            Self::Rows => row,
            Self::Columns => column,
            Self::Checks => row == column,
            Self::Dots => row && column,
            Self::Plain => true,
        }
    }
}

/// Draws `scene` with a random shift and pixel noise; the file's extension chooses PNG or JPEG.
pub(super) fn save(path: &Path, scene: Scene, dice: &mut Dice) -> io::Result<()> {
    let shift = dice.below(8) as u32;
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| pixel(scene, x + shift, y + shift, dice));
    picture.save(path).map_err(|error| in_file(path, &error))
}

fn pixel(scene: Scene, x: u32, y: u32, dice: &mut Dice) -> Rgb<u8> {
    let divisor = if scene.pattern.bright(x, y) { 1 } else { 4 };
    let noise = dice.below(32) as u8;
    Rgb(scene.colour.map(|channel| (channel / divisor).saturating_add(noise)))
}

fn in_file(path: &Path, error: &ImageError) -> io::Error {
    io::Error::other(format!("cannot write {}: {error}", path.display()))
}
