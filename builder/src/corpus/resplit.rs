//! Deals the rows of a corpus to splits of one's own, for corpora that come without any or whose protocol has its own.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::read::Corpus;
use super::types::{Instance, Split};
use crate::error::{Error, Result};
use crate::files::stays_inside;
use crate::plain;

/// The `[split]` table of a protocol: how many rows of each class go to which split, or which rows by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRule {
    /// Seed that shuffles the rows of each class; file order stays if absent.
    pub seed: Option<u64>,
    /// Training rows; what the other splits leave if absent.
    pub train: Option<Amount>,
    /// Validation rows; none if absent.
    pub validation: Option<Amount>,
    /// Test rows; none if absent.
    pub test: Option<Amount>,
    /// Splits whose rows stay as the files of the corpus have them, beside amounts for the others.
    #[serde(default)]
    pub keep: Vec<Split>,
    /// Files below the corpus folder that list the rows of each split, as an alternative to amounts.
    pub rows: Option<RowLists>,
}

/// How many rows of a class go to a split.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Amount {
    /// This number of rows, or all of them if there are fewer.
    Count(usize),
    /// A share of the rows of the class, rounded down.
    Share(f64),
    /// A share, all of them if absent, but no more than a number of rows.
    Capped {
        /// The share of the rows of the class; 1 if absent.
        share: Option<f64>,
        /// The largest number of rows.
        at_most: usize,
    },
}

/// Files with a row id per line: the corpus's own ids where its format has them, else numbers of records from 0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowLists {
    /// The file that lists the training rows.
    pub train: String,
    /// The file that lists the validation rows; there are none if absent.
    pub validation: Option<String>,
    /// The file that lists the test rows; there are none if absent.
    pub test: Option<String>,
}

/// The order in which splits take their rows: a test set does not depend on how much is trained on.
const TAKING: [Split; 3] = [Split::Test, Split::Validation, Split::Train];

impl SplitRule {
    /// Checks that the keys agree with each other.
    ///
    /// # Errors
    /// Lists stand beside amounts, nothing is given, a split is kept and dealt, or a share is not between 0 and 1.
    pub fn check(&self) -> Result<()> {
        let amounts = [self.train, self.validation, self.test];
        let others = amounts.iter().any(Option::is_some) || self.seed.is_some() || !self.keep.is_empty();
        if self.rows.is_some() && others {
            let reason = "lists stand beside amounts, `keep` or a seed; give one or the other";
            return Err(Error::protocol("split.rows", reason));
        }
        if let Some(split) = self.keep.iter().find(|split| amounts[**split as usize].is_some()) {
            return Err(Error::protocol("split.keep", format!("names `{split}`, which has an amount, too")));
        }
        if self.keep.contains(&Split::Train) {
            return Err(Error::protocol("split.keep", "names `train`, whose rows are those to deal"));
        }
        let train_alone = self.train.is_some() && !self.keep.is_empty();
        if self.rows.is_none() && self.test.is_none() && self.validation.is_none() && !train_alone {
            return Err(Error::protocol(
                "split",
                "missing: give `test` and `validation` as shares or counts, or `rows`",
            ));
        }
        for (split, amount) in Split::ALL.iter().zip(amounts) {
            let share = match amount {
                Some(Amount::Share(share)) => Some(share),
                Some(Amount::Capped { share, .. }) => share,
                _ => None,
            };
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                let reason = "a share must lie between 0 and 1; a number of rows has no decimal point";
                return Err(Error::protocol(format!("split.{split}"), reason));
            }
        }
        Ok(())
    }

    /// Puts all rows of a corpus into one list, in the order of its splits, and deals them anew. A row is numbered by its
    /// place in that list, where damaged records that were left out keep their places: lists of numbers stay right.
    ///
    /// # Errors
    /// A list of rows cannot be read, names a row twice, or one that the corpus lacks; two rows have the same id; nothing
    /// says which rows are for tests, although the corpus has test rows.
    pub fn apply(&self, corpus: &mut Corpus, dir: &Path) -> Result<()> {
        let says = self.rows.is_some() || self.test.is_some() || self.keep.contains(&Split::Test);
        if !corpus.test.is_empty() && !says {
            let reason = "leaves no test row, although the corpus has a test file, whose rows are dealt with the others; \
                          give an amount for `test`, or write `keep = [\"test\"]`";
            return Err(Error::protocol("split", reason));
        }
        let mut pool: Vec<Instance> = Vec::new();
        let mut kept: Vec<Option<Split>> = Vec::new();
        let mut first = 0;
        for split in Split::ALL {
            let rows = std::mem::take(corpus.split_mut(split));
            let records = corpus.records[split as usize].read;
            let count = rows.len().max(records);
            pool.extend(rows.into_iter().enumerate().map(|(place, row)| {
                let number = if records == 0 { place } else { row.row };
                Instance { row: first + number, ..row }
            }));
            kept.resize(pool.len(), Some(split).filter(|split| self.keep.contains(split)));
            first += count;
        }
        let dealt = match &self.rows {
            Some(lists) => lists.deal(&pool, dir)?,
            None => self.deal(&pool, kept),
        };
        let left_out = dealt.iter().filter(|split| split.is_none()).count();
        if left_out > 0 {
            corpus.notes.push(format!("{left_out} of {} rows are in no split, as `[split]` says", pool.len()));
        }
        for (instance, split) in pool.into_iter().zip(dealt) {
            if let Some(split) = split {
                corpus.split_mut(split).push(instance);
            }
        }
        Ok(())
    }

    /// Deals the rows of each class by the amounts, without those that are `dealt` already.
    fn deal(&self, pool: &[Instance], mut dealt: Vec<Option<Split>>) -> Vec<Option<Split>> {
        for (class, mut rows) in strata(pool) {
            rows.retain(|row| dealt[*row].is_none());
            if let Some(seed) = self.seed {
                let key = Sha256::digest(format!("split/{seed}/{class}"));
                rows.shuffle(&mut ChaCha8Rng::from_seed(key.into()));
            }
            let of_class = rows.len();
            let mut rest = rows.into_iter();
            for split in TAKING {
                let amount = match split {
                    Split::Train => self.train.map_or(of_class, |amount| amount.of(of_class)),
                    Split::Validation => self.validation.map_or(0, |amount| amount.of(of_class)),
                    Split::Test => self.test.map_or(0, |amount| amount.of(of_class)),
                };
                rest.by_ref().take(amount).for_each(|row| dealt[row] = Some(split));
            }
        }
        dealt
    }
}

