//! Plots the matrix `R[i][j]` of an entry as a heat map.

use plotters::prelude::*;

use super::canvas::{Area, draw, plain};
use super::svg::line_of;
use crate::error::Result;
use crate::report::board::{Board, Entry};

const CELL: i32 = 36;
const EDGE: (i32, i32) = (44, 30);
/// Opacity of a cell of 100 %, which keeps text readable on light and on dark ground.
const DEEPEST: f64 = 0.6;

/// Draws one row per task learned and one column per task tested. Values are in percent; a dash marks a task that the test
/// has no item of.
pub fn matrix(board: &Board, entry: &Entry) -> Result<String> {
    let side = entry.matrix.len() as i32 * CELL;
    let title = format!("{}, {}: score on task j after learning task i", board.benchmark, entry.label);
    draw((EDGE.0 + side + 2, EDGE.1 + side + 2), &title, |root| paint(root, entry))
}

fn paint(root: &Area<'_>, entry: &Entry) -> Result<()> {
    for (i, row) in entry.matrix.iter().enumerate() {
        let middle = |at: usize| at as i32 * CELL + CELL / 2;
        root.draw(&Text::new(format!("T{}", i + 1), (EDGE.0 / 2, EDGE.1 + middle(i)), plain()))?;
        root.draw(&Text::new(format!("T{}", i + 1), (EDGE.0 + middle(i), EDGE.1 / 2), plain()))?;
        for (j, cell) in row.iter().enumerate() {
            let centre = (EDGE.0 + middle(j), EDGE.1 + middle(i));
            let Some(share) = cell.number() else {
                root.draw(&Text::new("–", centre, plain()))?;
                continue;
            };
            let corner = (EDGE.0 + j as i32 * CELL, EDGE.1 + i as i32 * CELL);
            let cell = [(corner.0 + 1, corner.1 + 1), (corner.0 + CELL, corner.1 + CELL)];
            // Two decimals are enough and keep the file small.
            let opacity = (share.clamp(0.0, 1.0) * DEEPEST * 100.0).round() / 100.0;
            root.draw(&Rectangle::new(cell, line_of(0).mix(opacity.max(0.04)).filled()))?;
            root.draw(&Text::new(format!("{:.0}", share * 100.0), centre, plain()))?;
        }
    }
    Ok(())
}
