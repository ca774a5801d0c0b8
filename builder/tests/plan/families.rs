//! Several orders of one benchmark, repeated plans, and rows that the published files lack.

use mkgc_builder::corpus::{Extraction, Split};
use mkgc_builder::plan::{BenchmarkPlan, PlannedRow, plan};
use mkgc_builder::protocol::Protocol;
use proptest::prelude::*;

use crate::case::{Case, case};

/// Plans each order of a family.
fn plans(case: &Case, family: &Protocol) -> Vec<BenchmarkPlan> {
    let order = |order| plan(&case.corpus(), &family.with_order(order).unwrap(), false).unwrap();
    (1..=family.orders()).map(order).collect()
}

fn any_case() -> impl Strategy<Value = Case> {
    prop_oneof![case(Extraction::Relations), case(Extraction::Entities)]
}

proptest! {
    #[test]
    fn a_plan_is_the_same_each_time(case in any_case()) {
        prop_assert_eq!(case.plan(), case.plan());
    }

    #[test]
    fn an_order_is_the_benchmark_of_its_tasks(
        case in any_case(), places in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let listed = Case { listed: true, ..case };
        let other: Vec<usize> = places.into_iter().filter_map(|place| listed.kept.get(place).copied()).collect();
        let moved = Case { kept: other.clone(), ..listed.clone() };
        let family = listed.family(&[listed.kept.clone(), other]);
        prop_assert_eq!(plans(&listed, &family), vec![listed.plan(), moved.plan()]);
        prop_assert!(family.with_order(0).is_err() && family.with_order(3).is_err());
    }

    #[test]
    fn a_seed_of_several_is_a_seed(case in any_case(), seeds in prop::collection::vec(0u64..1000, 1..4)) {
        let one = |seed: &u64| Case { listed: false, order_seed: Some(*seed), ..case.clone() }.plan();
        prop_assert_eq!(plans(&case, &case.seeded_family(&seeds)), seeds.iter().map(one).collect::<Vec<_>>());
    }

    #[test]
    fn an_erratum_takes_its_row_out_of_its_file_and_no_other(case in case(Extraction::Relations), pick in any::<prop::sample::Index>()) {
        let whole = case.plan();
        let rows: Vec<(usize, PlannedRow)> =
            whole.tasks.iter().enumerate().flat_map(|(k, task)| task.train.iter().map(move |row| (k, *row))).collect();
        let (task, row) = rows[pick.index(rows.len())];
        let protocol = case.with_erratum(row.index, task);
        prop_assert_eq!(&plan(&case.corpus(), &protocol, false).unwrap(), &whole);
        let Ok(published) = plan(&case.corpus(), &protocol, true) else {
            // It was the only training row of its task.
            prop_assert_eq!(whole.tasks[task].train.len(), 1);
            return Ok(());
        };
        for (k, (before, after)) in whole.tasks.iter().zip(&published.tasks).enumerate() {
            for split in Split::ALL {
                let mut expected = before.split(split).to_vec();
                expected.retain(|other| !(k == task && split == Split::Train && *other == row));
                prop_assert_eq!(after.split(split), expected);
            }
        }
    }
}
