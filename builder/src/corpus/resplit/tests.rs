//! Tests of splits that are dealt anew.

use super::*;
use crate::corpus::{self, Annotation, Mention, RecordCounts, Relation, Words};

/// A corpus whose training file has the given number of rows per relation, dealt in turn.
fn corpus(rows: &[(&str, usize)]) -> Corpus {
    let mention = |start: usize| Mention { name: "x".into(), start, end: start + 1 };
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let turns = (0..most).flat_map(|turn| rows.iter().filter(move |(_, count)| turn < *count));
    let train = turns.enumerate().map(|(row, (class, _))| Instance {
        row,
        line: row + 1,
        id: Some(format!("id{row}").into()),
        tokens: Words::from(vec!["a", "b"]),
        image: None,
        annotation: Annotation::Relation(Box::new(Relation {
            head: mention(0),
            tail: mention(1),
            relation: (!class.is_empty()).then(|| (*class).into()),
        })),
    });
    Corpus {
        spec: corpus::find("mnre").unwrap(),
        classes: rows.iter().map(|(class, _)| (*class).to_owned()).collect(),
        train: train.collect(),
        validation: vec![],
        test: vec![],
        notes: vec![],
        sources: vec![],
        skipped: vec![],
        records: [RecordCounts::default(); 3],
        lost: vec![],
    }
}

fn split(rule: &str, corpus: &mut Corpus) -> Result<[Vec<usize>; 3]> {
    let rule: SplitRule = toml::from_str(rule).unwrap();
    rule.check()?;
    rule.apply(corpus, Path::new("."))?;
    Ok(Split::ALL.map(|split| corpus.split(split).iter().map(|row| row.row).collect()))
}

fn of_class(corpus: &Corpus, split: Split, class: &str) -> usize {
    corpus.split(split).iter().filter(|row| row.annotation.classes() == [class]).count()
}

#[test]
fn a_fifth_up_to_a_limit_is_tested_and_up_to_a_limit_trained() {
    let mut tacred = corpus(&[("a", 500), ("b", 100), ("c", 14)]);
    split("seed = 1\ntest = { share = 0.2, at_most = 40 }\ntrain = { at_most = 320 }", &mut tacred).unwrap();
    let counts = |split| ["a", "b", "c"].map(|class| of_class(&tacred, split, class));
    assert_eq!(counts(Split::Test), [40, 20, 2]);
    assert_eq!(counts(Split::Train), [320, 80, 12]);
    assert_eq!(counts(Split::Validation), [0, 0, 0]);
    assert_eq!(tacred.notes, ["140 of 614 rows are in no split, as `[split]` says"]);
}

#[test]
fn shares_counts_and_rows_without_a_class_are_dealt_alike() {
    let mut mixed = corpus(&[("a", 100), ("", 10)]);
    let rows = split("test = 0.29\nvalidation = 3", &mut mixed).unwrap();
    assert_eq!(rows.each_ref().map(Vec::len), [68 + 5, 3 + 3, 29 + 2]);
    assert!(rows.iter().all(|rows| rows.is_sorted()));
    // Without a seed, tests are the first rows of a class.
    assert_eq!(rows[2][..4], [0, 1, 2, 3]);
}

#[test]
fn a_seed_shuffles_each_class_on_its_own() {
    let dealt = |seed: u64, classes: &[(&str, usize)]| {
        split(&format!("seed = {seed}\ntest = 0.5"), &mut corpus(classes)).unwrap()
    };
    assert_eq!(dealt(1, &[("a", 40)]), dealt(1, &[("a", 40)]));
    assert_ne!(dealt(1, &[("a", 40)]), dealt(2, &[("a", 40)]));
    let mut alone = corpus(&[("a", 40)]);
    let mut beside = corpus(&[("a", 40), ("b", 7)]);
    split("seed = 1\ntest = 0.5", &mut alone).unwrap();
    split("seed = 1\ntest = 0.5", &mut beside).unwrap();
    let place = |corpus: &Corpus| -> Vec<usize> {
        let mut of_a: Vec<(usize, Split)> = Vec::new();
        for split in Split::ALL {
            let rows = corpus.split(split).iter().filter(|row| row.annotation.classes() == ["a"]);
            of_a.extend(rows.map(|row| (row.row, split)));
        }
        of_a.sort();
        of_a.iter().enumerate().filter(|(_, (_, split))| *split == Split::Test).map(|(place, _)| place).collect()
    };
    assert_eq!(place(&alone), place(&beside));
}

