//! Protocols that describe their corpus, families of orders, text-only benchmarks, and splits of one's own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mkgc_builder::bio::Tags;
use mkgc_builder::build::{Allowed, BuildOptions, CorpusSource, build, build_family};
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Split, Words};
use mkgc_builder::dataset::{BenchmarkFolder, RowLabels};
use mkgc_builder::verify::verify;

const CONLL: &str = "-DOCSTART- -X- O O\n\nAnn NNP I-NP I-PER\nLee NNP I-NP I-PER\nmet VBD I-VP O\nBob NNP I-NP B-PER\n\n\
    He PRP I-NP O\nlikes VBZ I-VP O\nRome NNP I-NP I-LOC\n \nAcme NNP I-NP I-ORG\n";

fn protocol(folder: &Path, text: &str) -> String {
    let path = folder.join("protocol.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn options(folder: &Path, text: &str) -> BuildOptions {
    BuildOptions::new(protocol(folder, text), folder, folder.join("built"))
}

fn conll(folder: &Path) -> String {
    for split in ["train", "dev", "test"] {
        fs::write(folder.join(format!("{split}.conll")), CONLL).unwrap();
    }
    // The three files are the same on purpose; the rows count, not the scores.
    "name = \"mine\"\nn_tasks = 3\n[corpus]\nname = \"My corpus\"\nformat = \"conll\"\ntrain = \"train.conll\"\n\
     validation = \"dev.conll\"\ntest = \"test.conll\"\nlicense = \"CC-BY-4.0\"\nlanguage = \"nl\"\ndate = 2020-01-31\n"
        .to_owned()
}

#[test]
fn a_described_corpus_is_built_without_pictures_and_with_the_classes_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), &conll(folder.path()));
    options.allow = vec![Allowed::EqualSplits];
    build(&options).unwrap();
    assert!(verify(&options.out).unwrap().iter().all(|check| check.problem.is_none()));
    let benchmark = BenchmarkFolder::open(&options.out).unwrap();
    let manifest = benchmark.manifest();
    assert_eq!(manifest.corpus, "My corpus");
    assert!(manifest.text_only && !manifest.images);
    assert_eq!(manifest.labels, ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]);
    let rows = benchmark.rows(2, Split::Train).unwrap();
    assert_eq!(rows[0].tokens, ["Ann", "Lee", "met", "Bob"]);
    assert_eq!(rows[0].image_id, None);
    // IOB1 became BIO.
    let RowLabels::Entities { tags, .. } = &rows[0].labels else { panic!() };
    assert_eq!(tags, &[5, 6, 0, 5]);
    let schema = parquet_columns(&options.out.join("tasks/task_00_train.parquet"));
    assert_eq!(schema, ["id", "tokens", "tags", "original_tags", "owner_task"]);
    let card = fs::read_to_string(options.out.join("README.md")).unwrap();
    assert!(card.contains("- \"nl\"\n") && card.contains("cc-by-4.0") && !card.contains("multimodal"), "{card}");
}

