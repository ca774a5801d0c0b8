//! Saved models predict as the run did, appear as a whole, and follow a run that is extended.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use common::{Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::{Row, RowLabels};
use mkgc_harness::methods::registry::{self, METHODS};
use mkgc_harness::model::{ModelCard, SavedModel};
use mkgc_harness::predict::{InputFormat, Labelled, Predictor, Sentence, find_model, read};
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{self, PredictionRow};
use mkgc_harness::train::{Request, SaveModel};
use serde_json::json;

const KINDS: [Extraction; 2] = [Extraction::Relations, Extraction::Entities];

/// Trains a method and keeps networks.
fn trained(place: &Place, method: &str, save_model: SaveModel, out: &Path) {
    train(Request { save_model: Some(save_model), ..place.request(method, "epochs = 2", out) }).unwrap();
}

fn predictor(run: &Path, stage: Option<usize>, pictures: PathBuf) -> Predictor {
    let folder = find_model(run, stage).unwrap();
    let model = SavedModel::open(&folder, registry::find, &Device::Cpu, DType::F32).unwrap();
    Predictor { model, pictures }
}

/// The rows as a program would export them, one object per line with the columns of a benchmark.
fn exported(rows: &[Row]) -> Vec<Sentence> {
    let line = |row: &Row| {
        let Row { id, tokens, image_id, labels, .. } = row;
        let mut object = json!({"id": id, "tokens": tokens, "image_id": image_id});
        if let RowLabels::Relation { head, tail, .. } = labels {
            object["head"] = json!({"name": head.name, "start": head.start, "end": head.end});
            object["tail"] = json!({"name": tail.name, "start": tail.start, "end": tail.end});
        }
        object.to_string() + "\n"
    };
    let relations = matches!(rows[0].labels, RowLabels::Relation { .. });
    let kind = if relations { Extraction::Relations } else { Extraction::Entities };
    let text: String = rows.iter().map(line).collect();
    read(Path::new("rows.jsonl"), text.as_bytes(), InputFormat::Jsonl, kind).unwrap()
}

/// What the run has stored for a row, by name, and the probability that its scores give the label.
fn stored(card: &ModelCard, row: &PredictionRow) -> (Vec<String>, Option<f64>) {
    let names = row.predicted.iter().map(|label| card.dataset.labels[*label as usize].clone()).collect();
    let sum: f64 = row.scores.iter().map(|score| f64::from(*score).exp()).sum();
    let chosen = row.scores.get(row.predicted[0] as usize).map(|score| f64::from(*score).exp() / sum);
    (names, chosen)
}

fn agree(predictor: &Predictor, rows: &[Row], stored_rows: &[PredictionRow], case: &str) {
    let labelled = predictor.label(&exported(rows)).unwrap();
    assert_eq!(labelled.len(), stored_rows.len());
    for (found, row) in labelled.iter().zip(stored_rows) {
        let (names, probability) = stored(&predictor.model.card, row);
        match found {
            Labelled::Relation { id, prediction, confidence } => {
                assert_eq!((id, std::slice::from_ref(prediction)), (&row.id, names.as_slice()), "{case}");
                match confidence {
                    Some(sure) => assert!((sure - probability.unwrap()).abs() < 1e-5, "{case}: {sure} {probability:?}"),
                    None => assert!(case.starts_with("majority"), "{case}"),
                }
            }
            Labelled::Entities { id, prediction, confidence, confidences, entities, .. } => {
                assert_eq!((id, prediction), (&row.id, &names), "{case}");
                assert_eq!(confidence.is_none(), case.starts_with("majority"), "{case}");
                let path = confidence.unwrap_or(0.0);
                let whole = confidences.iter().chain(entities.iter().filter_map(|entity| entity.confidence.as_ref()));
                assert!(whole.clone().all(|sure| (path - 1e-4..=1.0).contains(sure)), "{case}: {path} {found:?}");
            }
        }
    }
}

