//! Stored rows: which ones are kept of a task, how they are shown again, and their place in checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::Manifest;
use rand::seq::index;

use super::{Session, kmeans};
use crate::config::{ReplayO, Selection};
use crate::data::{Example, Task, UNKNOWN};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// Rows stored of each task learned, in the order of tasks.
#[derive(Debug, Clone, Default)]
pub struct Memory(Vec<Vec<Example>>);

impl Memory {
    /// Adds what is kept of a task.
    pub fn push(&mut self, rows: Vec<Example>) {
        self.0.push(rows);
    }

    /// Replaces what is kept of the newest task.
    pub fn replace_last(&mut self, rows: Vec<Example>) {
        self.0.pop();
        self.0.push(rows);
    }

    /// What is kept of the newest task.
    pub fn newest(&self) -> &[Example] {
        self.0.last().map_or(&[], Vec::as_slice)
    }

    /// Number of tasks stored.
    pub fn tasks(&self) -> usize {
        self.0.len()
    }

    /// Stored rows of each of the first `tasks` tasks as they are replayed: with `replay_o = "mask"`, an `O` in a
    /// stored sentence says nothing, because the sentence was annotated before newer types existed; one without any
    /// entity then says nothing at all and is left out.
    pub fn replayed(&self, tasks: usize, session: &Session<'_>) -> Vec<Vec<Example>> {
        let mask_o = session.blueprint.kind == TaskKind::Ner && session.config.replay_o == ReplayO::Mask;
        let shown = |row: &Example| if mask_o { row.clone().with_unknown_o() } else { row.clone() };
        let known = |row: &Example| row.gold.iter().any(|label| *label != UNKNOWN);
        self.0[..tasks].iter().map(|rows| rows.iter().map(shown).filter(known).collect()).collect()
    }

    /// All stored rows, oldest task first: those of earlier tasks as they are replayed, the newest task's as written.
    pub fn with_newest(&self, session: &Session<'_>) -> Vec<Example> {
        let mut rows = self.replayed(self.tasks().saturating_sub(1), session).concat();
        rows.extend_from_slice(self.newest());
        rows
    }

    /// All stored rows as written, oldest task first.
    pub fn rows(&self) -> Vec<&Example> {
        self.0.iter().flatten().collect()
    }

    /// Number of stored rows that hold each class; of sentences, also of those without any entity, as `O`.
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

    /// Ids per task, for checkpoints.
    pub fn ids(&self) -> Vec<Vec<String>> {
        self.0.iter().map(|rows| rows.iter().map(|row| row.id.clone()).collect()).collect()
    }

    /// The rows of stored ids.
    pub fn restore(ids: Vec<Vec<String>>, session: &Session<'_>) -> Result<Self> {
        let rows = |(task, ids): (usize, Vec<String>)| -> Result<Vec<Example>> {
            let train = session.benchmark.training(task, &session.blueprint.tokenizer)?;
            let mut by_id: BTreeMap<String, Example> = train.into_iter().map(|row| (row.id.clone(), row)).collect();
            let missing = |id: &str| Error::Usage(format!("the checkpoint stores row {id}, which task {task} lacks"));
            ids.into_iter().map(|id| by_id.remove(&id).ok_or_else(|| missing(&id))).collect()
        };
        Ok(Self(ids.into_iter().enumerate().map(rows).collect::<Result<_>>()?))
    }
}

/// Rows to keep of a task: `memory_per_class` per class (fewer where a class has fewer rows), without duplicates, in
/// class order. RE classes are relations, `None` included; NER classes are entity types and, with `memory_outside`, `O`
/// for sentences without any entity of the task (protocols with `none = "drop"` have none). A sentence may stand for two
/// types and is kept once; LMC's code files it under its first type alone.
pub fn select(learner: &Learner, task: &Task, session: &Session<'_>) -> Result<Vec<Example>> {
    let config = session.config;
    let mut rng = seed::generator(config.train_seed, "memory", task.seen.stage);
    let mut kept = BTreeSet::new();
    let mut memory = Vec::new();
    let classes = Classes::new(session.benchmark.manifest(), config.memory_outside);
    let mut keep = |row: usize| {
        if kept.insert(row) {
            memory.push(task.train[row].clone());
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

/// Per class, the rows that hold it.
fn rows_by_class(task: &Task, classes: &Classes) -> BTreeMap<usize, Vec<usize>> {
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, example) in task.train.iter().enumerate() {
        let own: BTreeSet<usize> = example.gold.iter().filter_map(|label| classes.of(example, *label)).collect();
        own.into_iter().for_each(|class| rows.entry(class).or_default().push(row));
    }
    rows
}

/// Rows and a feature vector for each.
type Members = Vec<(usize, Vec<f32>)>;

/// Per class, the rows that hold it with the mean of its items' features (RE: the row's feature).
fn features_by_class(learner: &Learner, task: &Task, classes: &Classes) -> Result<BTreeMap<usize, Members>> {
    let mut members: BTreeMap<usize, Members> = BTreeMap::new();
    for (start, chunk) in task.train.chunks(64).enumerate().map(|(i, chunk)| (i * 64, chunk)) {
        let rows: Vec<&Example> = chunk.iter().collect();
        let Some(items) = learner.items(&learner.batch(&rows)?, |label| classes.counts(label))? else { continue };
        let vectors = items.features.to_vec2::<f32>()?;
        let mut sums: BTreeMap<(usize, usize), (Vec<f32>, f32)> = BTreeMap::new();
        for ((row, label), vector) in items.rows.iter().zip(&items.labels).zip(vectors) {
            let Some(class) = classes.of(rows[*row], *label) else { continue };
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

/// The classes rows are stored for.
struct Classes {
    /// Of each label id: RE the relation itself; NER the index of the entity type, `None` for `O`.
    of_label: Vec<Option<usize>>,
    /// Of sentences without any entity: the last class, so that the others are drawn as without it.
    outside: Option<usize>,
}

impl Classes {
    fn new(manifest: &Manifest, outside: bool) -> Self {
        let labels = manifest.label_set();
        let class = |id| if manifest.task == TaskKind::Re { Some(id) } else { labels.class_index(id) };
        let of_label = (0..labels.names().len()).map(class).collect();
        Self { of_label, outside: outside.then_some(labels.classes().len()) }
    }

    /// May an item with this label stand for a class?
    fn counts(&self, label: u32) -> bool {
        self.of_label[label as usize].is_some() || self.outside.is_some()
    }

    /// The class that an item of a row stands for.
    fn of(&self, row: &Example, label: u32) -> Option<usize> {
        let outside = || self.outside.filter(|_| row.gold.iter().all(|label| *label == 0));
        self.of_label[label as usize].or_else(outside)
    }
}
