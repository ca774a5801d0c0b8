//! The names of all metrics: what each is, where it comes from, whether more is better.

use mkgc_builder::corpus::TaskKind;

/// A named formula.
#[derive(Debug, Clone, Copy)]
pub struct Formula {
    /// Key in `result.json`.
    pub name: &'static str,
    /// For people: relations, entities.
    titles: [&'static str; 2],
    /// How it is computed.
    pub formula: &'static str,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl Formula {
    /// Its title for a task.
    pub fn title(&self, task: TaskKind) -> &'static str {
        self.titles[usize::from(task == TaskKind::Ner)]
    }
}

const fn better(name: &'static str, titles: [&'static str; 2], formula: &'static str) -> Formula {
    Formula { name, titles, formula, higher_is_better: true }
}

const fn worse(name: &'static str, title: &'static str, formula: &'static str) -> Formula {
    Formula { name, titles: [title; 2], formula, higher_is_better: false }
}

/// Metrics with a value after each task, the main one first.
pub const STAGE: [Formula; 11] = [
    better(
        "micro_f1",
        ["Micro-F1 without None", "Micro span F1"],
        "2 TP / (predicted + gold) over all classes seen; RE without None, NER over exact spans (seqeval)",
    ),
    better(
        "macro_f1",
        ["Macro-F1 without None", "Macro span F1"],
        "unweighted mean of the F1 of each class seen that has a test row",
    ),
    better(
        "accuracy",
        ["Strict accuracy with None", "Accuracy"],
        "share of rows whose label is right, None included; argmax over all classes seen",
    ),
    better(
        "class_masked_micro_f1",
        ["Micro-F1, class-masked", "Micro span F1, class-masked"],
        "micro_f1 of the argmax of the stored scores over None and the relations seen",
    ),
    better(
        "class_masked_macro_f1",
        ["Macro-F1, class-masked", "Macro span F1, class-masked"],
        "macro_f1 of the argmax of the stored scores over None and the relations seen",
    ),
    better(
        "class_masked_accuracy",
        ["Accuracy, class-masked"; 2],
        "accuracy of the argmax of the stored scores over None and the relations seen",
    ),
    better(
        "task_masked_micro_f1",
        ["Micro-F1, task-masked", "Micro span F1, task-masked"],
        "micro_f1 of the argmax of the stored scores over None and the relations of the row's own task (van de Ven et \
         al. 2022, task-incremental)",
    ),
    better(
        "task_masked_macro_f1",
        ["Macro-F1, task-masked", "Macro span F1, task-masked"],
        "macro_f1 of the argmax of the stored scores over None and the relations of the row's own task",
    ),
    better(
        "task_masked_accuracy",
        ["Accuracy, task-masked"; 2],
        "accuracy of the argmax of the stored scores over None and the relations of the row's own task",
    ),
    better(
        "text_half_micro_f1",
        ["Micro-F1 of the text half", "Micro span F1 of the text half"],
        "micro_f1 of what the text stream says alone, W^t h^t + b/2",
    ),
    better(
        "vision_half_micro_f1",
        ["Micro-F1 of the vision half", "Micro span F1 of the vision half"],
        "micro_f1 of what the vision stream says alone, W^v h^v + b/2",
    ),
];

/// Metrics of the matrix `R[i][j]`: micro-F1 on task `j` after learning tasks `0..=i`. Tasks without test rows are left
/// out, and T counts the others.
pub const MATRIX: [Formula; 9] = [
    better("average_lopezpaz17", ["Average over tasks"; 2], "1/T sum_j R[T-1][j] (Lopez-Paz and Ranzato 2017, ACC)"),
    better("learning_accuracy_riemer19", ["Plasticity"; 2], "1/T sum_i R[i][i] (Riemer et al. 2019, LA)"),
    worse(
        "forgetting_chaudhry18",
        "Forgetting",
        "1/(T-1) sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j]) (Chaudhry et al. 2018)",
    ),
    better(
        "bwt_lopezpaz17",
        ["Backward transfer"; 2],
        "1/(T-1) sum_{j<T-1} (R[T-1][j] - R[j][j]) (Lopez-Paz and Ranzato 2017, BWT)",
    ),
    worse(
        "intransigence_chaudhry18",
        "Intransigence",
        "1/T sum_i (R*[i][i] - R[i][i]), R* of the board's Joint of the same modality, mean over its seeds (Chaudhry et \
         al. 2018)",
    ),
    better(
        "text_half_learning_accuracy_riemer19",
        ["Plasticity of the text half"; 2],
        "learning_accuracy_riemer19 of what the text stream says alone",
    ),
    worse(
        "text_half_forgetting_chaudhry18",
        "Forgetting of the text half",
        "forgetting_chaudhry18 of what the text stream says alone",
    ),
    better(
        "vision_half_learning_accuracy_riemer19",
        ["Plasticity of the vision half"; 2],
        "learning_accuracy_riemer19 of what the vision stream says alone",
    ),
    worse(
        "vision_half_forgetting_chaudhry18",
        "Forgetting of the vision half",
        "forgetting_chaudhry18 of what the vision stream says alone",
    ),
];

/// Name of a metric's value after the last task.
pub fn last(name: &str) -> String {
    format!("last_{name}")
}

/// Name of a metric's mean over stages (average incremental score, Rebuffi et al. 2017).
pub fn average(name: &str) -> String {
    format!("average_incremental_{name}")
}
