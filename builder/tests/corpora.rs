//! Protocols that describe their corpus, families of orders, text-only benchmarks, and splits of one's own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mkgc_builder::bio::Tags;
use mkgc_builder::build::{Allowed, BuildOptions, CorpusSource, build, build_family};
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, OnError, Split, Words};
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

#[test]
fn a_class_without_training_rows_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let mut corpus = in_memory(2);
    corpus.train.retain(|row| row.annotation.classes() == ["LOC"]);
    let text = "name = \"made-1\"\ncorpus = \"made\"\nn_tasks = 1\n";
    let mut options = options(folder.path(), text);
    options.corpus = CorpusSource::Rows(Box::new(corpus));
    let warnings = build(&options).unwrap().stats.warnings;
    let expected = "class `PER` has no training row, but 2 of validation and 2 of test; mend the files, or write `drop = [\"PER\"]`";
    assert_eq!(warnings, [expected]);
}

#[test]
fn relations_of_a_list_of_ids_are_read_and_faults_named_by_record() {
    let folder = tempfile::tempdir().unwrap();
    let row = |relation: &str, end: usize| {
        format!(
            r#"{{"token": ["a", "b"], "h": {{"pos": [0, 1]}}, "t": {{"pos": [1, {end}]}}, "relation": "{relation}"}}"#
        )
    };
    let rows = |relations: &[&str]| relations.iter().map(|relation| row(relation, 2)).collect::<Vec<_>>().join(", ");
    fs::write(folder.path().join("train.json"), format!("[{}]", rows(&["x/b", "y/b", "none"]))).unwrap();
    fs::write(folder.path().join("rel2id.json"), r#"{"none": 0, "y/b": 1, "x/b": 2}"#).unwrap();
    let text = "name = \"mine\"\nn_tasks = 2\n[corpus]\nname = \"Mine\"\nformat = \"jsonl-relations\"\n\
                train = \"train.json\"\nclass_ids = \"rel2id.json\"\nnone = \"none\"\ntokens = \"token\"\n\
                head = \"h.pos\"\ntail = \"t.pos\"\nspan_end = \"exclusive\"\n";
    let manifest = build(&options(folder.path(), text)).unwrap().manifest;
    assert_eq!(manifest.labels, ["none", "y/b", "x/b"]);
    let names: Vec<&str> = manifest.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["y/b", "x/b"]);
    let error = |text: &str| {
        let options = BuildOptions { force: true, ..options(folder.path(), text) };
        build(&options).unwrap_err().to_string()
    };
    let absent = error(&text.replace("rel2id", "ids"));
    assert!(absent.contains("ids.json: no such file; it holds the ids of the classes"), "{absent}");
    let list = error(&text.replace("class_ids = \"rel2id.json\"", "classes = \"rel2id.json\""));
    assert!(list.contains("`corpus.classes`: must be a list of texts, not a text"), "{list}");
    let damaged = format!("[{}, {}, {}, {}]", row("x/b", 2), row("y/b", 9), row("y/b", 1), row("z", 2));
    fs::write(folder.path().join("train.json"), damaged).unwrap();
    let error = error(text);
    for expected in [
        "train.json:1: span [1, 9] of `t.pos` is out of range: the sentence has 2 words (spans count words, not characters) (record 2 of the file)",
        "train.json:1: span [1, 1] of `t.pos` is empty: it ends before its first word (record 3 of the file)",
        "train.json:1: unknown relation `z`",
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn labels_are_the_only_names_and_hidden_ones_are_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"mine\"\nn_tasks = 1\n[corpus]\nname = \"Mine\"\nformat = \"jsonl-relations\"\n\
                train = \"train.json\"\nspan_end = \"exclusive\"\nlabels = [\"per:title\", \"org:city\"]\n";
    for (label, message) in [
        ("\"per:titel\"", "`relation` is `per:titel`, which `labels` does not list (did you mean `per:title`?)"),
        ("-1", "`relation` is -1, which stands for a label that is not given away"),
        ("2", "`relation`: no name is known for number 2"),
    ] {
        let row = format!(r#"{{"tokens": ["a", "b"], "head": [0, 1], "tail": [1, 2], "relation": {label}}}"#);
        fs::write(folder.path().join("train.json"), row).unwrap();
        let error = build(&options(folder.path(), text)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.ends_with("\nmend the files, or leave damaged records out with --on-error skip"), "{error}");
    }
    let skipping = BuildOptions { on_error: OnError::Skip, ..options(folder.path(), text) };
    let error = build(&skipping).unwrap_err().to_string();
    let expected = "holds no intact record; expected train rows of the corpus; line 1: `relation`: no name";
    assert!(error.contains(expected) && error.ends_with("\nmend the files"), "{error}");
}

#[test]
fn what_is_no_tag_or_no_folder_stops_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let text = conll(folder.path());
    let error = |text: &str| build(&options(folder.path(), text)).unwrap_err().to_string();
    fs::write(folder.path().join("train.conll"), CONLL.repeat(10)).unwrap();
    let column = error(&text.replace("format = \"conll\"", "format = \"conll\"\ntag_column = 1"));
    let expected = "no word has the tag `O`; say where the tags are, or `scheme = \"io\"` if each of them is `O` or a type; tags were \
                    read from column 1 of 4";
    assert!(column.contains(expected), "{column}");
    let pattern = error(&text.replace("train.conll", "train*.conll"));
    assert!(pattern.contains("train*.conll: no such file (patterns are not expanded: list the files)"), "{pattern}");
    for split in ["train", "dev", "test"] {
        fs::write(folder.path().join(format!("{split}.conll")), format!("IMGID:{split}\nAnn B-PER\n")).unwrap();
    }
    let pictures = text.replace("n_tasks = 3", "n_tasks = 1") + "images = \"picturs\"\n";
    let absent = error(&pictures);
    assert!(absent.contains("picturs: no such folder, which `images` of the protocol names"), "{absent}");
}

#[test]
fn types_of_spans_are_no_tags() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"mine\"\nn_tasks = 1\n[corpus]\nname = \"Mine\"\nformat = \"jsonl-entities\"\n\
                train = \"train.json\"\nspans = \"spans\"\nspan_end = \"exclusive\"\n";
    let built = |class: &str| {
        let row = format!(r#"{{"tokens": ["a", "b"], "spans": [[0, 1, "{class}"]]}}"#);
        fs::write(folder.path().join("train.json"), row).unwrap();
        build(&options(folder.path(), text))
    };
    for class in ["O", "B-ORG", "I-ORG"] {
        let error = built(class).unwrap_err().to_string();
        assert!(
            error.contains(&format!("in `spans`: the type `{class}` is a tag; expected the type alone")),
            "{error}"
        );
    }
    assert_eq!(built("E-mail").unwrap().manifest.labels, ["O", "B-E-mail", "I-E-mail"]);
}
