//! Scores where the test lacks something: by hand on small benchmarks, and over random ones, on which a perfect predictor
//! scores 1 wherever there is a score.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use mkgc_builder::corpus::Extraction;
use mkgc_harness::metrics::StageMetric;
use mkgc_harness::metrics::score::{RunResult, score};
use mkgc_harness::metrics::value::{Entered, Value};
use mkgc_harness::run::predictions::PredictionRow;
use mkgc_harness::run::record::{DatasetRecord, RunRecord, TaskRecord};
use mkgc_harness::seed::generator;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Tasks by the names of their classes.
fn record(task: Extraction, classes: &[Vec<String>]) -> RunRecord {
    let fixture = serde_json::from_str(include_str!("fixtures/run-version-4.json")).unwrap();
    let names = || classes.iter().flatten();
    let labels = match task {
        Extraction::Relations => ["None".to_owned()].into_iter().chain(names().cloned()).collect(),
        Extraction::Entities => {
            let tags = names().flat_map(|class| [format!("B-{class}"), format!("I-{class}")]);
            ["O".to_owned()].into_iter().chain(tags).collect()
        }
    };
    let tasks = classes.iter().enumerate();
    let tasks = tasks.map(|(task, classes)| TaskRecord { name: task.to_string(), classes: classes.clone() }).collect();
    let dataset = DatasetRecord { name: "edge".into(), task, fingerprint: String::new(), labels, tasks };
    RunRecord { dataset, ..RunRecord::from_json(fixture).unwrap() }
}

fn named(classes: &[&[&str]]) -> Vec<Vec<String>> {
    classes.iter().map(|task| task.iter().map(|class| (*class).to_owned()).collect()).collect()
}

/// A relation row: its task, gold and predicted label.
fn row((owner, gold, predicted): (usize, u32, u32)) -> PredictionRow {
    PredictionRow { owner: Some(owner), gold: vec![gold], predicted: vec![predicted], ..PredictionRow::default() }
}

fn rows(rows: &[(usize, u32, u32)]) -> Option<Vec<PredictionRow>> {
    Some(rows.iter().copied().map(row).collect())
}

fn number(value: &Value, expected: f64) {
    assert!((value.number().unwrap() - expected).abs() < 1e-12, "{value:?} is not {expected}");
}

fn undefined(value: &Value, reason: &str) {
    assert_eq!(value, &Value::undefined(reason));
}

/// Labels None 0, a 1, b 2 (task 1), c 3 (task 2), d 4 (task 3). Nothing is of class b; task 2 has no rows; task 3 none
/// with a relation.
fn gappy() -> RunResult {
    let record = record(Extraction::Relations, &named(&[&["a", "b"], &["c"], &["d"]]));
    let first = rows(&[(0, 1, 1), (0, 1, 2), (0, 0, 0)]);
    let second = rows(&[(0, 1, 1), (0, 1, 1), (0, 0, 3)]);
    let third = rows(&[(0, 1, 0), (0, 1, 1), (0, 0, 0), (2, 0, 4)]);
    score(&record, &[first, second, third])
}

#[test]
fn what_the_test_lacks_is_named_and_enters_no_mean() {
    let result = gappy();
    let stage = &result.stages[0];
    // One right of two predicted and two gold; the false b counts against a in micro-F1, b itself has no score.
    number(&stage.micro_f1, 2.0 * 1.0 / 4.0);
    number(&stage.f1_by_class["a"], 2.0 * 1.0 / 3.0);
    undefined(&stage.f1_by_class["b"], "no row of class b in the test file");
    number(&stage.macro_f1, 2.0 / 3.0);
    assert_eq!(stage.entered(StageMetric::MacroF1), Some(Entered { n: 1, of: 2 }));
    let cells: Vec<Vec<Option<f64>>> =
        result.matrix.iter().map(|row| row.iter().map(Value::number).collect()).collect();
    assert_eq!(cells, [vec![Some(0.5)], vec![Some(0.8), None], vec![Some(2.0 / 3.0), None, None]]);
    undefined(&result.matrix[1][1], "no test rows of task 2");
    undefined(&result.matrix[2][2], "no relation in the test rows of task 3");
    for (name, expected, n, of) in [
        ("average_lopezpaz17", 2.0 / 3.0, 1, 3),
        ("learning_accuracy_riemer19", 0.5, 1, 3),
        ("forgetting_chaudhry18", 0.8 - 2.0 / 3.0, 1, 2),
        ("bwt_lopezpaz17", 2.0 / 3.0 - 0.5, 1, 2),
        // The last stage: one right, two predicted with the false d, two gold.
        ("average_incremental_micro_f1", (0.5 + 0.8 + 0.5) / 3.0, 3, 3),
        ("last_macro_f1", 2.0 / 3.0, 1, 4),
    ] {
        number(&result.continual[name], expected);
        assert_eq!(result.entered[name], Entered { n, of }, "{name}");
    }
}

