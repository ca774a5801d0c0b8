//! The report's CSV files, written from polars frames. `scores.csv` is the frame that [`super::scores`] makes.

use std::borrow::Cow;

use polars::df;
use polars::prelude::{Column, CsvWriter, DataFrame, PlSmallStr, SerWriter};

use super::board::{Absent, Board, ClassRow, Entry, Estimate};
use super::table::Table;
use crate::error::Result;
use crate::escape;

/// One end of one of an estimate's intervals.
type IntervalEnd = fn(&Estimate) -> Option<f64>;

/// The ends of intervals and the endings of the names of their columns.
const INTERVALS: [(&str, IntervalEnd); 4] = [
    ("seeds_low", |estimate| Some(estimate.seed_interval?[0])),
    ("seeds_high", |estimate| Some(estimate.seed_interval?[1])),
    ("rows_low", |estimate| Some(estimate.sampling_interval?[0])),
    ("rows_high", |estimate| Some(estimate.sampling_interval?[1])),
];

/// Makes the frame of a table: for each column the mean, the ends of its intervals if some entry has one, and, for means
/// over classes, tasks or stages, how many entered. Entries with stand-in pictures come last, without a rank.
pub fn table(table: &Table<'_>) -> Result<DataFrame> {
    let entries: Vec<&Entry> = table.all().collect();
    let mut columns = vec![
        Column::new("rank".into(), each(&entries, |entry| entry.rank.map(|rank| rank as u32))),
        Column::new("method".into(), each(&entries, |entry| entry.label.as_str())),
        Column::new("seeds".into(), each(&entries, |entry| entry.seeds.len() as u32)),
    ];
    for column in &table.columns {
        columns.push(Column::new(column.name.as_str().into(), each(&entries, |entry| column.mean(entry))));
        for (ending, end) in INTERVALS {
            let ends = each(&entries, |entry| column.estimate(entry).and_then(end));
            if ends.iter().any(Option::is_some) {
                columns.push(Column::new(format!("{}_{ending}", column.name).into(), ends));
            }
        }
        if table.entered.iter().any(|(name, _)| *name == column.name) {
            let n = each(&entries, |entry| Some(column.estimate(entry)?.entered?.n as u32));
            columns.push(Column::new(format!("{}_n", column.name).into(), n));
        }
    }
    columns.push(Column::new("stand_in".into(), each(&entries, |entry| entry.stand_ins())));
    Ok(DataFrame::new_infer_height(columns)?)
}

/// Makes the frame of the paired tests.
pub fn pairs(board: &Board) -> Result<DataFrame> {
    let label = |entry: usize| board.entries[entry].label.as_str();
    let pairs = &board.comparisons;
    Ok(df!(
        "one" => each(pairs, |pair| label(pair.one)),
        "other" => each(pairs, |pair| label(pair.other)),
        "difference" => each(pairs, |pair| pair.difference),
        "p" => each(pairs, |pair| pair.p),
        "p_holm" => each(pairs, |pair| pair.p_holm),
    )?)
}

/// Makes the frame of the F1 of each class after each task, averaged over the seeds; empty before the class is learned and if
/// the test has no row of it.
pub fn classes(board: &Board) -> Result<DataFrame> {
    let rows: Vec<(&Entry, &ClassRow)> =
        board.all().flat_map(|entry| entry.classes.iter().map(move |class| (entry, class))).collect();
    let mut frame = df!(
        "method" => each(&rows, |(entry, _)| entry.label.as_str()),
        "seeds" => each(&rows, |(entry, _)| entry.seeds.len() as u32),
        "class" => each(&rows, |(_, class)| class.class.as_str()),
        "task" => each(&rows, |(_, class)| class.task as u32 + 1),
        "support" => each(&rows, |(_, class)| class.support as u32),
    )?;
    for stage in 0..board.tasks.len() {
        frame.with_column(Column::new(
            format!("T{}", stage + 1).into(),
            each(&rows, |(_, class)| class.f1[stage].number()),
        ))?;
    }
    frame.with_column(Column::new("stand_in".into(), each(&rows, |(entry, _)| entry.stand_ins())))?;
    Ok(frame)
}

fn each<'a, R, T>(rows: &'a [R], field: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

/// Makes the frame of the runs without a number, of all boards. A run whose benchmark is not known is listed once per
/// board.
pub fn absent(boards: &[Board]) -> Result<DataFrame> {
    let rows: Vec<(&Board, &Absent)> =
        boards.iter().flat_map(|board| board.absent.iter().map(move |run| (board, run))).collect();
    Ok(df!(
        "benchmark" => each(&rows, |(board, _)| board.benchmark.as_str()),
        "method" => each(&rows, |(_, run)| run.label.as_str()),
        "seed" => each(&rows, |(_, run)| run.seed),
        "what" => each(&rows, |(_, run)| run.kind.to_string()),
        "cause" => each(&rows, |(_, run)| run.cause.as_str()),
        "folder" => each(&rows, |(_, run)| run.folder.as_deref()),
        "log" => each(&rows, |(_, run)| run.log.as_deref()),
    )?)
}

/// Returns the bytes of a CSV file. Text that a spreadsheet would compute is marked as text.
pub fn csv(mut frame: DataFrame) -> Result<Vec<u8>> {
    let names: Vec<PlSmallStr> = frame.get_column_names_owned();
    for name in names {
        let column = frame.column(&name)?;
        if let Ok(texts) = column.str()
            && texts.iter().flatten().any(|text| matches!(escape::csv(text), Cow::Owned(_)))
        {
            let texts: Vec<Option<Cow<'_, str>>> = texts.iter().map(|text| text.map(escape::csv)).collect();
            let texts = Column::new(name, texts.iter().map(Option::as_deref).collect::<Vec<_>>());
            frame.with_column(texts)?;
        }
    }
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut frame)?;
    Ok(bytes)
}