impl Amount {
    /// Returns how many of a class's rows this is.
    fn of(self, rows: usize) -> usize {
        // The addend keeps a product such as 0.29 x 100 from falling below the whole number that it stands for.
        let part = |share: f64| (rows as f64 * share + 1e-9).floor() as usize;
        match self {
            Self::Count(count) => count,
            Self::Share(share) => part(share),
            Self::Capped { share, at_most } => part(share.unwrap_or(1.0)).min(at_most),
        }
    }
}

/// Groups the rows by class, in file order. A sentence with several entity types counts for the one that fewest sentences
/// have, so that rare types reach every split.
fn strata(pool: &[Instance]) -> BTreeMap<String, Vec<usize>> {
    let mut rows_of: BTreeMap<&str, usize> = BTreeMap::new();
    for class in pool.iter().flat_map(|row| row.annotation.classes()) {
        *rows_of.entry(class).or_insert(0) += 1;
    }
    let mut strata: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in pool.iter().enumerate() {
        let rarest = row.annotation.classes().into_iter().min_by_key(|class| (rows_of[class], *class));
        strata.entry(rarest.unwrap_or_default().to_owned()).or_default().push(index);
    }
    strata
}

impl RowLists {
    /// Reads the lists and returns the split of each row.
    fn deal(&self, pool: &[Instance], dir: &Path) -> Result<Vec<Option<Split>>> {
        let mut rows: BTreeMap<String, usize> = BTreeMap::new();
        for (index, row) in pool.iter().enumerate() {
            let id = row.id.as_deref().map_or_else(|| row.row.to_string(), str::to_owned);
            if rows.insert(id.clone(), index).is_some() {
                let reason = format!("two rows have the id `{id}`, so that a list cannot tell which one it names");
                return Err(Error::protocol("split.rows", reason));
            }
        }
        let mut dealt: Vec<Option<Split>> = vec![None; pool.len()];
        let files = [Some(&self.train), self.validation.as_ref(), self.test.as_ref()];
        for (split, file) in Split::ALL.into_iter().zip(files) {
            let Some(file) = file else { continue };
            if !stays_inside(file) {
                let reason = format!("`{file}` leaves the corpus folder");
                return Err(Error::protocol(format!("split.rows.{split}"), reason));
            }
            let path = dir.join(file);
            if !path.is_file() {
                return Err(Error::dataset(&path, format!("no such file; `split.rows.{split}` names it")));
            }
            let bytes = fs_err::read(&path)?;
            let misread = |misread: plain::Misread| Error::corpus(&path, misread.line.unwrap_or(1), misread.reason);
            let text = plain::text(&bytes).map_err(misread)?;
            for (line, id) in (1..).zip(text.lines()).filter(|(_, id)| !id.trim().is_empty()) {
                let unknown = || Error::corpus(&path, line, format!("the corpus has no row `{}`", id.trim()));
                let row = *rows.get(id.trim()).ok_or_else(unknown)?;
                if let Some(before) = dealt[row].replace(split) {
                    let reason = format!("row `{}` is listed twice, also in {before}", id.trim());
                    return Err(Error::corpus(&path, line, reason));
                }
            }
        }
        Ok(dealt)
    }
}

#[cfg(test)]
mod tests;