fn parquet_columns(path: &Path) -> Vec<String> {
    let file = fs::File::open(path).unwrap();
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    builder.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn a_table_at_fault_is_named_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let text = conll(folder.path());
    for (from, to, message) in [
        ("name = \"My corpus\"", "name = \"mnre\"", "`corpus.name`: `mnre` is a known corpus"),
        ("name = \"My corpus\"\n", "", "`corpus.name`: missing"),
        ("format = \"conll\"", "format = \"connl\"", "`corpus.format`: "),
        ("train = \"train.conll\"\n", "", "`corpus.train`: missing"),
        ("train = \"train.conll\"", "train = 3", "`corpus.train`: must be a text"),
        ("train = \"train.conll\"", "train = \"../train.conll\"", "`corpus.train`: `../train.conll` leaves"),
        ("train = \"train.conll\"", "train = [\"train.conll\", \"more.conll\"]", "more.conll: no such file"),
        ("license", "licence", "`corpus.licence`: "),
        ("language = \"nl\"", "none = \"NA\"", "`corpus.none`: is for relations"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let error = build(&options(folder.path(), &changed)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(!folder.path().join("built").exists());
    }
}

/// Rows in memory: `count` sentences of one word for each type.
fn in_memory(count: usize) -> Corpus {
    let rows = |split: usize| -> Vec<Instance> {
        let kinds = ["PER", "LOC"].into_iter().flat_map(|kind| std::iter::repeat_n(kind, count));
        let row = |(number, kind): (usize, &str)| Instance {
            row: 0,
            line: 0,
            id: None,
            tokens: Words::from(vec![format!("w{split}x{number}")]),
            image: None,
            annotation: Annotation::Entities(Tags::new([format!("B-{kind}")]).unwrap()),
        };
        kinds.enumerate().map(row).collect()
    };
    Corpus::from_rows("made", Extraction::Entities, [rows(0), rows(1), rows(2)])
}

#[test]
fn a_family_has_a_folder_per_order() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"made-2\"\ncorpus = \"made\"\npublished = \"made\"\norders = [[[\"PER\"], [\"LOC\"]], [[\"LOC\"], [\"PER\"]]]\n";
    let mut options = options(folder.path(), text);
    options.corpus = CorpusSource::Rows(Box::new(in_memory(3)));
    let built = build_family(&options).unwrap();
    let names: Vec<&str> = built.iter().map(|summary| summary.manifest.name.as_str()).collect();
    assert_eq!(names, ["made-2-order1", "made-2-order2"]);
    assert_eq!(built[1].manifest.order, Some(2));
    // An export of one order does not lie in the folder of another.
    assert_eq!(built[1].manifest.published, "made-order2");
    assert_eq!(built[1].manifest.tasks[0].classes, ["LOC"]);
    assert_ne!(built[0].manifest.fingerprint, built[1].manifest.fingerprint);
    assert!(options.out.join("made-2-order2/manifest.json").is_file());
    // A member alone has the same content, and a family is not one benchmark.
    let alone = BuildOptions { order: Some(2), out: folder.path().join("alone"), ..options.clone() };
    assert_eq!(build(&alone).unwrap().manifest.fingerprint, built[1].manifest.fingerprint);
    options.out = folder.path().join("none");
    assert!(build(&options).unwrap_err().to_string().contains("there are 2 of them; build one with --order 1 to 2"));
    let none = BuildOptions { order: Some(3), out: options.out.clone(), ..alone };
    assert!(build(&none).unwrap_err().to_string().contains("there is no order 3; there are 1 to 2"));
}

#[test]
fn a_split_without_rows_is_written_but_not_configured() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"made-2\"\ncorpus = \"made\"\nn_tasks = 2\n[split]\ntest = 0.5\n";
    let mut options = options(folder.path(), text);
    options.corpus = CorpusSource::Rows(Box::new(in_memory(4)));
    build(&options).unwrap();
    let benchmark = BenchmarkFolder::open(&options.out).unwrap();
    assert!(benchmark.rows(0, Split::Validation).unwrap().is_empty());
    // Half of the twelve rows of each type, and no row in both splits.
    let ids = |split| -> BTreeSet<String> {
        let rows = (0..2).flat_map(|task| benchmark.rows(task, split).unwrap());
        rows.map(|row| row.tokens[0].clone()).collect()
    };
    assert_eq!(ids(Split::Train).len(), 12);
    assert_eq!(ids(Split::Test).len(), 12);
    assert!(ids(Split::Train).is_disjoint(&ids(Split::Test)));
    let card = fs::read_to_string(options.out.join("README.md")).unwrap();
    assert!(card.contains("split: test") && !card.contains("split: validation"), "{card}");
}

#[test]
fn a_task_without_training_rows_is_refused_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let mut corpus = in_memory(2);
    corpus.train.retain(|row| row.annotation.classes() == ["LOC"]);
    let text = "name = \"made-2\"\ncorpus = \"made\"\n[[tasks]]\nclasses = [\"LOC\"]\n[[tasks]]\nclasses = [\"PER\"]\n";
    let mut options = options(folder.path(), text);
    options.corpus = CorpusSource::Rows(Box::new(corpus));
    let error = build(&options).unwrap_err().to_string();
    let expected =
        "`tasks[1].classes`: has no training row of PER: the training file has none; validation has 2 and test 2";
    assert!(error.contains(expected), "{error}");
}
