//! The replay buffer: which rows are stored of a task, how they are replayed, and how checkpoints hold them.

use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Manifest;
use mkgc_models::text::WordTokenizer;
use rand::seq::index;

use super::kmeans;
use crate::config::{Config, Selection};
use crate::data::{Benchmark, Example, Task, UNKNOWN};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// The replay buffer: rows stored of each task learned, in task order.
#[derive(Debug, Clone, Default)]
pub struct Memory(Vec<Vec<Example>>);

impl Memory {
    /// Adds the rows stored of a task.
    pub fn push(&mut self, rows: Vec<Example>) {
        self.0.push(rows);
    }

    /// Replaces the rows stored of the newest task.
    pub fn replace_last(&mut self, rows: Vec<Example>) {
        self.0.pop();
        self.0.push(rows);
    }

    /// Returns the rows stored of the newest task.
    pub fn newest(&self) -> &[Example] {
        self.0.last().map_or(&[], Vec::as_slice)
    }

    /// Returns the number of tasks stored.
    pub fn tasks(&self) -> usize {
        self.0.len()
    }

    /// Returns the rows of each of the first `tasks` tasks as they are replayed. With `mask_outside`, every `O` of a stored
    /// sentence counts as unknown, because the sentence was annotated before newer types existed; a sentence without any
    /// entity then carries no label at all and is left out.
    pub fn replayed(&self, tasks: usize, mask_outside: bool) -> Vec<Vec<Example>> {
        let shown = |row: &Example| if mask_outside { row.clone().with_unknown_o() } else { row.clone() };
        let known = |row: &Example| row.gold.iter().any(|label| *label != UNKNOWN);
        self.0[..tasks].iter().map(|rows| rows.iter().map(shown).filter(known).collect()).collect()
    }

    /// Returns all stored rows, oldest task first: those of earlier tasks as [`Memory::replayed`] returns them, the newest
    /// task's unchanged.
    pub fn with_newest(&self, mask_outside: bool) -> Vec<Example> {
        let mut rows = self.replayed(self.tasks().saturating_sub(1), mask_outside).concat();
        rows.extend_from_slice(self.newest());
        rows
    }

    /// Returns all stored rows unchanged, oldest task first.
    pub fn rows(&self) -> Vec<&Example> {
        self.0.iter().flatten().collect()
    }

    /// Counts the stored rows that hold each class; sentences without any entity count as `O`.
    pub fn by_class(&self, manifest: &Manifest) -> BTreeMap<String, usize> {
        let labels = manifest.label_set();
        let mut counts = BTreeMap::new();
        for row in self.0.iter().flatten() {
            let mut own: BTreeSet<&str> = row.gold.iter().filter_map(|label| labels.class(*label as usize)).collect();
            if own.is_empty() {
                own.insert(labels.none());
            }
            own.into_iter().for_each(|class| *counts.entry(class.to_owned()).or_default() += 1);
        }
        counts
    }

    /// Returns the ids of the stored rows of each task, for checkpoints.
    pub fn ids(&self) -> Vec<Vec<String>> {
        self.0.iter().map(|rows| rows.iter().map(|row| row.id.clone()).collect()).collect()
    }

    /// Reads the rows of the ids that a checkpoint holds.
    ///
    /// # Errors
    /// The benchmark lacks one of the rows.
    pub fn restore(ids: Vec<Vec<String>>, benchmark: &Benchmark, tokenizer: &WordTokenizer) -> Result<Self> {
        let rows = |(task, ids): (usize, Vec<String>)| -> Result<Vec<Example>> {
            let train = benchmark.training(task, tokenizer)?;
            let mut by_id: BTreeMap<String, Example> = train.into_iter().map(|row| (row.id.clone(), row)).collect();
            let missing = |id: &str| Error::Usage(format!("the checkpoint stores row {id}, which task {task} lacks"));
            ids.into_iter().map(|id| by_id.remove(&id).ok_or_else(|| missing(&id))).collect()
        };
        Ok(Self(ids.into_iter().enumerate().map(rows).collect::<Result<_>>()?))
    }
}

