//! Finds the upper bound that a run is compared with: `joint` for methods that read the text alone and `joint-multimodal`
//! for those that see pictures.

use super::load::{FinishedRun, Group};
use crate::methods::registry::is_upper_bound;
use crate::metrics::continual::Matrix;
use crate::metrics::value::{Mean, Value};
use crate::run::record::RunRecord;

/// The upper bounds of a board.
pub struct Bounds {
    text: Bound,
    pictures: Bound,
}

/// The record of the bound's first run and its matrix averaged over the seeds, or why there is no bound.
type Bound = Result<(RunRecord, Matrix), &'static str>;

impl Bounds {
    /// Finds the bounds among the runs of a board.
    pub fn new(groups: &[Group]) -> Self {
        let find = |pictures: bool, missing, several| {
            let bound = |group: &&Group| {
                group.values().all(|run| is_upper_bound(&run.record.method) && sees(&run.record) == pictures)
            };
            let found: Vec<Vec<&FinishedRun>> =
                groups.iter().filter(bound).map(|group| group.values().collect()).collect();
            match &found[..] {
                [] => Err(missing),
                [runs] => Ok((runs[0].record.clone(), mean_matrix(runs))),
                _ => Err(several),
            }
        };
        Self {
            text: find(false, "needs a run of Joint on the board", "several variants of Joint are on the board"),
            pictures: find(
                true,
                "needs a run of Joint with pictures (joint-multimodal) on the board",
                "several variants of Joint with pictures are on the board",
            ),
        }
    }

    /// Computes a metric of a run's matrix and that of the bound of its modality.
    pub fn compare(&self, run: &FinishedRun, metric: fn(&Matrix, &Matrix) -> Mean) -> Mean {
        let bound = if sees(&run.record) { &self.pictures } else { &self.text };
        let undefined = |reason: &str| Mean::undefined(Value::undefined(reason), run.result.matrix.len());
        match bound {
            _ if is_upper_bound(&run.record.method) => undefined("Joint is what others are compared with"),
            Err(reason) => undefined(reason),
            Ok((record, _)) if record.encoder_identity() != run.record.encoder_identity() => {
                undefined("the board's Joint has another text encoder")
            }
            Ok((record, _)) if vision(record) != vision(&run.record) => {
                undefined("the board's Joint with pictures has another vision encoder")
            }
            Ok((_, matrix)) => metric(&run.result.matrix, matrix),
        }
    }
}

/// Tells whether a run sees pictures.
fn sees(record: &RunRecord) -> bool {
    record.vision().is_some()
}

fn vision(record: &RunRecord) -> Option<&str> {
    record.vision().map(|vision| vision.encoder.identity.as_str())
}

/// Averages `R[i][j]` over the runs. A row is empty if any run has no predictions after that task.
pub fn mean_matrix(runs: &[&FinishedRun]) -> Matrix {
    let matrices: Vec<&Matrix> = runs.iter().map(|run| &run.result.matrix).collect();
    let mean = |i: usize, j: usize| Value::mean(matrices.iter().map(|matrix| &matrix[i][j]));
    let scored = |i: usize| if matrices.iter().any(|matrix| matrix[i].is_empty()) { 0 } else { i + 1 };
    (0..matrices[0].len()).map(|i| (0..scored(i)).map(|j| mean(i, j)).collect()).collect()
}
