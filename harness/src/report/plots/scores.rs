//! Plots a metric over the tasks: a line per entry, named at its end, with 95 % intervals as whiskers.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, draw, plain, short, text, width};
use super::series::drawn;
use super::svg::{FONT, line_of, text_of};
use crate::console::counted;
use crate::error::Result;
use crate::metrics::Metric;
use crate::report::board::{Board, Entry, Estimate, MetricInfo};

const SIZE: (i32, i32) = (860, 440);
/// Distance between the whiskers of the outer series and the task they belong to, as a share of that between tasks.
const SPREAD: f64 = 0.14;

/// Returns the interval that a plot shows: that over seeds if there is one, else that over test instances.
pub fn interval(estimate: &Estimate) -> Option<[f64; 2]> {
    estimate.seed_interval.or(estimate.sampling_interval)
}

struct ScoreLine {
    /// 0-based number of the series, which decides the colour of the line.
    number: usize,
    label: String,
    points: Vec<Point>,
}

/// A point of a line.
struct Point {
    /// Number of tasks learned, moved a little so that whiskers of neighbours do not hide each other.
    x: f64,
    /// Mean score over the seeds, in percent.
    y: f64,
    /// Ends of the 95 % interval in percent, if there is one.
    interval: Option<[f64; 2]>,
}

/// Draws one metric of a board over the tasks, in percent, or returns `None` if there is nothing to connect.
pub fn scores(board: &Board, metric: &MetricInfo) -> Result<Option<String>> {
    let stages = board.tasks.len();
    let entries = drawn(board);
    let count = entries.len();
    let lines: Vec<ScoreLine> = entries
        .into_iter()
        .enumerate()
        .map(|(number, index)| line(&board.entries[index], metric.metric, number, count))
        .filter(|line| !line.points.is_empty())
        .collect();
    if stages < 2 || lines.is_empty() {
        return Ok(None);
    }
    let title =
        format!("{}: {} after each of {stages} tasks, {}", board.benchmark, metric.title, counted(lines.len(), "line"));
    draw(SIZE, &title, |root| paint(root, &lines, stages)).map(Some)
}

fn line(entry: &Entry, metric: Metric, number: usize, count: usize) -> ScoreLine {
    let estimates = entry.stages.get(&metric).map_or(&[][..], Vec::as_slice);
    let whiskers = estimates.iter().any(|estimate| interval(estimate).is_some());
    let shift = if whiskers { SPREAD * (2.0 * (number as f64 + 0.5) / count as f64 - 1.0) } else { 0.0 };
    let point = |(stage, estimate): (usize, &Estimate)| {
        let percent = |share: f64| share * 100.0;
        Some(Point {
            x: (stage + 1) as f64 + shift,
            y: percent(estimate.mean.number()?),
            interval: interval(estimate).map(|ends| ends.map(percent)),
        })
    };
    let points = estimates.iter().enumerate().filter_map(point).collect();
    ScoreLine { number, label: short(&entry.label), points }
}

fn paint(root: &Area<'_>, lines: &[ScoreLine], stages: usize) -> Result<()> {
    let names = lines.iter().map(|line| width(&line.label)).max().unwrap_or(0);
    let top = |point: &Point| point.interval.map_or(point.y, |[_, high]| high);
    let most = lines.iter().flat_map(|line| &line.points).map(top).fold(10.0, f64::max);
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
    for ScoreLine { number, points, .. } in lines {
        let colour = line_of(*number);
        chart.draw_series(LineSeries::new(points.iter().map(|point| (point.x, point.y)), colour.stroke_width(2)))?;
        for Point { x, y, interval } in points {
            chart.draw_series([Circle::new((*x, *y), 3, colour.filled())])?;
            if let Some([low, high]) = interval {
                chart.draw_series([PathElement::new([(*x, *low), (*x, *high)], colour.mix(0.6))])?;
            }
        }
        ends.extend(points.last().map(|point| chart.backend_coord(&(point.x, point.y))));
    }
    names_at_ends(root, lines, &ends)
}

/// Writes the names in a column right of the lines, in the order of the lines' ends, moved apart where they would overlap.
fn names_at_ends(root: &Area<'_>, lines: &[ScoreLine], ends: &[(i32, i32)]) -> Result<()> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|&index| ends[index].1);
    let mut heights: Vec<i32> = order.iter().map(|&index| ends[index].1).collect();
    apart(&mut heights, FONT + 2, SIZE.1 - 34);
    let left = ends.iter().map(|end| end.0).max().unwrap_or(0) + 18;
    for (&index, &y) in order.iter().zip(&heights) {
        let ScoreLine { number, label, .. } = &lines[index];
        let end = ends[index];
        root.draw(&PathElement::new([(end.0 + 4, end.1), (left - 3, y)], line_of(*number).mix(0.6)))?;
        let style = text(text_of(*number), HPos::Left, VPos::Center);
        root.draw(&Text::new(label.clone(), (left, y), style))?;
    }
    Ok(())
}

/// Moves ascending heights at least `gap` apart: takes the mean of moving them down and of moving them up, then moves them
/// up from `bottom`.
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

/// Moves ascending heights up until each is at least `gap` above the next and none is below `bottom`.
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
