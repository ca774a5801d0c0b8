//! Which entries and metrics of a board are drawn, and the pens they are drawn with.
//!
//! Colours: five after Okabe and Ito (2008), made for colour-blind readers, and a grey, each at 3:1 at least with white
//! and with near-black. A seventh series takes the first colour again with another dash.

use crate::metrics::Metric;
use crate::metrics::masked::Mask;
use crate::metrics::metric::PredictionSet;
use crate::report::board::{Board, Entry, MetricInfo};

const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#008F6B", "#B5588F", "#A97400", "#6A6F76"];
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];
/// Number of entries that get plots besides [`REFERENCES`]: more curves cannot be told apart.
const DRAWN: usize = 22;
/// The floor and the upper bounds, which are drawn whatever their rank.
const REFERENCES: [&str; 3] = ["vanilla", "joint", "joint-multimodal"];

/// Colour and dashes of a series.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Pen {
    /// 0-based index in the palette.
    pub hue: usize,
    /// Colour of lines as CSS writes it, e.g. `#0072B2`.
    pub colour: &'static str,
    /// Dashes of lines, as a value of SVG's `stroke-dasharray`.
    pub dash: &'static str,
}

/// Returns the pen of series `k`.
pub fn pen(series: usize) -> Pen {
    let hue = series % COLOURS.len();
    Pen { hue, colour: COLOURS[hue], dash: DASHES[series / COLOURS.len() % DASHES.len()] }
}

/// Tells whether an entry is the floor or an upper bound.
pub fn reference(entry: &Entry) -> bool {
    REFERENCES.contains(&entry.label.as_str())
}

/// Returns the metrics with a value after each task that some entry has. The class-masked ones are left to `scores.csv`: the
/// methods of mkgc choose among the classes seen anyway.
pub fn metrics(board: &Board) -> Vec<&MetricInfo> {
    let measured = |metric: Metric| {
        let mut stages = board.all().filter_map(|entry| entry.stages.get(&metric));
        stages.any(|stages| stages.iter().any(|estimate| estimate.mean.number().is_some()))
    };
    let shown = |info: &&MetricInfo| match info.metric {
        Metric::Stage(metric) if metric.predictions() == PredictionSet::Masked(Mask::Class) => false,
        Metric::Stage(_) => board.all().next().is_none() || measured(info.metric),
        _ => false,
    };
    board.metrics.iter().filter(shown).collect()
}

/// Returns the indices of the entries that get plots, best first: series `k` is the `k`-th of them.
pub fn drawn(board: &Board) -> Vec<usize> {
    let kept = |(index, entry): &(usize, &Entry)| *index < DRAWN || reference(entry);
    let most = DRAWN + REFERENCES.len();
    board.entries.iter().enumerate().filter(kept).map(|(index, _)| index).take(most).collect()
}
