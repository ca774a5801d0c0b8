//! Parquet, whose columns may have any type that holds text, numbers or lists of them.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use mkgc_builder::guarded::{Guarded, guarded};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::cell::Cell;
use super::columns::{self, Cells};
use super::rows::Collector;
use crate::error::Result;
use crate::external::problems::RowPlace;

/// What is wrong with a file that cannot be read: mkgc is built with these codecs alone.
const UNREADABLE: &str = "is not Parquet, is damaged, or is compressed otherwise; write Parquet compressed with snappy or zstd, or not at all";

/// Collects the rows of a file.
///
/// # Errors
/// The file cannot be opened.
pub fn read(path: &Path, rows: &mut Collector<'_>) -> Result<()> {
    let file = fs_err::File::open(path)?.into_parts().0;
    let open = || ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let Some(Ok(reader)) = guarded(open) else {
        rows.unreadable(UNREADABLE);
        return Ok(());
    };
    let schema = reader.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if let Err(reason) = columns::check(&names, rows.stage_given()) {
        rows.unreadable(&reason);
        return Ok(());
    }
    let mut first = 1;
    for batch in Guarded::new(reader) {
        let Some(Ok(batch)) = batch else {
            rows.unreadable(UNREADABLE);
            return Ok(());
        };
        add(&batch, first, rows);
        first += batch.num_rows();
    }
    Ok(())
}

/// Adds the rows of a batch, of which `first` is the number of the first in the file.
fn add(batch: &RecordBatch, first: usize, rows: &mut Collector<'_>) {
    let simple = |name: &str| batch.column_by_name(name).and_then(simplified);
    let columns = ["stage", "id", "prediction", "scores"].map(|name| (name, simple(name)));
    let column = |name: &str| columns.iter().find(|(known, _)| *known == name).and_then(|(_, column)| column.as_ref());
    // A column of another type is there, but none of its cells can be read.
    let absent = |name: &str| if batch.column_by_name(name).is_some() { Cell::Other } else { Cell::Missing };
    for row in 0..batch.num_rows() {
        let cells = Cells::new(|name| column(name).map_or_else(|| absent(name), |column| cell(column, row)));
        rows.add(RowPlace::Row(first + row), &cells);
    }
}

/// Casts a column to text, numbers or lists of them, because writers choose different widths, text types and dictionaries;
/// `None` if it holds something else.
fn simplified(column: &ArrayRef) -> Option<ArrayRef> {
    cast(column, &simple_type(column.data_type())?).ok()
}

fn simple_type(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Null
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => simple_type(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(DataType::List(Field::new_list_field(simple_type(item.data_type())?, true).into()))
        }
        _ => of.is_numeric().then_some(DataType::Float64),
    }
}

/// Returns a cell of a simplified column.
fn cell(column: &dyn Array, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Missing;
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Cell::text(texts.value(row));
    }
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return Cell::number(numbers.value(row));
    }
    let Some(lists) = column.as_list_opt::<i32>() else { return Cell::Other };
    let items = lists.value(row);
    Cell::List((0..items.len()).map(|item| cell(&items, item)).collect())
}