/// Every stage of a run of `method`, predicted from its saved model, gives the stored predictions.
fn every_stage_agrees(place: &Place, method: &str, pictures: &Path) {
    let out = place.built().with_file_name(format!("run-{method}"));
    trained(place, method, SaveModel::Every, &out);
    let benchmark = place.benchmark(&place.config(method, ""));
    for stage in 0..2 {
        let predictor = predictor(&out, Some(stage), pictures.to_owned());
        assert_eq!(predictor.model.card.tasks_learned, stage + 1);
        let stored = predictions::read(&RunFolder::new(&out).predictions(stage)).unwrap();
        agree(&predictor, &benchmark.test_rows(stage).unwrap(), &stored, &format!("{method}, stage {stage}"));
    }
}

#[test]
fn every_text_method_predicts_from_its_model_as_it_did() {
    for kind in KINDS {
        let place = Place::new(kind);
        for method in METHODS.iter().filter(|method| !method.multimodal()) {
            every_stage_agrees(&place, method.name, Path::new("."));
        }
    }
}

#[test]
fn methods_of_two_streams_read_pictures_from_files() {
    for (kind, pictures) in KINDS.into_iter().zip(["raw/img_org/test", "raw/twitter2017_images"]) {
        let place = Place::new(kind);
        for method in ["concat", "lmc", "mkgformer"] {
            every_stage_agrees(&place, method, &place.built().with_file_name(pictures));
        }
        let run = place.built().with_file_name("run-concat");
        let benchmark = place.benchmark(&place.config("concat", ""));
        let mut sentences = exported(&benchmark.test_rows(0).unwrap()[..2]);
        sentences[0].tokens.extend(["and".to_owned(), "so".to_owned(), "on".to_owned()]);
        // The first sentence at fault is named, whatever the order of lengths is.
        let refusal = |sentences: &[Sentence]| {
            predictor(&run, None, PathBuf::from("nowhere")).count_cut(sentences).unwrap_err().to_string()
        };
        let error = refusal(&sentences);
        assert!(error.contains("rows.jsonl:1: no such picture: nowhere/test0"), "{error}");
        sentences[0].image = Some(PathBuf::from("."));
        let here = predictor(&run, None, PathBuf::from(".")).count_cut(&sentences).unwrap_err().to_string();
        assert!(here.contains("rows.jsonl:1: ") && here.contains("is no file"), "{here}");
        sentences.iter_mut().for_each(|sentence| sentence.image = None);
        assert!(
            refusal(&sentences).contains("rows.jsonl:1: `concat` looks at a picture of each sentence: give its path")
        );
    }
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs_err::read(path).unwrap())).collect()
}

