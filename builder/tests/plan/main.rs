//! The plan of random corpora under random protocols, compared with the rules of `splits/README.md` as they are written
//! there: the class of a row decides its task, rows without a class are dealt in chunks, tests accumulate, and a task hides
//! the tags of others.
#![allow(clippy::unwrap_used)]

mod case;
mod families;
mod rules;
mod splits;

use std::collections::BTreeSet;

use mkgc_builder::bio::tags_of;
use mkgc_builder::corpus::{Extraction, Split};
use mkgc_builder::plan::{BenchmarkPlan, PlannedLabels, PlannedRow};
use proptest::prelude::*;

use crate::case::{Case, case};

fn indices(rows: &[PlannedRow]) -> Vec<usize> {
    rows.iter().map(|row| row.index).collect()
}

/// Checks the rows of every file, and that cumulative tests contain those before.
fn check_rows(case: &Case, plan: &BenchmarkPlan) -> Result<(), TestCaseError> {
    prop_assert_eq!(plan.tasks.len(), case.tasks);
    for (k, task) in plan.tasks.iter().enumerate() {
        for split in Split::ALL {
            prop_assert_eq!(task.split(split), case.expected(plan, split, k), "{} of task {}", split, k);
        }
    }
    for split in [Split::Train, Split::Validation] {
        let (owned, none) = case.dealt(plan, split as usize);
        let files: Vec<usize> = plan.tasks.iter().flat_map(|task| indices(task.split(split))).collect();
        for row in &owned {
            prop_assert_eq!(files.iter().filter(|index| **index == row.index).count(), 1);
        }
        // Chunks of rows without a class, one after another, are these rows.
        let mut chunks = files;
        chunks.retain(|index| none.contains(index));
        match case.none_policy() {
            "split" => prop_assert_eq!(chunks, none),
            "all" => prop_assert_eq!(chunks, none.repeat(case.tasks)),
            _ => prop_assert!(chunks.is_empty()),
        }
    }
    for pair in plan.tasks.windows(2).filter(|_| !case.per_task) {
        let [before, after] = [&pair[0], &pair[1]].map(|task| indices(&task.test).into_iter().collect::<BTreeSet<_>>());
        prop_assert!(before.is_subset(&after));
    }
    Ok(())
}

