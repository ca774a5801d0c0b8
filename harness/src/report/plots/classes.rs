//! Plots what an entry forgets of each class: its best F1 before the last task (ring) and its F1 after it (dot).

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, draw, plain, short, text, width};
use super::svg::line_of;
use crate::error::Result;
use crate::metrics::value::Value;
use crate::report::board::{Board, ClassRow, Entry};

const ROW: i32 = 19;
const TOP: i32 = 24;
const BARS: i32 = 260;

/// Returns the best F1 of a class before the last task and its F1 after it.
fn best_and_last(class: &ClassRow) -> (Option<f64>, Option<f64>) {
    let (last, before) = class.f1.split_last().map_or((None, &[][..]), |(last, before)| (last.number(), before));
    (before.iter().filter_map(Value::number).reduce(f64::max), last)
}

/// Returns the best F1 of a class before the last task minus its F1 after it, or `None` for classes of the last task.
pub fn lost(class: &ClassRow) -> Option<f64> {
    let (best, last) = best_and_last(class);
    Some(best? - last?)
}

/// Draws one row per class, in the order of the tasks.
pub fn classes(board: &Board, entry: &Entry) -> Result<String> {
    let names: Vec<String> = entry.classes.iter().map(name).collect();
    let left = names.iter().map(|name| width(name)).max().unwrap_or(0) + 8;
    let size = (left + BARS + 14, TOP + ROW * names.len() as i32 + 6);
    let title =
        format!("{}, {}: F1 of each class, best before the last task and after it", board.benchmark, entry.label);
    draw(size, &title, |root| paint(root, entry, &names, left))
}

fn name(class: &ClassRow) -> String {
    format!("T{} {} ({})", class.task + 1, short(&class.class), class.support)
}

fn paint(root: &Area<'_>, entry: &Entry, names: &[String], left: i32) -> Result<()> {
    let x = |share: f64| left + (share * f64::from(BARS)).round() as i32;
    let bottom = TOP + ROW * names.len() as i32;
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        root.draw(&PathElement::new([(x(share), TOP - 4), (x(share), bottom)], BLACK.mix(0.12)))?;
        root.draw(&Text::new(format!("{}", quarter * 25), (x(share), TOP / 2 - 2), plain()))?;
    }
    for (index, (class, name)) in entry.classes.iter().zip(names).enumerate() {
        let y = TOP + ROW * index as i32 + ROW / 2;
        root.draw(&Text::new(name.clone(), (left - 8, y), text(BLACK, HPos::Right, VPos::Center)))?;
        let (best, last) = best_and_last(class);
        if let Some((best, last)) = best.zip(last) {
            root.draw(&PathElement::new([(x(best), y), (x(last), y)], line_of(0).mix(0.5).stroke_width(2)))?;
        }
        if let Some(best) = best {
            root.draw(&Circle::new((x(best), y), 4, line_of(0).stroke_width(2)))?;
        }
        if let Some(last) = last {
            root.draw(&Circle::new((x(last), y), 4, line_of(0).filled()))?;
        }
    }
    Ok(())
}
