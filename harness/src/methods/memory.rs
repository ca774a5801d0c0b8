//! Memory selection: per class, the rows nearest to the centroids of k-means over the current encoder's features.

use std::collections::{BTreeMap, BTreeSet};

use super::{Session, kmeans};
use crate::data::{Example, Task};
use crate::error::Result;
use crate::learner::Learner;
use crate::seed;

/// Rows to keep of a task: `memory_per_class` per class (fewer where a class has fewer rows), without duplicates, in
/// class order. RE classes are relations, `None` included; NER classes are entity types, so a sentence may stand for
/// two types and is kept once.
pub fn select(learner: &Learner, task: &Task, session: &Session) -> Result<Vec<Example>> {
    let config = session.config;
    let mut features: BTreeMap<usize, Vec<(usize, Vec<f32>)>> = BTreeMap::new();
    let classes = classes(session);
    let rows: Vec<&Example> = task.train.iter().collect();
    for (start, chunk) in rows.chunks(64).enumerate().map(|(i, chunk)| (i * 64, chunk)) {
        let batch = learner.batch(chunk)?;
        let found = learner.class_features(&batch, &|label| classes.get(label as usize).copied().flatten())?;
        for (offset, row) in found.into_iter().enumerate() {
            for (class, feature) in row {
                features.entry(class).or_default().push((start + offset, feature));
            }
        }
    }
    let mut rng = seed::generator(config.train_seed, "memory", task.seen.stage);
    let mut kept = BTreeSet::new();
    let mut memory = Vec::new();
    for (_, members) in features {
        let (rows, vectors): (Vec<usize>, Vec<Vec<f32>>) = members.into_iter().unzip();
        for nearest in kmeans::representatives(&vectors, config.memory_per_class, &mut rng) {
            if kept.insert(rows[nearest]) {
                memory.push(task.train[rows[nearest]].clone());
            }
        }
    }
    Ok(memory)
}

/// Class of each label id: RE the relation itself; NER the index of the entity type, `None` for `O`.
fn classes(session: &Session) -> Vec<Option<usize>> {
    let manifest = session.benchmark.manifest();
    let types: Vec<&str> = manifest.tasks.iter().flat_map(|task| &task.classes).map(String::as_str).collect();
    let class = |(id, label): (usize, &String)| match label.get(2..) {
        _ if session.blueprint.kind == mkgc_builder::corpus::TaskKind::Re => Some(id),
        Some(name) => types.iter().position(|class| *class == name),
        None => None,
    };
    manifest.labels.iter().enumerate().map(class).collect()
}
