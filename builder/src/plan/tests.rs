//! For any corpus and protocol, the plan loses no row and deals none twice.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::bio::Tags;
use crate::corpus::{self, Annotation, Instance, Mention, RecordCounts, Relation, Split, Words};

const RELATIONS: [&str; 6] = ["/a", "/b", "/c", "/d", "/e", "/f"];
const TYPES: [&str; 4] = ["PER", "LOC", "ORG", "MISC"];

fn corpus(name: &str, classes: &[&str], rows: impl Fn(Split) -> Vec<Annotation>) -> Corpus {
    let instances = |split| {
        let numbered = rows(split).into_iter().enumerate();
        let tokens = Words::from(vec!["x"; 4]);
        numbered
            .map(|(row, annotation)| Instance {
                id: None,
                row,
                line: row + 1,
                tokens: tokens.clone(),
                image: Some(format!("{row}.jpg").into()),
                annotation,
            })
            .collect()
    };
    Corpus {
        spec: corpus::find(name).unwrap(),
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        train: instances(Split::Train),
        validation: instances(Split::Validation),
        test: instances(Split::Test),
        notes: vec![],
        sources: vec![],
        skipped: vec![],
        records: [RecordCounts::default(); 3],
        lost: vec![],
    }
}

/// A corpus of relation rows, the same in every split, by the ids of their relations; 0 is no relation.
fn relations(ids: &[usize]) -> Corpus {
    corpus("mnre", &RELATIONS, |_| ids.iter().copied().map(relation).collect())
}

fn relation(id: usize) -> Annotation {
    let mention = |start| Mention { name: "x".into(), start, end: start + 1 };
    let relation = id.checked_sub(1).map(|id| RELATIONS[id].into());
    Annotation::Relation(Box::new(Relation { head: mention(0), tail: mention(1), relation }))
}

/// A corpus of sentences, the same in every split, by the ids of their words' types; 0 is `O`.
fn sentences(rows: &[Vec<usize>]) -> Corpus {
    corpus("twitter2017", &TYPES, |_| rows.iter().map(|ids| sentence(ids)).collect())
}

fn sentence(ids: &[usize]) -> Annotation {
    let tag = |id: &usize| id.checked_sub(1).map_or("O".to_owned(), |id| format!("B-{}", TYPES[id]));
    Annotation::Entities(Tags::new(ids.iter().map(tag)).unwrap())
}

fn indices(rows: &[PlannedRow]) -> Vec<usize> {
    rows.iter().map(|row| row.index).collect()
}

proptest! {
    #[test]
    fn relation_rows_are_dealt_once_and_tests_accumulate(
        ids in prop::collection::vec(0usize..7, 1..120), n_tasks in 1usize..=6, order_seed in 0u64..1000,
    ) {
        // Every relation trains somewhere.
        let all: Vec<usize> = ids.iter().copied().chain(1..7).collect();
        let corpus = relations(&all);
        let text = format!("name = \"p\"\ncorpus = \"mnre\"\nn_tasks = {n_tasks}\norder_seed = {order_seed}\n");
        let plan = plan(&corpus, &Protocol::parse(&text).unwrap(), false).unwrap();
        prop_assert_eq!(plan.tasks.len(), n_tasks);
        prop_assert_eq!(plan.labels.names().len(), 7);
        let train: Vec<usize> = plan.tasks.iter().flat_map(|task| indices(&task.train)).collect();
        prop_assert_eq!(train.len(), all.len());
        prop_assert_eq!(train.iter().collect::<BTreeSet<_>>().len(), all.len());
        for (k, pair) in plan.tasks.windows(2).enumerate() {
            let before: BTreeSet<usize> = indices(&pair[0].test).into_iter().collect();
            let after: BTreeSet<usize> = indices(&pair[1].test).into_iter().collect();
            prop_assert!(before.is_subset(&after));
            prop_assert!(pair[1].test.iter().all(|row| row.owner_task.unwrap() <= k + 1));
        }
        prop_assert_eq!(plan.tasks[n_tasks - 1].test.len(), all.len());
    }

    #[test]
    fn sentences_have_one_owner_and_masks_hide_other_types(
        rows in prop::collection::vec(prop::collection::vec(0usize..5, 4), 1..60), masking in 0usize..3,
    ) {
        let all: Vec<Vec<usize>> = rows.into_iter().chain((1..5).map(|id| vec![id, 0, 0, 0])).collect();
        let corpus = sentences(&all);
        let masking = ["current", "seen", "off"][masking];
        let text = format!(
            "name = \"p\"\ncorpus = \"twitter2017\"\nn_tasks = 4\nmasking = \"{masking}\"\npriority = [\"MISC\", \"LOC\", \"ORG\", \"PER\"]\n"
        );
        let plan = plan(&corpus, &Protocol::parse(&text).unwrap(), false).unwrap();
        let train: Vec<usize> = plan.tasks.iter().flat_map(|task| indices(&task.train)).collect();
        let with_entity = all.iter().filter(|ids| ids.iter().any(|id| *id > 0)).count();
        prop_assert_eq!(train.len(), with_entity);
        prop_assert_eq!(train.iter().collect::<BTreeSet<_>>().len(), with_entity);
        for (k, task) in plan.tasks.iter().enumerate() {
            prop_assert_eq!(task.test.len(), all.len());
            for row in &task.train {
                let annotation = &corpus.train[row.index].annotation;
                let PlannedLabels::Entities { tags, original } = plan.row_labels(k, Split::Train, annotation) else {
                    panic!()
                };
                for (tag, original) in tags.iter().zip(&original) {
                    // B-T is id 2t + 1.
                    let task_of = original.checked_sub(1).map(|id| id / 2);
                    let kept = task_of.is_some_and(|t| match masking { "current" => t == k, "seen" => t <= k, _ => true });
                    prop_assert_eq!(*tag, if kept { *original } else { 0 });
                }
            }
        }
    }
}

