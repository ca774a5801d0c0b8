//! The training loss of an entry's runs over the optimiser steps of the whole stream.

use plotters::prelude::*;

use super::{Area, draw, line_of, plain};
use crate::error::Result;
use crate::report::board::{Board, Entry};
use crate::run::log::Line;

const SIZE: (i32, i32) = (430, 260);
/// Most points of a curve; longer ones show means of neighbours.
const POINTS: usize = 240;

/// A curve per run, broken where a task begins; `None` if no run has a log.
pub fn training(board: &Board, entry: &Entry) -> Result<Option<String>> {
    let curves: Vec<Vec<Vec<(f64, f64)>>> = entry.runs.iter().map(|run| curve(&run.curve)).collect();
    let points = || curves.iter().flatten().flatten();
    let end = points().map(|point| point.0).fold(0.0, f64::max);
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    if end == 0.0 || !most.is_finite() {
        return Ok(None);
    }
    let title = format!("{}, {}: training loss over {end:.0} batches", board.benchmark, entry.label);
    draw(SIZE, &title, |root| paint(root, &curves, (end, most.max(1e-9) * 1.05))).map(Some)
}

/// Batch of the whole stream and loss, by task. Steps of the log begin anew with each task.
fn curve(lines: &[Line]) -> Vec<Vec<(f64, f64)>> {
    let mut before = 0;
    let group = lines.len().div_ceil(POINTS).max(1);
    let task = |lines: &[Line]| {
        let start = before;
        before += lines.last().map_or(0, |line| line.step);
        let mean = |lines: &[Line]| {
            let loss = lines.iter().map(|line| line.loss).sum::<f64>() / lines.len() as f64;
            ((start + lines[lines.len() - 1].step) as f64, loss)
        };
        lines.chunks(group).map(mean).collect()
    };
    lines.chunk_by(|one, other| one.stage == other.stage).map(task).collect()
}

fn paint(root: &Area<'_>, curves: &[Vec<Vec<(f64, f64)>>], most: (f64, f64)) -> Result<()> {
    let mut chart = ChartBuilder::on(root)
        .margin_top(10)
        .margin_right(14)
        .x_label_area_size(30)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..most.0, 0.0..most.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.4))
        .label_style(plain())
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    let ends = curves.first().into_iter().flatten().filter_map(|task| task.last());
    for &(x, _) in ends {
        chart.draw_series([PathElement::new([(x, 0.0), (x, most.1)], BLACK.mix(0.12))])?;
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