/// Checks that labels are numbered without gaps: no class, then the labels of task after task.
fn check_labels(case: &Case, plan: &BenchmarkPlan) -> Result<(), TestCaseError> {
    let classes: Vec<String> = plan.tasks.iter().flat_map(|task| task.classes.clone()).collect();
    let mut sorted: Vec<&String> = classes.iter().collect();
    sorted.sort();
    let mut kept: Vec<&String> = case.kept.iter().map(|class| &case.names[*class]).collect();
    kept.sort();
    prop_assert_eq!(sorted, kept, "every class is in one task");
    let (none, labels): (&str, Vec<String>) = match case.kind {
        Extraction::Relations => ("None", classes.clone()),
        Extraction::Entities => ("O", classes.iter().flat_map(|class| tags_of(class)).collect()),
    };
    let expected: Vec<String> = [none.to_owned()].into_iter().chain(labels).collect();
    prop_assert_eq!(plan.labels.names(), expected.as_slice());
    let per_class = if case.kind == Extraction::Relations { 1 } else { 2 };
    let tasks = plan.tasks.iter().enumerate().flat_map(|(k, task)| vec![Some(k); per_class * task.classes.len()]);
    let found = (0..expected.len()).map(|id| plan.labels.task(id));
    prop_assert_eq!(found.collect::<Vec<_>>(), [None].into_iter().chain(tasks).collect::<Vec<_>>());
    for (id, name) in expected.iter().enumerate() {
        prop_assert_eq!(plan.labels.id(name), Some(id));
    }
    if !case.listed {
        let sizes: Vec<usize> = plan.tasks.iter().map(|task| task.classes.len()).collect();
        prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[sizes.len() - 1] <= 1, "{:?}", sizes);
        if case.order_seed.is_none() {
            prop_assert_eq!(classes, case.kept.iter().map(|class| case.names[*class].clone()).collect::<Vec<_>>());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn relation_rows_are_in_the_tasks_that_the_rules_say(case in case(Extraction::Relations)) {
        let plan = case.plan();
        check_rows(&case, &plan)?;
        check_labels(&case, &plan)?;
        let corpus = case.corpus();
        for (k, task) in plan.tasks.iter().enumerate() {
            for split in Split::ALL {
                for row in task.split(split) {
                    let annotation = &corpus.split(split)[row.index].annotation;
                    let class = case.rows[split as usize][row.index][0];
                    let id = class.checked_sub(1).map_or(0, |class| plan.labels.id(&case.names[class]).unwrap());
                    let labels = PlannedLabels::Relation { relation: id, original: id };
                    prop_assert_eq!(plan.row_labels(k, split, annotation), labels);
                }
            }
        }
    }

    #[test]
    fn sentences_are_in_the_tasks_that_the_rules_say_and_show_the_tags_they_should(case in case(Extraction::Entities)) {
        let plan = case.plan();
        check_rows(&case, &plan)?;
        check_labels(&case, &plan)?;
        let corpus = case.corpus();
        for (k, task) in plan.tasks.iter().enumerate() {
            for split in Split::ALL {
                for row in task.split(split) {
                    let annotation = &corpus.split(split)[row.index].annotation;
                    let expected = case.tags(&plan, split, k, &case.rows[split as usize][row.index]);
                    prop_assert_eq!(plan.row_labels(k, split, annotation), expected);
                }
            }
        }
    }

    #[test]
    fn another_priority_only_moves_sentences_between_tasks(
        case in case(Extraction::Entities), other in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let other: Vec<usize> = other.into_iter().filter(|class| case.kept.contains(class)).collect();
        let moved = Case { priority: Some(other), ..case.clone() };
        let [before, after] = [case.plan(), moved.plan()];
        prop_assert_eq!(&before.labels, &after.labels);
        let rows = |plan: &BenchmarkPlan, split: Split| {
            let tasks = plan.tasks.iter();
            let mut rows: Vec<usize> = tasks.flat_map(|task| indices(task.split(split))).collect();
            rows.sort_unstable();
            rows
        };
        for split in Split::ALL {
            prop_assert_eq!(rows(&before, split), rows(&after, split));
        }
        // A sentence of one type has no choice.
        for (task, moved) in before.tasks.iter().zip(&after.tasks) {
            let of_one_type = |row: &&PlannedRow| {
                let types = &case.rows[0][row.index];
                case.kept.iter().filter(|class| types.contains(&(*class + 1))).count() < 2
            };
            let stay = |rows: &[PlannedRow]| rows.iter().filter(of_one_type).copied().collect::<Vec<_>>();
            prop_assert_eq!(stay(&task.train), stay(&moved.train));
        }
    }

    #[test]
    fn a_seed_orders_classes_alike_whatever_the_rows(case in case(Extraction::Relations), seed in 0u64..1000) {
        let seeded = Case { listed: false, order_seed: Some(seed), ..case };
        let classes = |case: &Case| case.plan().tasks.into_iter().map(|task| task.classes).collect::<Vec<_>>();
        let order = classes(&seeded);
        prop_assert_eq!(&seeded.plan(), &seeded.plan());
        let mut fewer = seeded.clone();
        fewer.rows[1].clear();
        fewer.rows[2].clear();
        fewer.rows[0].reverse();
        prop_assert_eq!(&classes(&fewer), &order);
        let flat = |tasks: &[Vec<String>]| tasks.concat();
        let one = Case { tasks: 1, ..seeded };
        prop_assert_eq!(flat(&classes(&one)), flat(&order), "the number of tasks only cuts");
    }
}
