//! What must hold of the methods whatever the numbers: switches that switch, plain counterparts met to the bit, edge
//! cases that are defined.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Tensor};
use common::{Learned, Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::config::Config;
use mkgc_harness::data::{Example, Task};
use mkgc_harness::learner::{Architecture, Learner};
use mkgc_harness::methods::lmc::Teacher;
use mkgc_harness::methods::{Keeps, METHODS, names};
use mkgc_harness::run::predictions::{self, PredictionRow};
use mkgc_harness::run::{RunFolder, log};
use mkgc_models::inputs::Stream;
use mkgc_models::losses::distillation::{
    Pooling, attention_distillation, attention_distillation_released, pool, pool_released,
};
use mkgc_models::mode::Mode;
use mkgc_models::networks::Key;

const KINDS: [Extraction; 2] = [Extraction::Relations, Extraction::Entities];

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
    let place = Place::new(Extraction::Relations);
    let with = |method: &str, lambda: &str| place.learned(method, &format!("lambda = {lambda}\nnoise = false"));
    let of_lmc = difference(&with("lmc", "0.0"), &with("lmc", "20.0"));
    assert!(of_lmc > 1e-3, "{of_lmc}");
    let (off, on) = (with("lmc-released", "0.0"), with("lmc-released", "20.0"));
    assert!(off.values() == on.values(), "the released distillation must have no gradient");
    assert_ne!(off.trace.losses(), on.trace.losses(), "its value is counted in the loss all the same");
}

#[test]
fn the_shared_key_changes_lmc_but_not_what_its_code_computes() {
    let place = Place::new(Extraction::Relations);
    for (method, matters) in [("lmc", true), ("lmc-released", false)] {
        let (before, after) = (place.learned(method, ""), place.learned(method, ""));
        let params = after.method.learner().unwrap().params();
        let mut values = params.tensors().unwrap();
        let name = values.keys().find(|name| name.starts_with("shared.key.")).unwrap().clone();
        let key = &values[&name];
        values.insert(name, (key * -3.0).unwrap());
        params.load(&values).unwrap();
        let difference = difference(&before, &after);
        assert_eq!(difference > 1e-3, matters, "{method}: {difference}");
    }
}

