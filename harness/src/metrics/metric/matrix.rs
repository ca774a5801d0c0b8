//! Metrics of the matrix `R[i][j]`: micro-F1 on task `j` after learning tasks `0..=i`. Tasks without test rows are left
//! out, and T counts the others.

use super::spec::Direction::{self, HigherIsBetter, LowerIsBetter};
use super::spec::metrics;
use crate::metrics::continual::{
    Matrix, average_lopezpaz17, bwt_lopezpaz17, forgetting_chaudhry18, intransigence_chaudhry18,
    learning_accuracy_riemer19,
};
use crate::metrics::half::Half;
use crate::metrics::value::Mean;

/// How a metric follows from the matrix.
#[derive(Debug, Clone, Copy)]
pub enum MatrixFormula {
    /// From the matrix of the run alone.
    Alone(fn(&Matrix) -> Mean),
    /// From the matrix of the run and that of the board's Joint.
    AgainstJoint(fn(&Matrix, &Matrix) -> Mean),
}

use MatrixFormula::{AgainstJoint, Alone};

struct MatrixSpec {
    key: &'static str,
    title: &'static str,
    formula: &'static str,
    direction: Direction,
    compute: MatrixFormula,
    half: Option<Half>,
}

metrics! {
    /// What is measured on the matrix `R[i][j]`.
    MatrixMetric: MatrixSpec {
        /// Average over tasks after the last one.
        AverageOverTasks => MatrixSpec {
            key: "average_lopezpaz17",
            title: "Average over tasks",
            formula: "1/T sum_j R[T-1][j] (Lopez-Paz and Ranzato 2017, ACC)",
            direction: HigherIsBetter,
            compute: Alone(average_lopezpaz17),
            half: None,
        },
        /// Plasticity: the score of each task right after it was learned (Riemer et al. 2019).
        LearningAccuracy => MatrixSpec {
            key: "learning_accuracy_riemer19",
            title: "Plasticity",
            formula: "1/T sum_i R[i][i] (Riemer et al. 2019, LA)",
            direction: HigherIsBetter,
            compute: Alone(learning_accuracy_riemer19),
            half: None,
        },
        /// Forgetting: how far earlier tasks end below their best score (Chaudhry et al. 2018).
        Forgetting => MatrixSpec {
            key: "forgetting_chaudhry18",
            title: "Forgetting",
            formula: "1/(T-1) sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j]) (Chaudhry et al. 2018)",
            direction: LowerIsBetter,
            compute: Alone(forgetting_chaudhry18),
            half: None,
        },
        /// Backward transfer: how the scores of earlier tasks changed between learning each and the end (Lopez-Paz and
        /// Ranzato 2017).
        BackwardTransfer => MatrixSpec {
            key: "bwt_lopezpaz17",
            title: "Backward transfer",
            formula: "1/(T-1) sum_{j<T-1} (R[T-1][j] - R[j][j]) (Lopez-Paz and Ranzato 2017, BWT)",
            direction: HigherIsBetter,
            compute: Alone(bwt_lopezpaz17),
            half: None,
        },
        /// Intransigence against the Joint of the same modality.
        Intransigence => MatrixSpec {
            key: "intransigence_chaudhry18",
            title: "Intransigence",
            formula: "1/T sum_i (R*[i][i] - R[i][i]), R* of the board's Joint of the same modality, mean over its seeds \
                      (Chaudhry et al. 2018)",
            direction: LowerIsBetter,
            compute: AgainstJoint(intransigence_chaudhry18),
            half: None,
        },
        /// Plasticity of the text half.
        TextHalfLearningAccuracy => MatrixSpec {
            key: "text_half_learning_accuracy_riemer19",
            title: "Plasticity of the text half",
            formula: "learning_accuracy_riemer19 of what the text stream says alone",
            direction: HigherIsBetter,
            compute: Alone(learning_accuracy_riemer19),
            half: Some(Half::Text),
        },
        /// Forgetting of the text half.
        TextHalfForgetting => MatrixSpec {
            key: "text_half_forgetting_chaudhry18",
            title: "Forgetting of the text half",
            formula: "forgetting_chaudhry18 of what the text stream says alone",
            direction: LowerIsBetter,
            compute: Alone(forgetting_chaudhry18),
            half: Some(Half::Text),
        },
        /// Plasticity of the vision half.
        VisionHalfLearningAccuracy => MatrixSpec {
            key: "vision_half_learning_accuracy_riemer19",
            title: "Plasticity of the vision half",
            formula: "learning_accuracy_riemer19 of what the vision stream says alone",
            direction: HigherIsBetter,
            compute: Alone(learning_accuracy_riemer19),
            half: Some(Half::Vision),
        },
        /// Forgetting of the vision half.
        VisionHalfForgetting => MatrixSpec {
            key: "vision_half_forgetting_chaudhry18",
            title: "Forgetting of the vision half",
            formula: "forgetting_chaudhry18 of what the vision stream says alone",
            direction: LowerIsBetter,
            compute: Alone(forgetting_chaudhry18),
            half: Some(Half::Vision),
        },
    }
}

impl MatrixMetric {
    /// Returns the key in files.
    pub fn key(self) -> &'static str {
        self.spec().key
    }

    /// Returns the title for people.
    pub fn title(self) -> &'static str {
        self.spec().title
    }

    /// Returns the formula and its source, in words.
    pub fn formula(self) -> &'static str {
        self.spec().formula
    }

    /// Returns which way is better.
    pub fn direction(self) -> Direction {
        self.spec().direction
    }

    /// Returns the function that computes the metric.
    pub fn compute(self) -> MatrixFormula {
        self.spec().compute
    }

    /// Returns the half of a two-stream network whose matrix the metric is of; `None` for the whole network.
    pub fn half(self) -> Option<Half> {
        self.spec().half
    }
}
