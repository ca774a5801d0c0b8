//! Test rows in an order and under ids that tell nothing of their labels.
//!
//! The order of a benchmark does: it has rows without a relation last, may have rows task by task, and follows the files of
//! the corpus, which may list class after class, as FewRel's do. So do its ids, which number the rows of a file.

use mkgc_builder::dataset::Row;
use mkgc_builder::files::sha256_hex;

use crate::run::predictions::PredictionRow;

/// Number of hexadecimal digits in an id.
const DIGITS: usize = 16;

/// Test rows as a method sees them: in the order of their hashes, which are their ids.
#[derive(Debug)]
pub struct HiddenRows {
    shown: Vec<Row>,
    /// For each shown row its index in the benchmark, and its id there.
    places: Vec<(usize, String)>,
}

impl HiddenRows {
    /// Hides rows that are in the order of the benchmark. A row has the same id after every task.
    pub fn new(rows: Vec<Row>, fingerprint: &str) -> Self {
        let hide = |(index, row): (usize, Row)| {
            let digest = sha256_hex(format!("{fingerprint} {}", row.id).as_bytes());
            let id = format!("test-{}", &digest[..DIGITS]);
            let own = row.id.clone();
            (Row { id, ..row }, (index, own))
        };
        let mut rows: Vec<_> = rows.into_iter().enumerate().map(hide).collect();
        rows.sort_by(|(row, _), (other, _)| row.id.cmp(&other.id));
        let (shown, places) = rows.into_iter().unzip();
        Self { shown, places }
    }

    /// Returns the rows as a method sees them.
    pub fn shown(&self) -> &[Row] {
        &self.shown
    }

    /// Returns predictions of all shown rows, in their order, under the ids and in the order of the benchmark, by which
    /// reports compare runs.
    pub fn uncover(&self, predictions: Vec<PredictionRow>) -> Vec<PredictionRow> {
        let own =
            |(row, (index, id)): (PredictionRow, &(usize, String))| (*index, PredictionRow { id: id.clone(), ..row });
        let mut rows: Vec<_> = predictions.into_iter().zip(&self.places).map(own).collect();
        rows.sort_by_key(|(index, _)| *index);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use mkgc_builder::dataset::RowLabels;

    use super::*;

    fn row(id: &str) -> Row {
        let labels = RowLabels::Entities { tags: vec![0], original: vec![0] };
        Row { id: id.to_owned(), tokens: vec![id.to_owned()], labels, image_id: None, crops: vec![], owner_task: None }
    }

    #[test]
    fn rows_are_shown_in_another_order_and_their_predictions_come_back_in_the_first_one() {
        let ids: Vec<String> = (0..100).map(|n| format!("test-{n:06}")).collect();
        let rows = |count: usize| ids[..count].iter().map(|id| row(id)).collect::<Vec<_>>();
        let hidden = HiddenRows::new(rows(100), "fingerprint");
        let words: Vec<&str> = hidden.shown().iter().map(|row| row.tokens[0].as_str()).collect();
        // Of neighbours in the file, about half are in either order, and few are neighbours still.
        let place = |id: &String| words.iter().position(|word| word == id).unwrap();
        let places: Vec<usize> = ids.iter().map(place).collect();
        let rising = places.windows(2).filter(|pair| pair[0] < pair[1]).count();
        let beside = places.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!((30..70).contains(&rising) && beside < 10, "{places:?}");
        assert!(hidden.shown().iter().all(|row| !ids.contains(&row.id)));
        let predicted = |row: &Row| PredictionRow { id: row.id.clone(), ..PredictionRow::default() };
        let uncovered = hidden.uncover(hidden.shown().iter().map(predicted).collect());
        assert!(uncovered.iter().map(|row| &row.id).eq(&ids));
        // The same row has the same id when more rows are there.
        let before = HiddenRows::new(rows(50), "fingerprint");
        assert!(before.shown().iter().all(|row| hidden.shown().contains(row)));
        assert!(HiddenRows::new(rows(50), "another").shown().iter().all(|row| !hidden.shown().contains(row)));
    }
}
