//! What the dataset card says about the corpus files and the rows that were made of them, in sentences.

use super::defects::Defects;
use super::stats::{Stats, published, skipped_sentence};
use crate::corpus::{Corpus, Extraction, Split};

/// Returns the sentences, without full stops.
pub fn facts(corpus: &Corpus, stats: &Stats) -> Vec<String> {
    let mut facts: Vec<String> = published(&corpus.sources).into_iter().collect();
    facts.extend(corpus.notes.iter().cloned());
    for split in Split::ALL {
        let counts = corpus.records[split as usize];
        if counts.skipped > 0 {
            facts.push(skipped_sentence(split, counts));
        }
    }
    let dropped: usize = stats.rows_dropped_for_images.iter().sum();
    if dropped > 0 {
        facts.push(format!("{dropped} rows are left out because their pictures are missing or broken"));
    }
    if let Some(images) = &stats.images {
        facts.push(format!("{} of the {} pictures that rows name can be used", images.usable, images.named));
    }
    if !stats.lost_classes.is_empty() {
        facts.push(format!("No row is left of these classes: {}", stats.lost_classes.join(", ")));
    }
    facts.extend(shared(corpus.spec.task, &stats.defects));
    facts
}

/// Says how many rows of a split an earlier split has as well.
fn shared(task: Extraction, defects: &Defects) -> Vec<String> {
    let alike = match task {
        Extraction::Relations => "word for word and with the same spans",
        Extraction::Entities => "word for word",
    };
    let mut sentences = Vec::new();
    for (earlier, pairs, texts) in [
        (Split::Train, &defects.pairs_shared_with_train, &defects.texts_shared_with_train),
        (Split::Validation, &defects.pairs_shared_with_validation, &defects.texts_shared_with_validation),
    ] {
        for split in [Split::Validation, Split::Test] {
            let texts = texts[split as usize];
            let rows = defects.rows[split as usize];
            if texts > 0 {
                sentences.push(format!(
                    "The texts of {texts} of the {rows} {split} rows ({:.1} %) also occur in {earlier}, {} of them \
                     {alike}",
                    100.0 * texts as f64 / rows as f64,
                    pairs[split as usize],
                ));
            }
        }
    }
    sentences
}
