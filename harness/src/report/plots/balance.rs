//! Plots ρ of the two streams over the batches of all tasks, on a logarithmic scale. Above 1 the vision stream contributes
//! more to the scores of the gold labels than the text stream does.

use super::training::{Curve, curve, plot};
use crate::error::Result;
use crate::methods::RHO;
use crate::report::board::{Board, Entry};
use crate::run::log::Line;

/// Draws one curve per run, broken where a task begins, or returns `None` if no run has logged ρ. Neighbours are averaged
/// geometrically.
pub fn balance(board: &Board, entry: &Entry) -> Result<Option<String>> {
    let ratio = |line: &Line| {
        let values = line.scalars.get(RHO).map_or(&[][..], Vec::as_slice);
        values.iter().filter(|(_, ratio)| *ratio > 0.0).map(|(step, ratio)| (*step, f64::from(*ratio).log2())).collect()
    };
    let curves: Vec<Curve> = entry.runs.iter().map(|run| curve(&run.curve, ratio)).collect();
    let logarithms = || curves.iter().flatten().flatten().map(|point| point.1);
    // The range always includes 1, where the streams are level.
    let low = logarithms().fold(-1.0, f64::min).floor();
    let high = logarithms().fold(1.0, f64::max).ceil();
    let label = |logarithm: &f64| format!("{}", (logarithm.exp2() * 100.0).round() / 100.0);
    let title = |end: f64| format!("{}, {}: ρ over {end:.0} batches", board.benchmark, entry.label);
    plot(&curves, low..high, Some(&label), title)
}
