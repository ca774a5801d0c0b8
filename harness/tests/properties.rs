//! What must hold of the methods whatever the numbers: switches that switch, plain counterparts met to the bit, edge
//! cases that are defined.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use candle_core::{DType, Tensor};
use common::{Learned, Place};
use mkgc_builder::corpus::TaskKind;
use mkgc_harness::data::{Example, Task};
use mkgc_harness::learner::{Architecture, Learner};
use mkgc_harness::methods::lmc::Teacher;
use mkgc_harness::methods::{METHODS, names};
use mkgc_harness::run::{RunFolder, log};
use mkgc_harness::stream;
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
        equal("ewc", "ewc_lambda = 0.0", "vanilla", "");
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

#[test]
fn the_first_step_of_a_warm_up_moves_nothing_and_the_log_says_which_rate_was_used() {
    let place = Place::new(TaskKind::Re);
    let single = "epochs = 1\nbatch_size = 1000\nschedule = \"linear\"";
    for (warmup, moves) in [("0.5", false), ("0.0", true)] {
        let learned = place.learned("vanilla", &format!("{single}\nwarmup = {warmup}\nweight_decay = 0.1"));
        let fresh = learned.ledger.fresh_values("network").unwrap();
        let fresh: Vec<f32> = fresh.values().flat_map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect();
        assert_eq!(fresh != learned.values(), moves, "warmup {warmup}");
    }
    // From the second task on, EMR takes more steps than there are batches; all of them count.
    let out = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(&out.path().join("run"));
    let settings = "schedule = \"linear\"\nwarmup = 0.5\nlr_encoder = 1e-3";
    stream::train(&place.request("emr", settings, folder.dir())).unwrap();
    let lines = log::read(&folder.metrics()).unwrap();
    let last = |stage| lines.iter().rfind(|line| line.stage == stage).unwrap();
    let first = last(0).step;
    let second = folder.record().unwrap().cost.unwrap().optimiser_steps - first;
    assert!(second > last(1).step, "no replay: {second} steps");
    for (stage, steps) in [(0, first), (1, second)] {
        let expected = 1e-3 / (steps as f64 / 2.0);
        let rate = last(stage).lr_encoder;
        assert!((rate / expected - 1.0).abs() < 1e-9, "task {stage}: {rate} at the last of {steps} steps");
    }
}

#[test]
fn both_heads_work_with_every_method_on_relations() {
    let place = Place::new(TaskKind::Re);
    for info in METHODS {
        let learned = |head: &str| place.learned(info.name, &format!("{SHORT}\nhead = \"{head}\""));
        let (markers, cls) = (learned("markers"), learned("cls"));
        for (learned, on_markers) in [(&markers, true), (&cls, false)] {
            let Some(values) = learned.ledger.fresh_values("network") else { continue };
            let layer = values.contains_key("head.dense.weight");
            assert_eq!(layer, on_markers && info.architecture != Architecture::Mkgformer, "{}", info.name);
            assert!(values.contains_key("head.classifier.weight"), "{}", info.name);
            assert!(!learned.predictions().is_empty() && learned.ledger.losses().iter().all(|loss| loss.is_finite()));
            assert_ne!(markers.ledger.losses(), cls.ledger.losses(), "{}: the head changes nothing", info.name);
        }
    }
}

/// Only the picture tells two rows of the same text apart, and only where pictures are shown.
#[test]
fn blank_pictures_tell_nothing() {
    for kind in KINDS {
        let place = Place::new(kind);
        for (visual, alike) in [("blank", true), ("auto", false)] {
            let learned = place.learned("concat", &format!("{SHORT}\nvisual = \"{visual}\""));
            let rows = learned.benchmark.test_rows(1).unwrap();
            let examples = learned.benchmark.tokenised(&rows, &learned.blueprint.tokenizer).unwrap();
            let other = Example { id: examples[1].id.clone(), ..examples[0].clone() };
            let batch = learned.method.learner().batch(&[&examples[0], &other]).unwrap();
            let features = learned.method.learner().forward(&batch, &mut Mode::Eval).unwrap().features;
            let gap = (features.get(0).unwrap() - features.get(1).unwrap()).unwrap().abs().unwrap();
            let gap = gap.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert_eq!(gap < 1e-6, alike, "{visual} ({kind:?}): {gap}");
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
