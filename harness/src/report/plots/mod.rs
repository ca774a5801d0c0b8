//! Plots of a board as SVG: text and axes take the colour of what surrounds them, the background is transparent, and
//! the elements of series `k` carry the class `sk`, so that a page can hide them.
//!
//! Colours: five after Okabe and Ito (2008), made for colour-blind readers, and a grey, each at 3:1 at least with white
//! and with near-black; a seventh series takes the first colour again with another dash.

mod balance;
mod classes;
mod matrix;
mod scores;
mod training;

pub use balance::balance;
pub use classes::{classes, lost};
pub use matrix::matrix;
pub use scores::scores;
pub use training::training;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::board::{Board, Entry, Estimate, MetricInfo};
use crate::error::Result;

const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#008F6B", "#B5588F", "#A97400", "#6A6F76"];
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];
/// Entries beside those of [`REFERENCES`] that get plots: more curves cannot be told apart.
const DRAWN: usize = 22;
/// The floor and the upper bounds, drawn whatever their place.
const REFERENCES: [&str; 3] = ["vanilla", "joint", "joint-multimodal"];
const FONT: i32 = 12;

/// Colour and dash of a series.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Pen {
    /// Place in the palette, from 0.
    pub hue: usize,
    /// The colour, as in CSS.
    pub colour: &'static str,
    /// Value of `stroke-dasharray`.
    pub dash: &'static str,
}

/// What series `k` is drawn with.
pub fn pen(series: usize) -> Pen {
    let hue = series % COLOURS.len();
    Pen { hue, colour: COLOURS[hue], dash: DASHES[series / COLOURS.len() % DASHES.len()] }
}

/// Is it the floor or an upper bound?
pub fn reference(entry: &Entry) -> bool {
    REFERENCES.contains(&entry.label.as_str())
}

/// Metrics after each task that some entry has a value of. Choosing among the classes seen is what mkgc's methods do
/// anyway, so the class-masked twins are left to `scores.csv`.
pub fn metrics(board: &Board) -> Vec<&MetricInfo> {
    let defined = |estimate: &Estimate| estimate.mean.number().is_some();
    let some = |name: &str| {
        let mut stages = board.all().filter_map(|entry| entry.stages.get(name));
        stages.any(|stages| stages.iter().any(defined))
    };
    let shown = |metric: &&MetricInfo| {
        metric.per_stage
            && !metric.name.starts_with("class_masked")
            && (board.all().next().is_none() || some(&metric.name))
    };
    board.metrics.iter().filter(shown).collect()
}

/// Entries that get plots, best first: series `k` is the `k`-th of them.
pub fn drawn(board: &Board) -> Vec<usize> {
    let kept = |(at, entry): &(usize, &Entry)| *at < DRAWN || reference(entry);
    let most = DRAWN + REFERENCES.len();
    board.entries.iter().enumerate().filter(kept).map(|(at, _)| at).take(most).collect()
}

/// A label short enough for a plot.
fn short(label: &str) -> String {
    if label.chars().count() > 32 { label.chars().take(31).chain(['…']).collect() } else { label.to_owned() }
}

/// About the width of a text: plots know no fonts.
fn width(text: &str) -> i32 {
    (text.chars().count() as f64 * f64::from(FONT) * 0.58).ceil() as i32
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Runs `paint` on an empty canvas and gives the SVG.
fn draw(size: (i32, i32), title: &str, paint: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
    paint(&root)?;
    root.present()?;
    drop(root);
    Ok(finish(&svg, title))
}

/// Text of the plots. Plotters divides sizes by 1.24.
fn text<'a>(colour: impl Color, h_pos: HPos, v_pos: VPos) -> TextStyle<'a> {
    let font = ("sans-serif", f64::from(FONT) * 1.24).into_font();
    font.color(&colour).pos(Pos::new(h_pos, v_pos))
}

fn plain<'a>() -> TextStyle<'a> {
    text(BLACK, HPos::Center, VPos::Center)
}

/// Stands for the colour of a series until [`finish`].
fn line_of(series: usize) -> RGBColor {
    RGBColor(1, 0, series as u8)
}

/// Stands for the colour of the text of a series, which is that of all text.
fn text_of(series: usize) -> RGBColor {
    RGBColor(2, 0, series as u8)
}

/// Puts themes, classes, dashes and a title in. Quotes in texts are escaped, so a quoted colour is an attribute.
fn finish(svg: &str, title: &str) -> String {
    let mut svg = svg.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", "");
    svg = svg.replace(" stroke=\"none\" stroke-width=\"1\"", "").replace(" stroke=\"none\"", "").replace(">\n", ">");
    svg = svg.replace("\n</text>", "</text>").replace("\"#000000\"", "\"currentColor\"");
    for series in 0..DRAWN + REFERENCES.len() {
        let (Pen { hue, colour, dash }, code) = (pen(series), format!("00{series:02X}"));
        let attributes = format!("\"currentColor\" color=\"{colour}\" class=\"s{series} p{hue}\"");
        let dashed = format!("<polyline fill=\"none\" stroke-dasharray=\"{dash}\" stroke=\"#01{code}\"");
        svg = svg.replace(&format!("<polyline fill=\"none\" stroke=\"#01{code}\""), &dashed);
        svg = svg.replace(&format!("\"#01{code}\""), &attributes);
        svg = svg.replace(&format!("\"#02{code}\""), &format!("\"currentColor\" class=\"s{series}\""));
    }
    let head = format!(
        " role=\"img\" font-family=\"sans-serif\" font-size=\"{FONT}\"><title>{}</title>\
         <style>svg:root{{color-scheme:light dark;color:CanvasText}}</style>",
        escape(title)
    );
    svg.replace(&format!(" font-size=\"{FONT}\""), "").replacen('>', &head, 1)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_classes_and_text_keeps_its_words() {
        let svg = "<svg width=\"1\">\n<polyline fill=\"none\" opacity=\"1\" stroke=\"#010007\"/>\n\
                   <text fill=\"#000000\">\n&lt;#000000&gt;\n</text>\n</svg>\n";
        let done = finish(svg, "a < b");
        assert!(done.contains("<title>a &lt; b</title>"), "{done}");
        assert!(done.contains("stroke-dasharray=\"7 3\" stroke=\"currentColor\" color=\"#D55E00\" class=\"s7 p1\""));
        assert!(done.contains("<text fill=\"currentColor\">&lt;#000000&gt;</text>"), "{done}");
    }

    #[test]
    fn long_labels_are_cut_at_characters() {
        assert_eq!(short("lmc [a]"), "lmc [a]");
        assert_eq!(short(&"é".repeat(40)).chars().count(), 32);
    }
}
