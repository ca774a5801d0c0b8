//! CSV: a heading, commas, and fields in quotes where they hold commas, quotes or line breaks. A field holds several labels
//! or scores separated by spaces, or a list as Python or NumPy prints it.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::cell::Cell;
use super::columns::{self, Cells};
use super::rows::Collector;
use crate::external::problems::RowPlace;

/// Collects the rows of a text.
pub fn read(text: &str, rows: &mut Collector<'_>) {
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let mut records = reader.records();
    // The text is UTF-8 and in memory, and rows may have any number of fields, so that every record can be read.
    let Some(Ok(heading)) = records.next() else { return };
    let names: Vec<&str> = heading.iter().collect();
    if let Err(reason) = columns::check(&names, rows.stage_given()) {
        let reason = separator(&names).unwrap_or_else(|| format!("{reason}; the first line must be the heading"));
        return rows.unreadable(&reason);
    }
    let mut lines = Lines { text, at: 0, line: 1 };
    for record in records.flatten() {
        let place = RowPlace::Line(lines.of(&record));
        if record.len() == names.len() {
            let at = |name: &str| names.iter().position(|known| *known == name);
            rows.add(place, &Cells::new(|name| at(name).map_or(Cell::Missing, |at| Cell::text(&record[at]))));
        } else {
            let kind =
                "rows with another number of fields than the heading (put a field that holds commas into quotes)";
            rows.damaged(place, kind, &format!("{} for {}", record.len(), names.len()));
        }
    }
}

/// Returns the remedy if the heading is separated by something else than commas.
fn separator(names: &[&str]) -> Option<String> {
    let [heading] = names else { return None };
    let (sign, name) =
        [(';', "`;`"), ('\t', "tabs"), ('|', "`|`")].into_iter().find(|(sign, _)| heading.contains(*sign))?;
    let columns = heading.matches(sign).count() + 1;
    Some(format!("its {columns} columns are separated by {name}; separate them by commas (in pandas: `sep=\",\"`)"))
}

/// Counts lines up to the beginning of a record.
struct Lines<'a> {
    text: &'a str,
    /// Byte up to which lines are counted.
    at: usize,
    /// Line of this byte, from 1.
    line: usize,
}

impl Lines<'_> {
    /// Returns the line on which a record begins. Its position is that after the record before, from which its own may be
    /// separated by the end of the line and by blank lines.
    fn of(&mut self, record: &StringRecord) -> usize {
        let after = record.position().map_or(self.at, |position| position.byte() as usize);
        let blank = self.text[after..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += self.text[self.at..after + blank].matches('\n').count();
        self.at = after + blank;
        self.line
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn records_begin_on_the_lines_that_an_editor_shows() {
        let lines = |text: &str| {
            let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let mut lines = Lines { text, at: 0, line: 1 };
            reader.records().map(|record| lines.of(&record.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(lines("a,b\n1,2\n\n3,4\n\"5\n6\",7\n8,9"), [1, 2, 4, 5, 7]);
        assert_eq!(lines("a,b\r\n1,2\r\n\r\n3,4\r\n"), [1, 2, 4]);
        assert_eq!(lines("\n\na,b\n1,2"), [3, 4]);
    }

    #[test]
    fn other_separators_are_named() {
        assert!(
            separator(&["id;prediction"]).unwrap().starts_with("its 2 columns are separated by `;`; separate them by")
        );
        assert!(separator(&["stage\tid\tprediction"]).unwrap().contains("its 3 columns are separated by tabs"));
        assert_eq!(separator(&["id"]), None);
        assert_eq!(separator(&["id", "a;b"]), None);
    }
}
