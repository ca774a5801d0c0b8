//! What must hold of the methods whatever the numbers: switches that switch, plain counterparts met to the bit, edge
//! cases that are defined.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use candle_core::{DType, Tensor};
use common::{Learned, Place};
use mkgc_builder::corpus::TaskKind;
use mkgc_harness::data::{Example, Task};
use mkgc_harness::learner::Learner;
use mkgc_harness::methods::lmc::Teacher;
use mkgc_harness::methods::{METHODS, names};
use mkgc_models::distill::{Pooling, attention_distillation, pool};
use mkgc_models::mode::Mode;

const KINDS: [TaskKind; 2] = [TaskKind::Re, TaskKind::Ner];

/// Largest difference of the test scores of two runs on relations.
fn difference(a: &Learned, b: &Learned) -> f32 {
    let scores = |learned: &Learned| -> Vec<f32> {
        learned.predictions().into_iter().flat_map(|row| row.scores).filter(|score| score.is_finite()).collect()
    };
    let (a, b) = (scores(a), scores(b));
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn lambda_changes_lmc_but_not_what_its_code_computes() {
    let place = Place::new(TaskKind::Re);
    let with = |method: &str, lambda: &str| place.learned(method, &format!("lambda = {lambda}\nnoise = false"));
    let of_lmc = difference(&with("lmc", "0.0"), &with("lmc", "20.0"));
    assert!(of_lmc > 1e-3, "{of_lmc}");
    let (off, on) = (with("lmc-released", "0.0"), with("lmc-released", "20.0"));
    assert!(off.values() == on.values(), "the released distillation must have no gradient");
    assert_ne!(off.ledger.losses(), on.ledger.losses(), "its value is counted in the loss all the same");
}

#[test]
fn the_shared_key_changes_lmc_but_not_what_its_code_computes() {
    let place = Place::new(TaskKind::Re);
    for (method, matters) in [("lmc", true), ("lmc-released", false)] {
        let (before, after) = (place.learned(method, ""), place.learned(method, ""));
        let mut values = after.method.learner().params().tensors().unwrap();
        let name = values.keys().find(|name| name.starts_with("shared.key.")).unwrap().clone();
        let key = &values[&name];
        values.insert(name, (key * -3.0).unwrap());
        after.method.learner().params().load(&values).unwrap();
        let difference = difference(&before, &after);
        assert_eq!(difference > 1e-3, matters, "{method}: {difference}");
    }
}

#[test]
fn noise_modulation_and_pooling_are_switches() {
    let place = Place::new(TaskKind::Re);
    let plain = place.learned("lmc", "").values();
    for setting in [
        "noise = true",
        "alpha = 2.0",
        "pooling = \"width\"",
        "pooling = \"height\"",
        "pooling = \"none\"",
        "key = \"own\"",
    ] {
        assert!(place.learned("lmc", setting).values() != plain, "{setting} changes nothing");
    }
    assert!(place.learned("lmc", "").values() == plain, "the same run twice differs");
}

#[test]
fn methods_without_their_device_equal_their_plain_counterpart_to_the_bit() {
    for kind in KINDS {
        let place = Place::new(kind);
        let equal = |method: &str, off: &str, plain: &str, settings: &str| {
            let (ours, theirs) = (place.learned(method, off), place.learned(plain, settings));
            assert!(ours.values() == theirs.values(), "{method} with {off} is not {plain} ({kind:?})");
            assert_eq!(ours.predictions(), theirs.predictions());
        };
        equal("ewc", "ewc_lambda = 0.0\newc_grid = []", "vanilla", "");
        equal("emr", "memory_per_class = 0", "vanilla", "");
        equal("concat-replay", "memory_per_class = 0", "concat", "");
        equal("mkgformer-replay", "memory_per_class = 0", "mkgformer", "");
        let off = "lambda = 0.0\nalpha = 0.0\nshared_layers = 0\nmemory_per_class = 0\noptimiser_per_task = true\nweight_decay = 0.0";
        equal("lmc", off, "concat", "");
    }
}

#[test]
fn an_interrupted_run_goes_on_as_if_nothing_had_been() {
    for kind in KINDS {
        let place = Place::new(kind);
        for method in names() {
            let (whole, resumed) = (place.learned(method, ""), place.interrupted(method));
            assert!(whole.values() == resumed.values(), "{method} ({kind:?}) ends elsewhere after an interruption");
            assert_eq!(whole.predictions(), resumed.predictions(), "{method} ({kind:?})");
        }
    }
}

#[test]
fn a_kept_teacher_says_what_a_fresh_one_would() {
    for kind in KINDS {
        let place = Place::new(kind);
        for pooling in [Pooling::Width, Pooling::Height, Pooling::Both, Pooling::None] {
            let mut config = place.config("lmc", "");
            config.pooling = pooling;
            let (blueprint, benchmark) = (place.blueprint("lmc", &config), place.benchmark(&config));
            let teacher = Learner::new(&blueprint, &config, 1).unwrap();
            let student = Learner::new(&blueprint, &config, 2).unwrap();
            let rows = benchmark.training(1, &blueprint.tokenizer).unwrap();
            let kept = Teacher::new(&teacher, &rows, &config).unwrap().unwrap();
            // Another composition of the batch than the teacher was shown.
            let batch: Vec<&Example> = rows.iter().rev().step_by(2).collect();
            let batch = student.batch(&batch).unwrap();
            let forward = student.forward(&batch, &mut Mode::Eval).unwrap();
            let ours = kept.distillation(&forward, &batch).unwrap().to_scalar::<f32>().unwrap();
            let fresh = teacher.forward(&batch, &mut Mode::Eval).unwrap();
            let seen = Tensor::ones((batch.examples.len(), 5), DType::U32, student.device()).unwrap();
            let loss = |student: &[Tensor], teacher: &[Tensor], mask: &Tensor| {
                let teacher = pool(teacher, mask, pooling).unwrap();
                attention_distillation(student, mask, &teacher, pooling).unwrap().to_scalar::<f32>().unwrap()
            };
            let expected = loss(&forward.text_maps, &fresh.text_maps, &batch.mask)
                + loss(&forward.vision_maps, &fresh.vision_maps, &seen);
            assert!((ours / expected - 1.0).abs() < 1e-5, "{pooling:?}: {ours} kept, {expected} fresh");
            let of_itself = kept.distillation(&fresh, &batch).unwrap().to_scalar::<f32>().unwrap();
            assert!(of_itself < 1e-9 && ours > 1e-4, "{pooling:?}: {of_itself} from itself");
        }
    }
}

/// Every method goes through both tasks as `change` leaves them, and predicts labels it may use, one per item.
fn all_methods_survive(settings: &str, change: impl Fn(Task) -> Task + Copy) {
    for kind in KINDS {
        let place = Place::new(kind);
        for method in names() {
            let learned = place.learned_with(method, settings, change);
            let learned = learned.unwrap_or_else(|error| panic!("{method} ({kind:?}, {settings}): {error}"));
            let allowed = learned.benchmark.seen(1).allowed;
            for prediction in learned.predictions() {
                assert!(prediction.labels.iter().all(|label| allowed[*label as usize]), "{method}");
                assert!(!prediction.labels.is_empty() || kind == TaskKind::Ner, "{method}");
            }
        }
    }
}

const SHORT: &str = "epochs = 1\nmemory_epochs = 1\nrounds = 1";

#[test]
fn a_batch_of_one_is_a_batch() {
    all_methods_survive(&format!("{SHORT}\nbatch_size = 1"), |task| task);
}

#[test]
fn a_task_may_have_one_class() {
    // Tasks on entities have one type each anyway; of relations `None` goes.
    all_methods_survive(SHORT, |mut task| {
        task.train.retain(|row| row.gold != [0]);
        let labels: BTreeSet<u32> =
            task.train.iter().filter(|row| row.gold.len() == 1).map(|row| row.gold[0]).collect();
        assert!(labels.len() <= 1 && !task.train.is_empty());
        task
    });
}

#[test]
fn a_class_may_have_no_rows_to_store() {
    all_methods_survive(SHORT, |mut task| {
        if task.seen.stage == 1 {
            task.train.retain(|row| row.gold.iter().all(|label| !task.seen.current[*label as usize] || *label == 0));
        }
        task
    });
}

#[test]
fn sentences_longer_than_the_limit_are_cut() {
    all_methods_survive(&format!("{SHORT}\nmax_length = 8"), |task| {
        assert!(task.train.iter().all(|row| row.ids.len() <= 8));
        let cut = |row: &Example| row.gold.len() == 1 || row.anchors.len() < row.words;
        assert!(task.train.iter().any(cut), "no sentence is long enough to be cut");
        task
    });
}

#[test]
fn labels_not_seen_yet_are_never_predicted() {
    let place = Place::new(TaskKind::Re);
    for method in names() {
        let learned = place.learned(method, SHORT);
        let rows = learned.benchmark.test_rows(1).unwrap();
        let examples = learned.benchmark.tokenised(&rows, &learned.blueprint.tokenizer).unwrap();
        let batch = learned.method.learner().batch(&examples.iter().collect::<Vec<_>>()).unwrap();
        let seen = learned.benchmark.seen(0);
        for prediction in learned.method.predict(&batch, &seen).unwrap() {
            assert!(seen.allowed[prediction.labels[0] as usize], "{method}");
            assert!(
                prediction.scores.iter().zip(&seen.allowed).all(|(score, on)| score.is_finite() == *on),
                "{method}"
            );
        }
    }
}

#[test]
fn memory_is_charged_and_bounded() {
    for kind in KINDS {
        let place = Place::new(kind);
        for info in METHODS.iter().filter(|info| info.name != "joint") {
            let learned = place.learned(info.name, SHORT);
            let Some(memory) = learned.method.memory() else {
                assert!(!info.rehearses, "{} rehearses but shows no memory", info.name);
                continue;
            };
            assert!(info.rehearses, "{}", info.name);
            let budget = learned.config.memory_per_class;
            // `None` belongs to both tasks and is stored for each; a sentence may hold two types.
            for (class, stored) in memory.by_class(learned.benchmark.manifest()) {
                let times = if class == "None" || kind == TaskKind::Ner { 2 } else { 1 };
                assert!(stored > 0 && stored <= times * budget, "{}: {stored} rows of {class}", info.name);
            }
        }
    }
}

#[test]
fn a_lambda_chosen_from_a_grid_is_that_lambda_given() {
    for kind in KINDS {
        let place = Place::new(kind);
        let chosen = place.learned("ewc", "");
        let choice = chosen.method.choice().unwrap().clone();
        let tried: Vec<f64> = choice.scores.iter().map(|score| score.lambda).collect();
        assert_eq!(tried, chosen.config.ewc_grid);
        let best = choice.scores.iter().map(|score| score.micro_f1).fold(0.0, f64::max);
        let smallest = choice.scores.iter().find(|score| score.micro_f1 == best).unwrap();
        assert_eq!((choice.lambda, choice.validation_rows), (smallest.lambda, 6), "{:?}", choice.scores);
        let given = place.learned("ewc", &format!("ewc_grid = []\newc_lambda = {:?}", choice.lambda));
        assert!(given.method.choice().is_none());
        assert!(chosen.values() == given.values(), "{kind:?}: trials leave traces");
        assert_eq!(chosen.predictions(), given.predictions());
        let of_second_task = (chosen.ledger.losses().len() - given.ledger.losses().len()) / (tried.len() - 1);
        let (steps, tuning) = (chosen.ledger.steps, chosen.ledger.tuning_steps);
        assert_eq!((steps, tuning), (given.ledger.steps, of_second_task * (tried.len() - 1)));
        let mut again = place.learned("ewc", "ewc_grid = []");
        again.method.restore(&mut chosen.method.state().unwrap()).unwrap();
        assert_eq!(again.method.choice(), Some(&choice), "{kind:?}: the choice is not part of the state");
    }
}

#[test]
fn a_replay_step_of_emr_is_on_the_whole_memory_of_an_old_task() {
    for kind in KINDS {
        let place = Place::new(kind);
        let learned = place.learned("emr", &format!("{SHORT}\nmemory_per_class = 6"));
        let folder = tempfile::tempdir().unwrap();
        learned.ledger.write(folder.path(), serde_json::json!({})).unwrap();
        let account = fs_err::read_to_string(folder.path().join("case.json")).unwrap();
        let account: serde_json::Value = serde_json::from_str(&account).unwrap();
        let trace = account["trace"].as_array().unwrap();
        let of = |phase: &str| trace.iter().filter(|entry| entry["phase"] == phase).collect::<Vec<_>>();
        let ids = |entry: &serde_json::Value| -> BTreeSet<String> {
            entry["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
        };
        let stored: BTreeSet<String> = learned.method.memory().unwrap().ids()[0].iter().cloned().collect();
        assert!(stored.len() > learned.config.batch_size, "the memory should be more than a batch");
        let replayed = of("replay");
        assert!(!replayed.is_empty() && replayed.iter().all(|entry| ids(entry) == stored));
        assert_eq!(learned.ledger.steps, replayed.len() + of("current").len());
    }
}
