//! The canvas of a plot and the text on it.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::svg::{FONT, Svg};
use crate::error::Result;

/// A canvas that plotters draws on.
pub type Area<'a> = DrawingArea<Svg<'a>, Shift>;

/// Runs `paint` on an empty canvas and returns the SVG.
pub fn draw(size: (i32, i32), title: &str, paint: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut document = String::new();
    let root = Svg::new(&mut document, (size.0 as u32, size.1 as u32), title).into_drawing_area();
    paint(&root)?;
    root.present()?;
    drop(root);
    document += "</svg>";
    Ok(document)
}

/// Returns a text style of one colour, anchored as given. The size is that in which plotters lays text out.
pub fn text<'a>(colour: impl Color, h_pos: HPos, v_pos: VPos) -> TextStyle<'a> {
    let font = ("sans-serif", f64::from(FONT) * 1.24).into_font();
    font.color(&colour).pos(Pos::new(h_pos, v_pos))
}

/// Returns the style of centred text in the colour of the page.
pub fn plain<'a>() -> TextStyle<'a> {
    text(BLACK, HPos::Center, VPos::Center)
}

/// Shortens a label so that it fits into a plot.
pub fn short(label: &str) -> String {
    if label.chars().count() > 32 { label.chars().take(31).chain(['…']).collect() } else { label.to_owned() }
}

/// Estimates the width of a text in pixels; plots know no fonts.
pub fn width(text: &str) -> i32 {
    (text.chars().count() as f64 * f64::from(FONT) * 0.58).ceil() as i32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::plots::svg::line_of;

    #[test]
    fn series_become_classes_and_text_keeps_its_words() {
        let paint = |root: &Area<'_>| -> Result<()> {
            root.draw(&PathElement::new([(0, 0), (1, 2)], line_of(7)))?;
            root.draw(&PathElement::new([(0, 0), (1, 2)], line_of(0).mix(0.5)))?;
            root.draw(&Text::new("<#000000>", (3, 4), plain()))?;
            Ok(())
        };
        let svg = draw((20, 10), "a < b", paint).unwrap();
        assert!(svg.starts_with("<svg width=\"20\" height=\"10\" viewBox=\"0 0 20 10\""), "{svg}");
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
        let line = "<polyline fill=\"none\" stroke-dasharray=\"7 3\" stroke=\"currentColor\" color=\"#D55E00\" \
                    class=\"s7 p1\" stroke-width=\"1\" points=\"0,0 1,2 \"/>";
        assert!(svg.contains(line), "{svg}");
        let faint = "<polyline fill=\"none\" opacity=\"0.5\" stroke=\"currentColor\" color=\"#0072B2\" class=\"s0 p0\"";
        assert!(svg.contains(faint), "{svg}");
        let text =
            "<text x=\"3\" y=\"4\" dy=\"0.5ex\" text-anchor=\"middle\" fill=\"currentColor\">&lt;#000000&gt;</text>";
        assert!(svg.ends_with(&format!("{text}</svg>")), "{svg}");
    }

    #[test]
    fn long_labels_are_cut_at_characters() {
        assert_eq!(short("lmc [a]"), "lmc [a]");
        assert_eq!(short(&"é".repeat(40)).chars().count(), 32);
    }
}