#[test]
fn no_test_rows_are_told_from_no_predictions_and_from_no_class() {
    let record = record(Extraction::Relations, &named(&[&["a"], &["b"], &["c"], &["d"]]));
    let result = score(&record, &[rows(&[(0, 1, 1)]), rows(&[]), rows(&[(0, 0, 1)]), None]);
    undefined(&result.stages[1].micro_f1, "no test rows after task 2");
    undefined(&result.stages[1].accuracy, "no test rows after task 2");
    undefined(&result.stages[1].get(StageMetric::ClassMaskedAccuracy), "no test rows after task 2");
    undefined(&result.stages[2].micro_f1, "no row of a class seen in the test file after task 3");
    undefined(&result.stages[2].macro_f1, "no row of a class seen in the test file after task 3");
    number(&result.stages[2].accuracy, 0.0);
    undefined(&result.stages[3].get(StageMetric::MicroF1), "no predictions after task 4");
    // What is not predicted may not be left out.
    undefined(&result.continual["average_incremental_micro_f1"], "no predictions after task 4");
    undefined(&result.continual["average_lopezpaz17"], "no predictions after task 4");
    undefined(&result.continual["learning_accuracy_riemer19"], "no predictions after task 4");
    let three = score(&record, &[rows(&[(0, 1, 1)]), rows(&[]), rows(&[(0, 0, 1)]), rows(&[(0, 1, 0)])]);
    number(&three.continual["average_incremental_micro_f1"], 0.5);
    assert_eq!(three.entered["average_incremental_micro_f1"], Entered { n: 2, of: 4 });
    number(&three.continual["average_incremental_accuracy"], 1.0 / 3.0);
    assert_eq!(three.entered["average_incremental_accuracy"], Entered { n: 3, of: 4 });
}

#[test]
fn types_without_an_entity_are_undefined_even_where_they_are_predicted() {
    let record = record(Extraction::Entities, &named(&[&["PER"], &["LOC"]]));
    let sentence = |gold: &[u32], predicted: &[u32]| {
        let (gold, predicted) = (gold.to_vec(), predicted.to_vec());
        Some(vec![PredictionRow { gold, predicted, ..PredictionRow::default() }])
    };
    // O, B-PER, I-PER, B-LOC, I-LOC: one person, found, and a place where there is none.
    let result = score(&record, &[sentence(&[1, 2, 0], &[1, 2, 0]), sentence(&[1, 2, 0], &[1, 2, 3])]);
    undefined(&result.stages[1].f1_by_class["LOC"], "no entity of class LOC in the test file");
    undefined(&result.matrix[1][1], "no entity of task 2 in the test file");
    number(&result.stages[1].macro_f1, 1.0);
    number(&result.stages[1].micro_f1, 2.0 / 3.0);
    number(&result.continual["average_lopezpaz17"], 1.0);
}

/// Each half is scored alone: the text half forgets the first task, the vision half does not learn the second.
#[test]
fn halves_have_matrices_of_their_own() {
    let record = record(Extraction::Relations, &named(&[&["a"], &["b"]]));
    let both = |rows: &[(usize, u32, u32, u32)]| -> Option<Vec<PredictionRow>> {
        let of = |&(owner, gold, text, vision)| PredictionRow {
            text: vec![text],
            vision: vec![vision],
            ..row((owner, gold, gold))
        };
        Some(rows.iter().map(of).collect())
    };
    let result = score(&record, &[both(&[(0, 1, 1, 1)]), both(&[(0, 1, 0, 1), (1, 2, 2, 0)])]);
    number(&result.continual["text_half_forgetting_chaudhry18"], 1.0);
    number(&result.continual["vision_half_forgetting_chaudhry18"], 0.0);
    number(&result.continual["text_half_learning_accuracy_riemer19"], 1.0);
    number(&result.continual["vision_half_learning_accuracy_riemer19"], 0.5);
    for half in ["text", "vision"] {
        // One of two found, nothing wrong.
        number(&result.continual[format!("last_{half}_half_micro_f1").as_str()], 2.0 / 3.0);
        number(&result.continual[format!("average_incremental_{half}_half_micro_f1").as_str()], 5.0 / 6.0);
    }
    number(&result.continual["forgetting_chaudhry18"], 0.0);
    let one = score(&record, &[rows(&[(0, 1, 1)]), rows(&[(1, 2, 2)])]);
    assert!(one.halves.is_empty());
    for name in ["last_text_half_micro_f1", "vision_half_forgetting_chaudhry18"] {
        undefined(&one.continual[name], "the predictions do not say what one stream gives alone");
    }
}