/// Chooses the rows of a task to store, by their index: `memory_per_class` per class (fewer where a class has fewer rows),
/// without duplicates, in class order. RE classes are relations, `None` included; NER classes are entity types and, with `memory_outside`, `O`
/// for sentences without any entity of the task (protocols with `none = "drop"` have none). A sentence may stand for two
/// types and is stored once; LMC's code files it under its first type alone.
///
/// # Errors
/// The device is out of memory.
pub fn select(learner: &Learner, task: &Task, config: &Config, manifest: &Manifest) -> Result<Vec<usize>> {
    let mut rng = seed::generator(config.train_seed, "memory", task.seen.task);
    let mut kept = BTreeSet::new();
    let mut memory = Vec::new();
    let classes = Classes::new(manifest, config.memory_outside);
    let mut keep = |row: usize| {
        if kept.insert(row) {
            memory.push(row);
        }
    };
    match config.selection {
        Selection::Kmeans => {
            for members in features_by_class(learner, task, &classes)?.into_values() {
                let (rows, vectors): (Vec<usize>, Vec<Vec<f32>>) = members.into_iter().unzip();
                let chosen = kmeans::representatives(&vectors, config.memory_per_class, &mut rng);
                chosen.into_iter().for_each(|nearest| keep(rows[nearest]));
            }
        }
        Selection::Random => {
            for rows in rows_by_class(task, &classes).into_values() {
                let n = config.memory_per_class.min(rows.len());
                index::sample(&mut rng, rows.len(), n).into_iter().for_each(|drawn| keep(rows[drawn]));
            }
        }
    }
    Ok(memory)
}

/// Returns the rows that hold each class.
fn rows_by_class(task: &Task, classes: &Classes) -> BTreeMap<usize, Vec<usize>> {
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, example) in task.train.iter().enumerate() {
        let own: BTreeSet<usize> = example.gold.iter().filter_map(|label| classes.class_of(example, *label)).collect();
        own.into_iter().for_each(|class| rows.entry(class).or_default().push(row));
    }
    rows
}

/// Rows and a feature vector for each.
type Members = Vec<(usize, Vec<f32>)>;

/// Returns the rows that hold each class with the mean of the features of its items (relations: the row's feature).
fn features_by_class(learner: &Learner, task: &Task, classes: &Classes) -> Result<BTreeMap<usize, Members>> {
    let mut members: BTreeMap<usize, Members> = BTreeMap::new();
    for (start, chunk) in task.train.chunks(64).enumerate().map(|(i, chunk)| (i * 64, chunk)) {
        let rows: Vec<&Example> = chunk.iter().collect();
        let Some(items) = learner.items(&learner.batch(&rows)?, |label| classes.counts(label))? else { continue };
        let vectors = items.features.to_vec2::<f32>()?;
        let mut sums: BTreeMap<(usize, usize), (Vec<f32>, f32)> = BTreeMap::new();
        for ((row, label), vector) in items.rows.iter().zip(&items.labels).zip(vectors) {
            let Some(class) = classes.class_of(rows[*row], *label) else { continue };
            let (sum, count) = sums.entry((*row, class)).or_insert_with(|| (vec![0.0; vector.len()], 0.0));
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
            *count += 1.0;
        }
        for ((row, class), (sum, count)) in sums {
            let mean = sum.into_iter().map(|value| value / count).collect();
            members.entry(class).or_default().push((start + row, mean));
        }
    }
    Ok(members)
}

/// The classes that rows are stored for.
struct Classes {
    /// Class of each label id: the relation itself, or the index of the entity type and `None` for `O`.
    of_label: Vec<Option<usize>>,
    /// Class of sentences without any entity, if they are stored. It is the last one, so that it does not change which
    /// rows are drawn for the others.
    outside: Option<usize>,
}

impl Classes {
    fn new(manifest: &Manifest, outside: bool) -> Self {
        let labels = manifest.label_set();
        let class = |id| if manifest.task == Extraction::Relations { Some(id) } else { labels.class_index(id) };
        let of_label = (0..labels.names().len()).map(class).collect();
        Self { of_label, outside: outside.then_some(labels.classes().len()) }
    }

    /// Returns whether an item with this label may stand for a class.
    fn counts(&self, label: u32) -> bool {
        self.of_label[label as usize].is_some() || self.outside.is_some()
    }

    /// Returns the class that an item of a row stands for.
    fn class_of(&self, row: &Example, label: u32) -> Option<usize> {
        let outside = || self.outside.filter(|_| row.gold.iter().all(|label| *label == 0));
        self.of_label[label as usize].or_else(outside)
    }
}
