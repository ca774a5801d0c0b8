//! Rows dealt to splits by a `[split]` table: shares, counts and caps of each class.

use std::collections::BTreeMap;
use std::path::Path;

use mkgc_builder::corpus::{Corpus, Extraction, Split, SplitRule};
use proptest::prelude::*;

use crate::case::{Case, case};

/// How many rows of a class a split takes; shares are in hundredths.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Count(usize),
    Share(usize),
    Capped(Option<usize>, usize),
}

impl Amount {
    fn of(self, rows: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Share(share) => rows * share / 100,
            Self::Capped(share, most) => (rows * share.unwrap_or(100) / 100).min(most),
        }
    }

    fn toml(self) -> String {
        let share = |share: usize| format!("{}.{:02}", share / 100, share % 100);
        match self {
            Self::Count(count) => count.to_string(),
            Self::Share(of) => share(of),
            Self::Capped(None, most) => format!("{{ at_most = {most} }}"),
            Self::Capped(Some(of), most) => format!("{{ share = {}, at_most = {most} }}", share(of)),
        }
    }
}

#[derive(Debug, Clone)]
struct Rule {
    seed: Option<u64>,
    train: Option<Amount>,
    validation: Option<Amount>,
    test: Amount,
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0usize..20).prop_map(Amount::Count),
        (0usize..=100).prop_map(Amount::Share),
        (prop::option::of(0usize..=100), 0usize..10).prop_map(|(share, most)| Amount::Capped(share, most)),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let amounts = (prop::option::of(amount()), prop::option::of(amount()), amount());
    (prop::option::of(0u64..100), amounts).prop_map(|(seed, (train, validation, test))| Rule {
        seed,
        train,
        validation,
        test,
    })
}

impl Rule {
    /// Applies the rule to a corpus and returns the split of each row, by its place in the corpus.
    fn deal(&self, mut corpus: Corpus) -> BTreeMap<usize, Split> {
        let mut text = format!("test = {}\n", self.test.toml());
        text.extend(self.seed.iter().map(|seed| format!("seed = {seed}\n")));
        text.extend(self.train.iter().map(|amount| format!("train = {}\n", amount.toml())));
        text.extend(self.validation.iter().map(|amount| format!("validation = {}\n", amount.toml())));
        let rule: SplitRule = toml::from_str(&text).unwrap();
        rule.check().unwrap();
        rule.apply(&mut corpus, Path::new("nowhere")).unwrap();
        let mut dealt = BTreeMap::new();
        for split in Split::ALL {
            let rows = corpus.split(split);
            assert!(rows.is_sorted_by_key(|row| row.row), "rows stay in file order");
            for row in rows {
                assert!(dealt.insert(row.row, split).is_none(), "row {} is in two splits", row.row);
            }
        }
        dealt
    }
}

/// Returns the class by which each row of the corpus counts: of several, the one that fewest rows have.
fn strata(case: &Case) -> Vec<usize> {
    let rows: Vec<&Vec<usize>> = case.rows.iter().flatten().collect();
    let having = |class: usize| rows.iter().filter(|row| row.contains(&class)).count();
    let stratum =
        |row: &&Vec<usize>| row.iter().copied().filter(|class| *class > 0).min_by_key(|class| (having(*class), *class));
    rows.iter().map(|row| stratum(row).unwrap_or(0)).collect()
}

fn any_case() -> impl Strategy<Value = Case> {
    prop_oneof![case(Extraction::Relations), case(Extraction::Entities)]
}

proptest! {
    #[test]
    fn each_class_gives_every_split_what_the_rule_says(case in any_case(), rule in rule()) {
        let strata = strata(&case);
        let dealt = rule.deal(case.corpus());
        prop_assert_eq!(&rule.deal(case.corpus()), &dealt, "equal rules deal alike");
        for class in 0..=case.names.len() {
            let rows: Vec<usize> = (0..strata.len()).filter(|row| strata[*row] == class).collect();
            let test = rule.test.of(rows.len()).min(rows.len());
            let validation = rule.validation.map_or(0, |amount| amount.of(rows.len())).min(rows.len() - test);
            let rest = rows.len() - test - validation;
            let train = rule.train.map_or(rest, |amount| amount.of(rows.len()).min(rest));
            let mut left = vec![Some(Split::Test); test];
            left.extend(vec![Some(Split::Validation); validation]);
            left.extend(vec![Some(Split::Train); train]);
            left.resize(rows.len(), None);
            let mut found: Vec<Option<Split>> = rows.iter().map(|row| dealt.get(row).copied()).collect();
            if rule.seed.is_some() {
                // A seed chooses which rows, not how many.
                left.sort();
                found.sort();
            }
            prop_assert_eq!(found, left, "class {}", class);
        }
    }

    #[test]
    fn tests_do_not_depend_on_the_training_rows(case in any_case(), rule in rule(), train in amount()) {
        let held_out = |rule: &Rule| {
            let dealt = rule.deal(case.corpus()).into_iter();
            dealt.filter(|(_, split)| *split != Split::Train).collect::<Vec<_>>()
        };
        prop_assert_eq!(held_out(&rule), held_out(&Rule { train: Some(train), ..rule.clone() }));
    }

    #[test]
    fn a_class_is_dealt_alike_whatever_the_others_have(case in case(Extraction::Relations), rule in rule(), class in 1usize..=7) {
        let own = |case: &Case| {
            let dealt = rule.deal(case.corpus());
            let strata = strata(case);
            let rows = (0..strata.len()).filter(|row| strata[*row] == class);
            rows.map(|row| dealt.get(&row).copied()).collect::<Vec<_>>()
        };
        let mut alone = case.clone();
        alone.rows.iter_mut().for_each(|rows| rows.retain(|row| row[0] == class));
        prop_assert_eq!(own(&case), own(&alone));
    }
}