/// Up to five tasks of up to three classes, with a random test for each stage.
fn random(random: &mut ChaCha8Rng, task: Extraction) -> (RunRecord, Vec<Option<Vec<PredictionRow>>>) {
    let tasks = random.random_range(1..=5);
    let classes: Vec<Vec<String>> = (0..tasks)
        .map(|task| (0..random.random_range(0..=3)).map(|class| format!("{task}x{class}")).collect())
        .collect();
    let record = record(task, &classes);
    // Some classes have no row in any test, and so may a whole task.
    let tested: BTreeSet<String> = classes.iter().flatten().filter(|_| random.random_bool(0.6)).cloned().collect();
    let stage = |stage: usize| {
        let seen: Vec<&String> = classes[..=stage].iter().flatten().filter(|class| tested.contains(*class)).collect();
        let count = *[0, 1, 2, 9].choose(random).unwrap();
        Some((0..count).map(|_| perfect(random, &record.dataset, stage, &seen)).collect())
    };
    let stages = (0..tasks).map(stage).collect();
    (record, stages)
}

/// A row whose prediction is its gold, by all of the network and by each half.
fn perfect(random: &mut ChaCha8Rng, dataset: &DatasetRecord, stage: usize, seen: &[&String]) -> PredictionRow {
    let class = seen.choose(random).filter(|_| random.random_bool(0.7)).copied();
    let id = |label: &String| dataset.labels.iter().position(|own| own == label).unwrap() as u32;
    let (owner, gold) = match dataset.task {
        Extraction::Relations => {
            let other = random.random_bool(0.7).then(|| random.random_range(0..=stage));
            (class.map_or(other, |class| dataset.label_set().task_of_class(class)), vec![class.map_or(0, id)])
        }
        Extraction::Entities => {
            let tag = class.map_or(0, |class| id(&format!("B-{class}")));
            (None, vec![0, tag, if tag > 0 { tag + 1 } else { 0 }, 0])
        }
    };
    let one_hot = |label: usize| f32::from(u8::from(label == gold[0] as usize));
    let scores =
        if dataset.task == Extraction::Relations { (0..dataset.labels.len()).map(one_hot).collect() } else { vec![] };
    let halves = gold.clone();
    PredictionRow {
        id: String::new(),
        owner,
        predicted: gold.clone(),
        scores,
        text: halves.clone(),
        vision: halves,
        gold,
    }
}

/// Every score of a result by name.
fn all(result: &RunResult) -> Vec<(String, Value)> {
    let mut values: Vec<(String, Value)> =
        result.continual.iter().map(|(metric, value)| (metric.key().to_owned(), value.clone())).collect();
    for (number, stage) in result.stages.iter().enumerate() {
        let staged = StageMetric::ALL.iter().map(|metric| (format!("{} {number}", metric.key()), stage.get(*metric)));
        values.extend(staged);
        values.extend(stage.f1_by_class.iter().map(|(class, f1)| (format!("{class} {number}"), f1.clone())));
    }
    for matrix in std::iter::once(&result.matrix).chain(result.halves.values()) {
        let cells = matrix.iter().enumerate().flat_map(|(i, row)| row.iter().enumerate().map(move |cell| (i, cell)));
        values.extend(cells.map(|(i, (j, cell))| (format!("R {i} {j}"), cell.clone())));
    }
    values
}

#[test]
fn a_perfect_predictor_scores_1_wherever_there_is_a_score() {
    let lost = |name: &str| name.contains("forgetting") || name.contains("bwt");
    let (mut defined, mut missing) = (0, 0);
    for seed in 0..600 {
        let mut generator = generator(seed, "edges", 0);
        let (record, stages) = random(&mut generator, [Extraction::Relations, Extraction::Entities][seed as usize % 2]);
        let result = score(&record, &stages);
        // Nothing is found by one that says None and O; it must lack a score where the perfect one does.
        let nothing = |row: &PredictionRow| {
            let none = vec![0; row.gold.len()];
            PredictionRow { predicted: none.clone(), text: none.clone(), vision: none, ..row.clone() }
        };
        let silent: Vec<_> =
            stages.iter().map(|rows| rows.as_ref().map(|rows| rows.iter().map(nothing).collect())).collect();
        let silent = score(&record, &silent);
        for ((name, value), (_, other)) in all(&result).into_iter().zip(all(&silent)) {
            match value {
                Value::Number(number) => {
                    let expected = if lost(&name) { 0.0 } else { 1.0 };
                    assert!((number - expected).abs() < 1e-12, "seed {seed}, {name}: {number}");
                    defined += 1;
                }
                Value::Undefined(_) => missing += 1,
            }
            assert_eq!(value.number().is_some(), other.number().is_some(), "seed {seed}, {name}: {value:?} {other:?}");
            assert!(!format!("{value:?}").contains("no predictions"), "seed {seed}, {name}: {value:?}");
        }
        let cells = result.matrix.last().unwrap().iter().filter(|cell| cell.number().is_some()).count();
        assert_eq!(result.entered["average_lopezpaz17"], Entered { n: cells, of: record.dataset.tasks.len() });
    }
    assert!(defined > 1000 && missing > 1000, "{defined} scores, {missing} cells without");
}
