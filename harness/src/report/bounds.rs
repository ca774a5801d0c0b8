//! Intransigence: what a method loses against the upper bound of its modality, which is `joint` for methods that read the
//! text alone and `joint-multimodal` for those that see pictures.

use std::collections::BTreeMap;

use super::load::Run;
use crate::methods::registry::is_upper_bound;
use crate::metrics::continual::{Matrix, Mean, Value, intransigence_chaudhry18};
use crate::run::record::RunRecord;

/// The bounds of a board.
pub struct Bounds {
    text: Bound,
    pictures: Bound,
}

/// A bound's first run's record and its mean matrix over seeds, or why there is none.
type Bound = Result<(RunRecord, Matrix), &'static str>;

impl Bounds {
    /// Those among runs by label.
    pub fn new(groups: &[BTreeMap<u64, Run>]) -> Self {
        let of = |pictures: bool, missing, several| {
            let bound = |group: &&BTreeMap<u64, Run>| {
                group.values().all(|run| is_upper_bound(&run.record.method) && sees(&run.record) == pictures)
            };
            let found: Vec<Vec<&Run>> = groups.iter().filter(bound).map(|group| group.values().collect()).collect();
            match &found[..] {
                [] => Err(missing),
                [runs] => Ok((runs[0].record.clone(), mean_matrix(runs))),
                _ => Err(several),
            }
        };
        Self {
            text: of(false, "needs a run of Joint on the board", "several variants of Joint are on the board"),
            pictures: of(
                true,
                "needs a run of Joint with pictures (joint-multimodal) on the board",
                "several variants of Joint with pictures are on the board",
            ),
        }
    }

    /// A run's intransigence against the bound of its modality.
    pub fn intransigence(&self, run: &Run) -> Mean {
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
            Ok((_, matrix)) => intransigence_chaudhry18(&run.result.matrix, matrix),
        }
    }
}

/// Does a run see pictures?
fn sees(record: &RunRecord) -> bool {
    record.vision().is_some()
}

fn vision(record: &RunRecord) -> Option<&str> {
    record.vision().map(|vision| vision.encoder.identity.as_str())
}

/// `R[i][j]`, mean over runs; a row is empty where one has no predictions.
pub fn mean_matrix(runs: &[&Run]) -> Matrix {
    let matrices: Vec<&Matrix> = runs.iter().map(|run| &run.result.matrix).collect();
    let mean = |i: usize, j: usize| Value::mean(matrices.iter().map(|matrix| &matrix[i][j]));
    let scored = |i: usize| if matrices.iter().any(|matrix| matrix[i].is_empty()) { 0 } else { i + 1 };
    (0..matrices[0].len()).map(|i| (0..scored(i)).map(|j| mean(i, j)).collect()).collect()
}