#[test]
fn lists_of_rows_are_followed_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let rule = SplitRule {
        seed: None,
        train: None,
        validation: None,
        test: None,
        keep: vec![],
        rows: Some(RowLists { train: "train.ids".into(), validation: None, test: Some("test.ids".into()) }),
    };
    let write = |train: &str, test: &str| {
        std::fs::write(folder.path().join("train.ids"), train).unwrap();
        std::fs::write(folder.path().join("test.ids"), test).unwrap();
        let mut corpus = corpus(&[("a", 4)]);
        rule.apply(&mut corpus, folder.path()).map(|()| Split::ALL.map(|split| corpus.split(split).len()))
    };
    assert_eq!(write("id0\r\nid3\n\n", "id1\n").unwrap(), [2, 0, 1]);
    assert!(write("id0\n", "id9\n").unwrap_err().to_string().contains("test.ids:1: the corpus has no row `id9`"));
    assert!(write("id0\n", "id1\nid0").unwrap_err().to_string().contains("test.ids:2: row `id0` is listed twice"));
    let mut twins = corpus(&[("a", 4)]);
    twins.train[3].id = twins.train[0].id.clone();
    let error = rule.apply(&mut twins, folder.path()).unwrap_err().to_string();
    assert!(error.contains("two rows have the id `id0`"), "{error}");
    std::fs::remove_file(folder.path().join("test.ids")).unwrap();
    let error = rule.apply(&mut corpus(&[("a", 4)]), folder.path()).unwrap_err().to_string();
    assert!(error.contains("test.ids: no such file; `split.rows.test` names it"), "{error}");
}

#[test]
fn numbers_in_lists_count_the_damaged_records_that_were_left_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.ids"), "2\n4\n").unwrap();
    let mut damaged = corpus(&[("a", 4)]);
    damaged.train.remove(1);
    damaged.records[0] = RecordCounts { read: 4, skipped: 1 };
    damaged.test = corpus(&[("a", 1)]).train;
    damaged.records[2] = RecordCounts { read: 1, skipped: 0 };
    damaged.train.iter_mut().chain(&mut damaged.test).for_each(|row| row.id = None);
    let rule: SplitRule = toml::from_str("rows = { train = \"train.ids\" }").unwrap();
    rule.apply(&mut damaged, folder.path()).unwrap();
    assert_eq!(damaged.train.iter().map(|row| row.row).collect::<Vec<_>>(), [2, 4]);
    // The lines are those of the files.
    assert_eq!(damaged.train.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn keys_that_do_not_agree_are_refused() {
    for (rule, message) in [
        ("seed = 1", "`split`: missing"),
        ("test = 1.5", "`split.test`: a share must lie between 0 and 1"),
        ("test = -1", "`split.test`: a share must lie between 0 and 1"),
        ("test = 2\n[rows]\ntrain = \"x\"", "`split.rows`: lists stand beside amounts"),
    ] {
        let error = split(rule, &mut corpus(&[("a", 1)])).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_test_file_is_dealt_or_kept_as_the_rule_says() {
    let tested = || {
        let mut all = corpus(&[("a", 20)]);
        all.test = all.train.split_off(12);
        all
    };
    let [train, validation, test] = split("validation = 0.25\nkeep = [\"test\"]", &mut tested()).unwrap();
    assert_eq!([train.len(), validation.len(), test.len()], [9, 3, 8]);
    assert!(test.iter().all(|row| *row >= 12), "{test:?}");
    let all = split("validation = 0.25\ntest = 0.5", &mut tested()).unwrap();
    assert_eq!(all.map(|rows| rows.len()), [5, 5, 10]);
    let error = |rule: &str| split(rule, &mut tested()).unwrap_err().to_string();
    assert!(error("validation = 0.25").contains("leaves no test row, although the corpus has a test file"));
    assert!(error("test = 1\nkeep = [\"test\"]").contains("names `test`, which has an amount, too"));
    assert!(error("test = 1\nkeep = [\"train\"]").contains("names `train`, whose rows are those to deal"));
    assert!(error("rows = { train = \"x\" }\nkeep = [\"test\"]").contains("lists stand beside amounts, `keep`"));
}
