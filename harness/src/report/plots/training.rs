//! Plots the training loss of an entry's runs over the batches of all tasks.

use std::ops::Range;

use plotters::prelude::*;

use super::canvas::{Area, draw, plain};
use super::svg::line_of;
use crate::error::Result;
use crate::report::board::{Board, Entry};
use crate::run::log::Line;

const SIZE: (i32, i32) = (430, 260);
/// Largest number of points of a curve; longer ones show means of neighbours.
const POINTS: usize = 240;

/// The points of a run by task: the batch, counted over all tasks, and the value.
pub(super) type Curve = Vec<Vec<(f64, f64)>>;

/// Draws one curve per run, broken where a task begins, or returns `None` if no run has a log.
pub fn training(board: &Board, entry: &Entry) -> Result<Option<String>> {
    let loss = |line: &Line| vec![(line.step, line.loss)];
    let curves: Vec<Curve> = entry.runs.iter().map(|run| curve(&run.curve, loss)).collect();
    let most = curves.iter().flatten().flatten().map(|point| point.1).fold(0.0, f64::max);
    let title = |end: f64| format!("{}, {}: training loss over {end:.0} batches", board.benchmark, entry.label);
    plot(&curves, 0.0..most.max(1e-9) * 1.05, None, title)
}

/// Makes the curve of a log, whose steps start again with each task.
pub(super) fn curve(lines: &[Line], values: impl Fn(&Line) -> Vec<(usize, f64)>) -> Curve {
    let mut before = 0;
    let count: usize = lines.iter().map(|line| values(line).len()).sum();
    let group = count.div_ceil(POINTS).max(1);
    let task = |lines: &[Line]| {
        let start = before;
        before += lines.last().map_or(0, |line| line.step);
        let points: Vec<(usize, f64)> = lines.iter().flat_map(&values).collect();
        let mean = |points: &[(usize, f64)]| {
            let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
            ((start + points[points.len() - 1].0) as f64, mean)
        };
        points.chunks(group).map(mean).collect()
    };
    lines.chunk_by(|one, other| one.stage == other.stage).map(task).collect()
}

/// Writes a height at the axis.
pub(super) type AxisLabel<'a> = &'a dyn Fn(&f64) -> String;

/// Draws curves over a range of heights, which `label` writes if it is given. `title` is called with the last batch. Returns
/// `None` if there is no point.
pub(super) fn plot(
    curves: &[Curve],
    heights: Range<f64>,
    label: Option<AxisLabel<'_>>,
    title: impl Fn(f64) -> String,
) -> Result<Option<String>> {
    let end = curves.iter().flatten().flatten().map(|point| point.0).fold(0.0, f64::max);
    if end == 0.0 || !(heights.start.is_finite() && heights.end.is_finite()) {
        return Ok(None);
    }
    draw(SIZE, &title(end), |root| paint(root, curves, (end, heights), label)).map(Some)
}

fn paint(
    root: &Area<'_>,
    curves: &[Curve],
    (end, heights): (f64, Range<f64>),
    label: Option<AxisLabel<'_>>,
) -> Result<()> {
    let mut chart = ChartBuilder::on(root)
        .margin_top(10)
        .margin_right(14)
        .x_label_area_size(30)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..end, heights.clone())?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.4))
        .label_style(plain())
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"));
    if let Some(label) = label {
        mesh.y_label_formatter(label);
    }
    mesh.draw()?;
    let ends = curves.first().into_iter().flatten().filter_map(|task| task.last());
    for &(x, _) in ends {
        chart.draw_series([PathElement::new([(x, heights.start), (x, heights.end)], BLACK.mix(0.12))])?;
    }
    let opacity = if curves.len() > 1 { 0.6 } else { 1.0 };
    for task in curves.iter().flatten() {
        chart.draw_series(LineSeries::new(task.iter().copied(), line_of(0).mix(opacity).stroke_width(2)))?;
        if let [point] = task[..] {
            chart.draw_series([Circle::new(point, 2, line_of(0).mix(opacity).filled())])?;
        }
    }
    Ok(())
}
