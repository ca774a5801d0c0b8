//! Recomputes predictions from the stored class scores with some classes masked out.

use mkgc_builder::corpus::Extraction;

use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;

/// The labels among which the highest score wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// `None` and the relations of all tasks learned so far. The methods of mkgc choose among these anyway, but
    /// predictions from elsewhere may name relations that were not seen yet.
    Class,
    /// `None` and the relations of the task that owns the row, as if the task were known at test time: task-incremental
    /// learning (van de Ven et al. 2022). Rows that no task owns choose among all labels seen.
    Task,
}

impl Mask {
    /// Both masks, in the order of tables.
    pub const ALL: [Self; 2] = [Self::Class, Self::Task];
}

/// Returns the predicted label id of each relation row after learning tasks `0..=stage`, or why there are none.
pub fn predict(
    mask: Mask,
    dataset: &DatasetRecord,
    stage: usize,
    rows: &[PredictionRow],
) -> Result<Vec<u32>, &'static str> {
    if dataset.task == Extraction::Entities {
        return Err("tags are decided sentence by sentence, so that no class scores are stored");
    }
    let labels = dataset.label_set();
    let owners: Vec<Option<usize>> = (0..labels.names().len()).map(|id| labels.task(id)).collect();
    let allowed = |label: usize, row: &PredictionRow| match owners[label] {
        None => label == 0,
        Some(owner) => owner <= stage && (mask == Mask::Class || row.owner.is_none_or(|own| own == owner)),
    };
    let best = |row: &PredictionRow| {
        let candidates = (0..owners.len()).filter(|label| allowed(*label, row));
        candidates.reduce(|best, label| if row.scores[label] > row.scores[best] { label } else { best })
    };
    let scored = rows.iter().filter(|row| row.scores.len() == owners.len()).count();
    if scored < rows.len() {
        let all = scored == 0;
        return Err(if all { "the predictions hold no class scores" } else { "some rows hold no class scores" });
    }
    Ok(rows.iter().map(|row| best(row).unwrap_or(0) as u32).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::example::relations;

    fn row(owner: Option<usize>, scores: [f32; 4]) -> PredictionRow {
        PredictionRow { owner, gold: vec![1], predicted: vec![3], scores: scores.to_vec(), ..PredictionRow::default() }
    }

    #[test]
    fn masks_leave_the_labels_they_should() {
        // Labels: None, a (task 0), b (task 1), c (task 2, not seen yet).
        let dataset = relations();
        let rows =
            [row(Some(0), [0.1, 0.2, 0.3, 9.0]), row(Some(1), [0.5, 0.9, 0.4, 9.0]), row(None, [0.0, 0.1, 0.2, 9.0])];
        assert_eq!(predict(Mask::Class, &dataset, 1, &rows).unwrap(), [2, 1, 2]);
        assert_eq!(predict(Mask::Task, &dataset, 1, &rows).unwrap(), [1, 0, 2]);
        let bare = PredictionRow { scores: vec![], ..rows[0].clone() };
        let refusal = |rows: &[PredictionRow]| predict(Mask::Task, &dataset, 1, rows).unwrap_err();
        assert_eq!(refusal(std::slice::from_ref(&bare)), "the predictions hold no class scores");
        assert_eq!(refusal(&[rows[1].clone(), bare]), "some rows hold no class scores");
        let entities = DatasetRecord { task: Extraction::Entities, ..dataset };
        assert!(predict(Mask::Task, &entities, 1, &rows).is_err());
    }
}
