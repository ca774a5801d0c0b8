//! Which row's pictures each row is shown instead of its own, as a control (`visual = "shuffled"`).
//!
//! Within each split, rows are put in an order drawn from `train_seed`, those of one picture side by side, and every row
//! is shown what the row m places further shows, m being the rows of the most frequent picture. That is a permutation of
//! the rows in which none keeps its picture. Where more than half of the rows have the same picture there is no such
//! permutation; the rows of that picture that would meet it again are then shown those of the others in turn. A row whose
//! split has one picture keeps it.

use std::collections::BTreeMap;

use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::Row;
use rand::seq::SliceRandom;

use crate::seed;

/// Maps each row id to the id of the row whose pictures it is shown.
pub(super) fn sources(rows: &[(Split, Row)], train_seed: u64) -> BTreeMap<String, String> {
    let of_split = |(stage, split): (usize, Split)| {
        let rows = rows.iter().filter(move |(own, _)| *own == split);
        permuted(rows.map(|(_, row)| (row.image_id.as_deref().unwrap_or_default(), row.id.as_str())), train_seed, stage)
    };
    Split::ALL.into_iter().enumerate().flat_map(of_split).collect()
}

/// Permutes the rows of one split, given as picture and row.
fn permuted<'a>(
    rows: impl Iterator<Item = (&'a str, &'a str)>,
    train_seed: u64,
    stage: usize,
) -> Vec<(String, String)> {
    let mut rng = seed::generator(train_seed, "visual", stage);
    let mut by_picture: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (picture, row) in rows {
        by_picture.entry(picture).or_default().push((picture, row));
    }
    let mut groups: Vec<Vec<(&str, &str)>> = by_picture.into_values().collect();
    groups.shuffle(&mut rng);
    groups.iter_mut().for_each(|rows| rows.shuffle(&mut rng));
    let largest = groups.iter().max_by_key(|rows| rows.len()).cloned().unwrap_or_default();
    let order = groups.concat();
    let others: Vec<_> = order.iter().filter(|(picture, _)| *picture != largest[0].0).collect();
    let source = |at: usize| match order[(at + largest.len()) % order.len()] {
        (picture, _) if picture == order[at].0 && !others.is_empty() => others[at % others.len()].1,
        (_, row) => row,
    };
    (0..order.len()).map(|at| (order[at].1.to_owned(), source(at).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Pictures of rows by their ids, and the source of each.
    fn shown(pictures: &'static [&'static str], seed: u64) -> Vec<(&'static str, String, String)> {
        let ids: Vec<String> = (0..pictures.len()).map(|row| row.to_string()).collect();
        let rows = pictures.iter().zip(&ids).map(|(picture, id)| (*picture, id.as_str()));
        let picture = |id: &str| pictures[id.parse::<usize>().unwrap_or_default()];
        permuted(rows, seed, 0).into_iter().map(|(row, source)| (picture(&row), row, source)).collect()
    }

    const MANY: &[&str] = &["a", "b", "b", "c", "d", "d", "d", "e", "f", "f"];

    #[test]
    fn no_row_keeps_its_picture_and_every_row_is_shown_once() {
        for seed in 0..20 {
            let shown = shown(MANY, seed);
            for (picture, row, source) in &shown {
                assert_ne!(*picture, MANY[source.parse::<usize>().unwrap_or_default()], "row {row}, seed {seed}");
            }
            assert_eq!(shown.iter().map(|(_, _, source)| source).collect::<BTreeSet<_>>().len(), MANY.len());
        }
        assert_eq!(shown(MANY, 1), shown(MANY, 1));
        assert_ne!(shown(MANY, 1), shown(MANY, 2));
    }

    #[test]
    fn a_picture_of_most_rows_is_met_by_none_of_them() {
        const MOST: &[&str] = &["a", "a", "a", "a", "b", "c"];
        for (picture, _, source) in shown(MOST, 3) {
            assert_ne!(picture, MOST[source.parse::<usize>().unwrap_or_default()]);
        }
        assert!(shown(&["a", "a", "a"], 3).into_iter().all(|(_, _, source)| source.len() == 1));
        assert!(shown(&[], 3).is_empty());
    }
}