#[test]
fn none_rows_go_where_the_policy_says() {
    let corpus = relations(&[1, 0, 2, 0, 0, 0, 0, 0]);
    let train = |none: &str| -> Vec<Vec<usize>> {
        let text =
            format!("name = \"p\"\ncorpus = \"mnre\"\nnone = \"{none}\"\nclasses = [\"/a\", \"/b\"]\nn_tasks = 2\n");
        plan(&corpus, &Protocol::parse(&text).unwrap(), false)
            .unwrap()
            .tasks
            .iter()
            .map(|task| indices(&task.train))
            .collect()
    };
    assert_eq!(train("split"), [vec![0, 1, 3, 4], vec![2, 5, 6, 7]]);
    assert_eq!(train("all"), [vec![0, 1, 3, 4, 5, 6, 7], vec![2, 1, 3, 4, 5, 6, 7]]);
    assert_eq!(train("drop"), [vec![0], vec![2]]);
}

#[test]
fn per_task_tests_hold_what_the_task_owns() {
    let corpus = relations(&[1, 0, 2, 0]);
    let text = "name = \"p\"\ncorpus = \"mnre\"\ntests = \"per-task\"\nclasses = [\"/b\", \"/a\"]\nn_tasks = 2\n";
    let plan = plan(&corpus, &Protocol::parse(text).unwrap(), false).unwrap();
    assert_eq!(plan.tasks.iter().map(|task| indices(&task.test)).collect::<Vec<_>>(), [[2, 1], [0, 3]]);
}

#[test]
fn wrong_protocols_are_refused_with_their_key() {
    let corpus = relations(&[0, 1, 2, 3, 4, 5, 6]);
    let abc = "[[tasks]]\nclasses = [\"/a\", \"/b\", \"/c\"]\n";
    for (text, key, message) in [
        (format!("{abc}[[tasks]]\nclasses = [\"/a\"]\n"), "tasks[1].classes", "class `/a` is already in task 0"),
        (format!("{abc}[[tasks]]\nclasses = [\"/x\"]\n"), "tasks[1].classes", "unknown class `/x`"),
        (format!("{abc}[[tasks]]\nclasses = []\n"), "tasks[1].classes", "is empty"),
        (format!("drop = [\"/d\", \"/e\"]\n{abc}"), "tasks", "class `/f` (3 rows) is in no task"),
        (format!("drop = [\"/a\", \"/d\", \"/e\", \"/f\"]\n{abc}"), "tasks[0].classes", "also in `drop`"),
        (format!("drop = [\"/y\"]\n{abc}"), "drop[0]", "unknown class"),
        (format!("n_tasks = 2\n{abc}"), "tasks", "give one or the other"),
        ("n_tasks = 9\n".to_owned(), "n_tasks", "9 tasks of 6 classes"),
        ("n_tasks = 0\n".to_owned(), "n_tasks", "at least 1"),
        ("order_seed = 1\n".to_owned(), "n_tasks", "missing"),
        (format!("masking = \"seen\"\n{abc}"), "masking", "is for entity tags"),
        (format!("taskz = 1\n{abc}"), "taskz", "line 3: unknown key `taskz` (did you mean `tasks`?)"),
        (format!("none = \"some\"\n{abc}"), "none", "unknown value `some`"),
    ] {
        let parsed = Protocol::parse(&format!("name = \"p\"\ncorpus = \"mnre\"\n{text}"));
        let error = parsed.and_then(|protocol| plan(&corpus, &protocol, false)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("protocol: `{key}`: ")) && error.contains(message), "{error}");
    }
    let error = corpus::find("mnrre").unwrap_err();
    assert!(
        error.contains(
            "unknown corpus `mnrre` (did you mean `mnre`?); known: mnre, twitter2015, twitter2017, fewrel, tacred"
        ),
        "{error}"
    );
    let error = Protocol::load("mnre-100").unwrap_err().to_string();
    assert!(error.contains("did you mean `mnre-10`?"), "{error}");
    let ner = "name = \"p\"\ncorpus = \"twitter2017\"\nn_tasks = 4\npriority = [\"PER\"]\n";
    let corpus = sentences(&[vec![1], vec![2], vec![3], vec![4]]);
    let error = plan(&corpus, &Protocol::parse(ner).unwrap(), false).unwrap_err().to_string();
    assert!(error.contains("`priority`: must list each class once"), "{error}");
}

#[test]
fn an_order_seed_always_gives_the_same_order() {
    let corpus = relations(&[0, 1, 2, 3, 4, 5, 6]);
    let order = |seed: u64| {
        let text = format!("name = \"p\"\ncorpus = \"mnre\"\nn_tasks = 3\norder_seed = {seed}\n");
        plan(&corpus, &Protocol::parse(&text).unwrap(), false).unwrap().labels.names().to_vec()
    };
    assert_eq!(order(7), order(7));
    // Pinned: a change of the generator would silently rename every seeded benchmark.
    assert_eq!(order(7)[1..], ["/a", "/d", "/f", "/c", "/e", "/b"]);
}
