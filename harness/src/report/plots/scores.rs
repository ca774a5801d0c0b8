//! A metric over the stages: a line per entry, named at its end, with 95 % intervals as whiskers.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, FONT, draw, drawn, line_of, plain, short, text, text_of, width};
use crate::error::Result;
use crate::report::board::{Board, Entry, Estimate, MetricInfo};

const SIZE: (i32, i32) = (860, 440);
/// How far, in stages, the whiskers of the first and the last series stand from the stage.
const SPREAD: f64 = 0.14;

/// The interval a plot shows: over seeds, else over test instances.
pub fn interval(estimate: &Estimate) -> Option<[f64; 2]> {
    estimate.seed_interval.or(estimate.sampling_interval)
}

struct Series {
    number: usize,
    label: String,
    /// Stage (moved a little), percent, interval in percent.
    points: Vec<(f64, f64, Option<[f64; 2]>)>,
}

/// One metric of a board over its stages, in percent; `None` if no entry has two stages of it.
pub fn scores(board: &Board, metric: &MetricInfo) -> Result<Option<String>> {
    let stages = board.tasks.len();
    let entries = drawn(board);
    let count = entries.len();
    let series: Vec<Series> = entries
        .into_iter()
        .enumerate()
        .map(|(number, at)| series(&board.entries[at], &metric.name, number, count))
        .filter(|series| !series.points.is_empty())
        .collect();
    if stages < 2 || series.is_empty() {
        return Ok(None);
    }
    let title = format!("{}: {} after each of {stages} tasks, {} entries", board.benchmark, metric.title, series.len());
    draw(SIZE, &title, |root| paint(root, &series, stages)).map(Some)
}

fn series(entry: &Entry, metric: &str, number: usize, count: usize) -> Series {
    let estimates = entry.stages.get(metric).map_or(&[][..], Vec::as_slice);
    // Whiskers of neighbours would hide each other.
    let whiskers = estimates.iter().any(|estimate| interval(estimate).is_some());
    let shift = if whiskers { SPREAD * (2.0 * (number as f64 + 0.5) / count as f64 - 1.0) } else { 0.0 };
    let point = |(stage, estimate): (usize, &Estimate)| {
        let percent = |share: f64| share * 100.0;
        let x = (stage + 1) as f64 + shift;
        Some((x, percent(estimate.mean.number()?), interval(estimate).map(|ends| ends.map(percent))))
    };
    let points = estimates.iter().enumerate().filter_map(point).collect();
    Series { number, label: short(&entry.label), points }
}

fn paint(root: &Area<'_>, series: &[Series], stages: usize) -> Result<()> {
    let names = series.iter().map(|series| width(&series.label)).max().unwrap_or(0);
    let ends = |point: &(f64, f64, Option<[f64; 2]>)| point.2.map_or(point.1, |ends| ends[1]);
    let most = series.iter().flat_map(|series| &series.points).map(ends).fold(10.0, f64::max);
    let x = 1.0 - 1.5 * SPREAD..stages as f64 + 1.5 * SPREAD;
    let mut chart = ChartBuilder::on(root)
        .margin_top(10)
        .margin_right(names + 26)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(x, 0.0..(most / 10.0).ceil() * 10.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.4))
        .label_style(plain())
        .x_labels(0)
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .draw()?;
    for stage in 1..=stages {
        let (x, y) = chart.backend_coord(&(stage as f64, 0.0));
        root.draw(&Text::new(format!("T{stage}"), (x, y + 16), plain()))?;
    }
    let mut ends = Vec::new();
    for Series { number, points, .. } in series {
        let colour = line_of(*number);
        chart.draw_series(LineSeries::new(points.iter().map(|(x, y, _)| (*x, *y)), colour.stroke_width(2)))?;
        for (x, y, interval) in points {
            chart.draw_series([Circle::new((*x, *y), 3, colour.filled())])?;
            if let Some([low, high]) = interval {
                chart.draw_series([PathElement::new([(*x, *low), (*x, *high)], colour.mix(0.6))])?;
            }
        }
        ends.extend(points.last().map(|(x, y, _)| chart.backend_coord(&(*x, *y))));
    }
    names_at_ends(root, series, &ends)
}

/// Names in a column right of the lines, in the order of their ends, moved apart where they would overlap.
fn names_at_ends(root: &Area<'_>, series: &[Series], ends: &[(i32, i32)]) -> Result<()> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by_key(|&at| ends[at].1);
    let mut heights: Vec<i32> = order.iter().map(|&at| ends[at].1).collect();
    apart(&mut heights, FONT + 2, SIZE.1 - 34);
    let left = ends.iter().map(|end| end.0).max().unwrap_or(0) + 18;
    for (&at, &y) in order.iter().zip(&heights) {
        let (number, end) = (series[at].number, ends[at]);
        root.draw(&PathElement::new([(end.0 + 4, end.1), (left - 3, y)], line_of(number).mix(0.6)))?;
        let style = text(text_of(number), HPos::Left, VPos::Center);
        root.draw(&Text::new(series[at].label.clone(), (left, y), style))?;
    }
    Ok(())
}

/// Moves ascending heights apart to `gap` at least: the mean of moving them down and of moving them up, then up again
/// from `bottom`.
fn apart(heights: &mut [i32], gap: i32, bottom: i32) {
    let down = heights.iter().scan(i32::MIN, |least, &height| {
        let moved = height.max(*least);
        *least = moved + gap;
        Some(moved)
    });
    let down: Vec<i32> = down.collect();
    up(heights, gap, i32::MAX);
    for (height, down) in heights.iter_mut().zip(down) {
        *height = (*height + down).div_euclid(2);
    }
    up(heights, gap, bottom);
}

fn up(heights: &mut [i32], gap: i32, bottom: i32) {
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(most);
        most = *height - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn names_do_not_overlap() {
        let mut heights = [10, 11, 50, 98, 99];
        apart(&mut heights, 10, 100);
        assert_eq!(heights, [5, 15, 50, 90, 100]);
    }
}