#[test]
fn noise_modulation_and_pooling_are_switches() {
    let place = Place::new(Extraction::Relations);
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
        equal("fea", "memory_epochs = 0", "vanilla", "");
        equal("lmc-replay", "", "lmc", "lambda = 0.0\nalpha = 0.0\nshared_layers = 0\nkey = \"own\"");
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

/// The distillation of one stream with a teacher that sees the student's own batch.
fn fresh(config: &Config, stream: Stream, student: &[Tensor], teacher: &[Tensor], mask: &Tensor) -> f32 {
    let value = |loss: Tensor| loss.to_scalar::<f32>().unwrap();
    if config.key != Key::Released {
        let [student, teacher] = [student, teacher].map(|maps| pool(maps, mask, config.pooling).unwrap());
        return value(attention_distillation(&student, &teacher, mask, config.pooling).unwrap());
    }
    let [student, teacher] = [student, teacher].map(|maps| pool_released(maps, mask, stream, config.pooling).unwrap());
    let pairs = student.iter().zip(&teacher);
    pairs.map(|(student, teacher)| value(attention_distillation_released(student, teacher, stream).unwrap())).sum()
}

#[test]
fn a_kept_teacher_says_what_a_fresh_one_would() {
    const POOLINGS: [Pooling; 4] = [Pooling::Width, Pooling::Height, Pooling::Both, Pooling::None];
    let described = POOLINGS.map(|pooling| ("lmc", pooling));
    // The released code distils nothing without pooling.
    let released = POOLINGS[..3].iter().map(|pooling| ("lmc-released", *pooling));
    let cases: Vec<_> = described.into_iter().chain(released).collect();
    for kind in KINDS {
        let place = Place::new(kind);
        for (method, pooling) in cases.iter().copied() {
            let mut config = place.config(method, "");
            config.pooling = pooling;
            let (spec, benchmark) = (place.spec(method, &config), place.benchmark(&config));
            let teacher = Learner::new(&spec, &config, 1).unwrap();
            let student = Learner::new(&spec, &config, 2).unwrap();
            let rows = benchmark.training(1, &spec.tokenizer).unwrap();
            let kept = Teacher::new(&teacher, &rows, &config).unwrap().unwrap();
            // Another composition of the batch than the teacher was shown.
            let batch: Vec<&Example> = rows.iter().rev().step_by(2).collect();
            let batch = student.batch(&batch).unwrap();
            let forward = student.forward(&batch, &mut Mode::Eval).unwrap();
            let ours = kept.distillation(&forward, &batch).unwrap().to_scalar::<f32>().unwrap();
            let before = teacher.forward(&batch, &mut Mode::Eval).unwrap();
            let seen = Tensor::ones((batch.examples.len(), 5), DType::U32, student.device()).unwrap();
            let expected = fresh(&config, Stream::Text, &forward.text_maps, &before.text_maps, &batch.mask)
                + fresh(&config, Stream::Vision, &forward.vision_maps, &before.vision_maps, &seen);
            assert!((ours / expected - 1.0).abs() < 1e-5, "{method} {pooling:?}: {ours} kept, {expected} fresh");
            assert!(ours > 1e-4, "{method} {pooling:?}: {ours}");
            if method == "lmc" {
                let of_itself = kept.distillation(&before, &batch).unwrap().to_scalar::<f32>().unwrap();
                assert!(of_itself < 1e-9, "{pooling:?}: {of_itself} from itself");
            }
        }
    }
}

#[test]
fn the_first_step_of_a_warm_up_moves_nothing_and_the_log_says_which_rate_was_used() {
    let place = Place::new(Extraction::Relations);
    let single = "epochs = 1\nbatch_size = 1000\nschedule = \"linear\"";
    for (warmup, moves) in [("0.5", false), ("0.0", true)] {
        let learned = place.learned("vanilla", &format!("{single}\nwarmup = {warmup}\nweight_decay = 0.1"));
        let fresh = learned.trace.fresh_values("network").unwrap();
        let fresh: Vec<f32> = fresh.values().flat_map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect();
        assert_eq!(fresh != learned.values(), moves, "warmup {warmup}");
    }
    // From the second task on, EMR takes more steps than there are batches; all of them count.
    let out = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(&out.path().join("run"));
    let settings = "schedule = \"linear\"\nwarmup = 0.5\nlr_encoder = 1e-3";
    train(place.request("emr", settings, folder.dir())).unwrap();
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
    let place = Place::new(Extraction::Relations);
    for info in METHODS {
        let learned = |head: &str| place.learned(info.name, &format!("{SHORT}\nhead = \"{head}\""));
        let (markers, cls) = (learned("markers"), learned("cls"));
        for (learned, on_markers) in [(&markers, true), (&cls, false)] {
            let Some(values) = learned.trace.fresh_values("network") else { continue };
            let layer = values.contains_key("head.dense.weight");
            assert_eq!(layer, on_markers && info.architecture != Architecture::Mkgformer, "{}", info.name);
            assert!(values.contains_key("head.classifier.weight"), "{}", info.name);
            assert!(!learned.predictions().is_empty() && learned.trace.losses().iter().all(|loss| loss.is_finite()));
            assert_ne!(markers.trace.losses(), cls.trace.losses(), "{}: the head changes nothing", info.name);
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
            let examples = learned.benchmark.tokenised(&rows, &learned.spec.tokenizer).unwrap();
            let other = Example { id: examples[1].id.clone(), ..examples[0].clone() };
            let batch = learned.method.learner().unwrap().batch(&[&examples[0], &other]).unwrap();
            let features = learned.method.learner().unwrap().forward(&batch, &mut Mode::Eval).unwrap().features;
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
                assert!(!prediction.labels.is_empty() || kind == Extraction::Entities, "{method}");
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
        if task.seen.task == 1 {
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
    let place = Place::new(Extraction::Relations);
    for method in names() {
        let learned = place.learned(method, SHORT);
        let rows = learned.benchmark.test_rows(1).unwrap();
        let examples = learned.benchmark.tokenised(&rows, &learned.spec.tokenizer).unwrap();
        let batch = learned.spec.batch(&examples.iter().collect::<Vec<_>>()).unwrap();
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

/// What each stream says alone comes from the same forward pass as what the network says.
#[test]
fn an_answer_is_the_prediction_and_its_halves_are_the_streams() {
    for kind in KINDS {
        let place = Place::new(kind);
        for info in METHODS {
            let learned = place.learned(info.name, SHORT);
            let rows = learned.benchmark.test_rows(1).unwrap();
            let examples = learned.benchmark.tokenised(&rows, &learned.spec.tokenizer).unwrap();
            // A method without a network has no halves.
            let Some(learner) = learned.method.learner() else { continue };
            let seen = learned.benchmark.seen(1);
            let batch = learner.batch(&examples.iter().collect::<Vec<_>>()).unwrap();
            let answers = learned.method.answer(&batch, &seen).unwrap();
            let joint: Vec<_> = answers.iter().map(|answer| answer.joint.clone()).collect();
            assert_eq!(joint, learned.method.predict(&batch, &seen).unwrap(), "{} ({kind:?})", info.name);
            let halves = answers.iter().map(|answer| [&answer.text, &answer.vision].map(Clone::clone));
            let halves: Vec<[Vec<u32>; 2]> = halves.collect();
            if !learner.two_streams() {
                assert!(halves.iter().flatten().all(Vec::is_empty), "{}", info.name);
                continue;
            }
            let features = learner.forward(&batch, &mut Mode::Eval).unwrap().features;
            let (text, vision) = learner.stream_scores(&features).unwrap();
            let decided = [text, vision].map(|scores| learner.decide(&scores, &batch, &seen.allowed).unwrap());
            for (row, [text, vision]) in halves.iter().enumerate() {
                assert_eq!([text, vision], [&decided[0][row].labels, &decided[1][row].labels], "{}", info.name);
            }
        }
    }
}

/// LMC logs ρ and κ of every step, other methods of two streams ρ of the first and every fiftieth batch of a phase.
#[test]
fn the_balance_of_two_streams_is_logged_and_what_they_say_is_stored() {
    let place = Place::new(Extraction::Entities);
    let folder = tempfile::tempdir().unwrap();
    let run = |method: &str, settings: &str| {
        let out = folder.path().join(format!("{method}{}", settings.len()));
        let result = train(place.request(method, settings, &out)).unwrap();
        let lines = log::read(&out.join("metrics.jsonl")).unwrap();
        let steps =
            |name: &str| -> usize { lines.iter().filter_map(|line| line.scalars.get(name)).map(Vec::len).sum() };
        let counts = ["rho", "kappa_text", "kappa_vision"].map(steps);
        (result, counts, lines.iter().map(|line| line.scalars.get("rho").cloned()).collect::<Vec<_>>())
    };
    let (result, [rho, text, vision], _) = run("lmc", "");
    let record = RunFolder::new(&folder.path().join("lmc0")).record().unwrap();
    assert_eq!([rho, text, vision], [record.cost.unwrap().optimiser_steps; 3]);
    assert_eq!(result.halves.len(), 2);
    assert!(result.continual["vision_half_forgetting_chaudhry18"].number().is_some());
    let words = |row: &PredictionRow| (row.predicted.len(), row.text.len(), row.vision.len());
    let rows = predictions::read(&RunFolder::new(&folder.path().join("lmc0")).predictions(1)).unwrap();
    assert!(rows.iter().all(|row| words(row) == (row.gold.len(), row.gold.len(), row.gold.len())));
    for (method, settings) in [("concat-replay", ""), ("lmc", "alpha = 0.0")] {
        let (_, counts, ratios) = run(method, settings);
        let measured: Vec<(usize, f32)> = ratios.into_iter().flatten().flatten().collect();
        assert!(measured.len() >= 2 && measured[0].0 == 1, "{method}: {measured:?}");
        assert!(measured.iter().all(|(_, ratio)| *ratio > 0.0), "{method}: {measured:?}");
        assert_eq!(counts, [measured.len(), 0, 0], "{method}");
    }
    let (result, counts, _) = run("emr", "");
    assert!(result.halves.is_empty() && counts == [0; 3]);
}

#[test]
fn memory_is_charged_and_bounded() {
    for kind in KINDS {
        let place = Place::new(kind);
        for info in METHODS.iter().filter(|info| info.keeps != Keeps::AllRows) {
            let learned = place.learned(info.name, SHORT);
            let Some(memory) = learned.method.memory() else {
                assert!(!info.rehearses(), "{} rehearses but shows no memory", info.name);
                continue;
            };
            assert!(info.rehearses(), "{}", info.name);
            let budget = learned.config.memory_per_class;
            // `None` belongs to both tasks and is stored for each; a sentence may hold two types.
            for (class, stored) in memory.by_class(learned.benchmark.manifest()) {
                let times = if class == "None" || kind == Extraction::Entities { 2 } else { 1 };
                assert!(stored > 0 && stored <= times * budget, "{}: {stored} rows of {class}", info.name);
            }
        }
    }
}

/// The variables of a network by name, flat.
fn variables(learned: &Learned) -> BTreeMap<String, Vec<f32>> {
    let tensors = learned.method.learner().unwrap().params().tensors().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.flatten_all().unwrap().to_vec1().unwrap())).collect()
}

/// Of the values of a variable in a network of `labels` labels, which belong to `old` labels alone; all of an encoder's.
fn frozen(name: &str, place: usize, size: usize, old: &[bool]) -> bool {
    let labels = old.len();
    match name {
        "head.crf.transitions" => old[place / labels] && old[place % labels],
        "head.classifier.weight" | "head.emission.weight" => old[place / (size / labels)],
        "head.crf.start_transitions" | "head.crf.end_transitions" => old[place],
        _ => true,
    }
}

#[test]
fn what_seq_star_freezes_does_not_change_by_a_bit_and_the_rest_learns() {
    // Decay and moments would move what has no gradient.
    let settings = "weight_decay = 0.1\nclip_norm = 0.5";
    for kind in KINDS {
        let place = Place::new(kind);
        let (first, second) = (place.begun("seq-star", settings), place.learned("seq-star", settings));
        let (before, after) = (variables(&first), variables(&second));
        let old = second.benchmark.seen(0).allowed;
        let mut moved = BTreeSet::new();
        for (name, values) in &after {
            let changed = values.iter().zip(&before[name]).map(|(after, before)| after.to_bits() != before.to_bits());
            for (at, _) in changed.enumerate().filter(|(_, changed)| *changed) {
                assert!(!frozen(name, at, values.len(), &old), "{kind:?}: {name}[{at}] moved");
                moved.insert(name.as_str());
            }
        }
        let learns: &[&str] = match kind {
            Extraction::Relations => &["head.classifier.weight"],
            Extraction::Entities => &[
                "head.crf.end_transitions",
                "head.crf.start_transitions",
                "head.crf.transitions",
                "head.emission.weight",
            ],
        };
        assert!(moved.iter().eq(learns), "{kind:?}: {moved:?}");
    }
}

#[test]
fn sentences_without_an_entity_are_stored_where_asked_for_and_shown_where_they_say_something() {
    let place = Place::new(Extraction::Entities);
    // Every fourth sentence loses its entities.
    let emptied = |mut task: Task| {
        for row in task.train.iter_mut().step_by(4) {
            row.gold.fill(0);
        }
        task
    };
    for selection in ["kmeans", "random"] {
        let learned = |further: &str| {
            let settings = format!("{SHORT}\nmemory_per_class = 2\nselection = \"{selection}\"\n{further}");
            place.learned_with("emr", &settings, emptied).unwrap()
        };
        let (with, without) = (learned(""), learned("memory_outside = false"));
        let counts = |learned: &Learned| {
            let memory = learned.method.memory().unwrap();
            (memory.rows().len(), memory.by_class(learned.benchmark.manifest()).get("O").copied())
        };
        assert_eq!(counts(&without).1, None, "{selection}");
        assert_eq!(counts(&with), (counts(&without).0 + 4, Some(4)), "two of each task ({selection})");
        let ids = |learned: &Learned| learned.method.memory().unwrap().ids();
        let (with, without) = (ids(&with), ids(&without));
        assert!(with[0].starts_with(&without[0]), "the others are drawn as without them");
    }
    for (reading, shown) in [("mask", false), ("keep", true)] {
        let settings = format!("{SHORT}\nmemory_per_class = 2\nreplay_o = \"{reading}\"");
        let replayed = replayed(&place.learned_with("emr", &settings, emptied).unwrap());
        assert!(!replayed.is_empty() && replayed.iter().any(|gold| gold.iter().all(|tag| *tag == 0)) == shown);
        assert!(!replayed.iter().any(|gold| gold.iter().all(|tag| *tag == -1)), "a sentence that says nothing");
    }
}

/// The events of the trace.
fn events(learned: &Learned) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    learned.trace.write(folder.path(), serde_json::json!({})).unwrap();
    let case = fs_err::read_to_string(folder.path().join("case.json")).unwrap();
    let case: serde_json::Value = serde_json::from_str(&case).unwrap();
    case["trace"].as_array().unwrap().clone()
}

/// The ids of the rows of a step.
fn ids(step: &serde_json::Value) -> BTreeSet<String> {
    step["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// The labels of every row of every replay step, -1 where one is not known.
fn replayed(learned: &Learned) -> Vec<Vec<i64>> {
    let events = events(learned);
    let steps = events.iter().filter(|entry| entry["phase"] == "replay");
    let rows = steps.flat_map(|step| step["rows"].as_array().unwrap());
    rows.map(|row| serde_json::from_value(row["gold"].clone()).unwrap()).collect()
}

#[test]
fn a_lambda_chosen_from_a_grid_is_that_lambda_given() {
    for kind in KINDS {
        let place = Place::new(kind);
        let chosen = place.learned("ewc", "ewc_grid = [20.0, 50.0, 1000.0]");
        let choice = chosen.method.choice().unwrap().clone();
        let tried: Vec<f64> = choice.scores.iter().map(|score| score.lambda).collect();
        let (grid, beyond) = tried.split_at(chosen.config.ewc_grid.len());
        assert_eq!(grid, chosen.config.ewc_grid);
        assert!(tried[grid.len() - 1..].windows(2).all(|pair| pair[1] == 10.0 * pair[0]), "{beyond:?}");
        // On six rows, one standard error is a fifth: the search goes beyond the grid, and ends where it has to.
        let open = |tried: usize| {
            let scores = &choice.scores[..tried];
            let best = scores.iter().map(|score| score.micro_f1).fold(0.0, f64::max);
            let last = &scores[tried - 1];
            let near = last.micro_f1 >= best - (best * (1.0 - best) / 6.0).sqrt();
            last.micro_f1 > 0.0 && near && last.lambda < 1e12
        };
        assert!(!beyond.is_empty(), "nothing is tried beyond the grid: {:?}", choice.scores);
        assert!((grid.len()..tried.len()).all(open) && !open(tried.len()), "{:?}", choice.scores);
        let best = choice.scores.iter().map(|score| score.micro_f1).fold(0.0, f64::max);
        let smallest = choice.scores.iter().find(|score| score.micro_f1 == best).unwrap();
        assert_eq!((choice.lambda, choice.validation_rows), (smallest.lambda, 6), "{:?}", choice.scores);
        let given = place.learned("ewc", &format!("ewc_grid = []\newc_lambda = {:?}", choice.lambda));
        assert!(given.method.choice().is_none());
        assert!(chosen.values() == given.values(), "{kind:?}: trials leave traces");
        assert_eq!(chosen.predictions(), given.predictions());
        let of_second_task = (chosen.trace.losses().len() - given.trace.losses().len()) / (tried.len() - 1);
        let (steps, tuning) = (chosen.trace.steps, chosen.trace.tuning_steps);
        assert_eq!((steps, tuning), (given.trace.steps, of_second_task * (tried.len() - 1)));
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
        let events = events(&learned);
        let of = |phase: &str| events.iter().filter(|entry| entry["phase"] == phase).collect::<Vec<_>>();
        let stored: BTreeSet<String> = learned.method.memory().unwrap().ids()[0].iter().cloned().collect();
        assert!(stored.len() > learned.config.batch_size, "the memory should be more than a batch");
        let replayed = of("replay");
        assert!(!replayed.is_empty() && replayed.iter().all(|entry| ids(entry) == stored));
        assert_eq!(learned.trace.steps, replayed.len() + of("current").len());
    }
}

#[test]
fn a_concatenated_step_of_emr_is_on_the_batch_and_stored_rows() {
    let place = Place::new(Extraction::Relations);
    let learned = place.learned("emr", &format!("{SHORT}\nreplay = \"concat\""));
    assert_eq!(learned.trace.steps, place.learned("vanilla", SHORT).trace.steps, "one step for each batch");
    let stored: BTreeSet<String> = learned.method.memory().unwrap().ids()[0].iter().cloned().collect();
    let events = events(&learned);
    let steps: Vec<_> = events.iter().filter(|entry| entry["event"] == "step").collect();
    let first = place.begun("vanilla", SHORT).trace.steps;
    assert!(steps[..first].iter().all(|step| step["rows"].as_array().unwrap().len() <= learned.config.batch_size));
    for step in &steps[first..] {
        assert!(ids(step).intersection(&stored).count() >= learned.config.batch_size.min(stored.len()), "{step}");
    }
}

/// In the first of two tasks `seen` leaves out the labels of the second, in the second `current` those of the first.
#[test]
fn the_softmax_runs_over_the_labels_that_the_setting_names() {
    let place = Place::new(Extraction::Relations);
    let losses = |softmax: &str| place.learned("vanilla", &format!("{SHORT}\nsoftmax = \"{softmax}\"")).trace.losses();
    let [seen, all, current] = ["seen", "all", "current"].map(losses);
    let first = place.begun("vanilla", SHORT).trace.losses().len();
    assert!(all[0] > seen[0], "more labels compete, so the same network has a larger loss");
    assert_eq!(current[..first], seen[..first]);
    assert!(current[first] < seen[first]);
}
