//! Small synthetic corpora in the two raw formats, for the demo and for tests: the builder reads them as it reads the
//! real ones.
//!
//! Everything follows from the seed by integer arithmetic on ChaCha8, so the same seed gives the same bytes anywhere.
//! The class signal lies partly in the text (trigger and cue words) and partly in the picture (colour and pattern).

use std::io;
use std::path::Path;

use fs_err as fs;

mod dice;
mod mnre;
mod picture;
mod twitter2017;
mod words;

use dice::Dice;

/// Protocol of the synthetic MNRE-like corpus: four tasks of two relations, `None` split evenly.
pub const MNRE_PROTOCOL: &str = include_str!("../protocols/mnre.toml");

/// Protocol of the synthetic Twitter-2017-like corpus: PER, LOC, ORG, MISC, old types masked to `O`.
pub const TWITTER_PROTOCOL: &str = include_str!("../protocols/twitter2017.toml");

/// Writes `mnre_{train,val,test}.txt`, `ours_rel2id.json` and `img_org/<split>/*.png` into `dir`.
///
/// # Errors
/// When a file or folder cannot be written.
pub fn write_mnre(dir: &Path, seed: u64) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("ours_rel2id.json"), mnre::rel2id())?;
    for (stream, &(split, per_relation)) in (0..).zip(&mnre::SPLITS) {
        let mut dice = Dice::new(seed, stream);
        let rows = mnre::rows(split, per_relation, &mut dice);
        let text: String = rows.iter().map(mnre::SyntheticRow::line).collect();
        fs::write(dir.join(format!("mnre_{split}.txt")), text)?;
        let images = dir.join("img_org").join(split);
        fs::create_dir_all(&images)?;
        for row in &rows {
            picture::save(&images.join(&row.image), row.scene, &mut dice)?;
        }
    }
    Ok(())
}

/// Writes `{train,valid,test}.txt` and `twitter2017_images/*.jpg` into `dir`.
///
/// # Errors
/// When a file or folder cannot be written.
pub fn write_twitter2017(dir: &Path, seed: u64) -> io::Result<()> {
    let images = dir.join("twitter2017_images");
    fs::create_dir_all(&images)?;
    for (stream, &(split, count)) in (16..).zip(&twitter2017::SPLITS) {
        let mut dice = Dice::new(seed, stream);
        let sentences = twitter2017::sentences(split, count, &mut dice);
        let text: String = sentences.iter().map(twitter2017::SyntheticSentence::record).collect();
        fs::write(dir.join(format!("{split}.txt")), text)?;
        for sentence in &sentences {
            let file = images.join(format!("{}.jpg", sentence.id));
            picture::save(&file, sentence.scene, &mut dice)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