#[test]
fn a_run_that_is_extended_ends_with_the_model_of_one_that_never_stopped() {
    let place = Place::new(Extraction::Relations);
    let out = |name: &str| place.built().with_file_name(name);
    trained(&place, "rp-cre", SaveModel::Last, &out("whole"));
    let first = place.request("rp-cre", "epochs = 2", &out("parts"));
    train(Request { tasks: Some(1), save_model: Some(SaveModel::Last), ..first }).unwrap();
    let learned = |name: &str| ModelCard::read(&out(name).join("model")).unwrap().tasks_learned;
    assert_eq!(learned("parts"), 1);
    trained(&place, "rp-cre", SaveModel::Last, &out("parts"));
    assert_eq!(learned("parts"), 2);
    assert_eq!(bytes(&out("parts/model")), bytes(&out("whole/model")));
    assert_eq!(bytes(&out("whole/model")).len(), 6);
    let left: Vec<_> = fs_err::read_dir(out("parts")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_network_that_is_gone_cannot_be_kept() {
    let place = Place::new(Extraction::Relations);
    let out = place.built().with_file_name("run");
    let request = |tasks, save_model| Request { tasks, save_model, ..place.request("vanilla", "epochs = 1", &out) };
    train(request(Some(1), None)).unwrap();
    let error = train(request(None, Some(SaveModel::Every))).unwrap_err().to_string();
    assert!(error.contains("has learned task 1 without keeping its network"), "{error}");
    train(request(None, Some(SaveModel::Last))).unwrap();
    train(request(None, Some(SaveModel::Last))).unwrap();
    let kept = find_model(&out, None).unwrap();
    assert_eq!(kept, out.join("model"));
    let error = find_model(&out, Some(0)).unwrap_err().to_string();
    assert!(error.contains("keeps no model of stage 0; train it"), "{error}");
    fs_err::remove_dir_all(kept).unwrap();
    let error = train(request(None, Some(SaveModel::Last))).unwrap_err().to_string();
    assert!(error.contains("has learned task 2 without keeping its network"), "{error}");
    assert!(find_model(&out, None).unwrap_err().to_string().contains("keeps no model; train it"));
}

#[test]
fn the_last_network_is_among_those_of_every_task() {
    let place = Place::new(Extraction::Relations);
    let out = place.built().with_file_name("run");
    trained(&place, "majority", SaveModel::Every, &out);
    trained(&place, "majority", SaveModel::Last, &out);
    assert_eq!(find_model(&out, None).unwrap(), out.join("stages/1/model"));
}

#[test]
fn a_damaged_model_is_named() {
    let place = Place::new(Extraction::Relations);
    let out = place.built().with_file_name("run");
    trained(&place, "emar-bert", SaveModel::Last, &out);
    let model = out.join("model");
    let refusal = |file: &str, bytes: &[u8]| {
        let path = model.join(file);
        let whole = fs_err::read(&path).unwrap();
        fs_err::write(&path, bytes).unwrap();
        let error = SavedModel::open(&model, registry::find, &Device::Cpu, DType::F32).err().unwrap().to_string();
        fs_err::write(&path, whole).unwrap();
        assert!(error.contains(file), "{error}");
        error
    };
    assert!(refusal("mkgc.safetensors", b"x").contains("mkgc.safetensors: is missing or damaged"));
    refusal("model.safetensors", b"x");
    refusal("config.json", b"{");
    refusal("tokenizer.json", b"{");
    assert!(refusal("mkgc.json", b"{\"schema_version\": 2}").contains("schema version 2"));
    assert!(refusal("mkgc.json", b"{}").contains("no schema_version"));
    refusal("mkgc.json", b"{\"schema_version\": 1}");
    SavedModel::open(&model, registry::find, &Device::Cpu, DType::F32).unwrap();
    fs_err::remove_file(model.join("model.safetensors")).unwrap();
    let error = SavedModel::open(&model, registry::find, &Device::Cpu, DType::F32).err().unwrap().to_string();
    assert!(error.starts_with(&format!("{}: the saved model holds no network", model.display())), "{error}");
}

#[test]
fn mentions_that_need_more_than_the_longest_input_are_found_before_anything_is_predicted() {
    let place = Place::new(Extraction::Relations);
    let out = place.built().with_file_name("run");
    trained(&place, "majority", SaveModel::Last, &out);
    let mut sentences = exported(&place.benchmark(&place.config("majority", "")).test_rows(0).unwrap()[..1]);
    let predictor = predictor(&out, None, PathBuf::from("."));
    assert_eq!(predictor.count_cut(&sentences).unwrap(), 0);
    sentences[0].tokens = vec!["ann".to_owned(); 300];
    sentences[0].mentions = Some([0..1, 250..251]);
    assert_eq!(predictor.count_cut(&sentences).unwrap(), 1);
    sentences[0].mentions = Some([0..250, 250..251]);
    let error = predictor.count_cut(&sentences).unwrap_err().to_string();
    assert!(error.contains("rows.jsonl:1: ") && error.contains("max_length"), "{error}");
}
