//! Pictures and crops of a corpus into their files, a batch at a time: memory does not grow with their number.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::build::{BuildOptions, OnBadImage};
use crate::corpus::{Corpus, Instance, Split};
use crate::dataset::{CropKey, ManifestFile, PICTURES_AT_ONCE, PictureWriter};
use crate::error::{Error, Result};
use crate::images::{BadImages, CropKind, Gallery, MISSING, Picture, Viewer, placeholder};

/// Pictures linked to a benchmark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStats {
    /// Distinct images that rows name.
    pub named: usize,
    /// Those found and decoded.
    pub usable: usize,
    /// The others, with the reason.
    pub bad: BadImages,
    /// Rows of the corpus that have at least one crop.
    pub rows_with_crops: usize,
    /// Crop files; none if there was no folder of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<CropStats>,
}

/// Crop files linked to a benchmark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropStats {
    /// Crops of visual grounding.
    pub grounding: CropCounts,
    /// Crops of the object detector.
    pub detected: CropCounts,
}

/// Counts of the crops of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropCounts {
    /// Distinct crops that the dictionaries name for the rows.
    pub named: usize,
    /// Those found and decoded.
    pub found: usize,
    /// Those without a file.
    pub missing: usize,
    /// Those whose file cannot be used, `split/name` with the reason.
    pub broken: BadImages,
}

/// Checks every picture that rows name, shows it to `view`, and, unless they are embedded, writes each once.
pub(crate) fn pictures(
    gallery: &Gallery,
    corpus: &Corpus,
    options: &BuildOptions,
    folder: &Path,
    view: Option<Viewer<'_>>,
) -> Result<(ImageStats, Option<ManifestFile>)> {
    let named = named_pictures(corpus);
    let mut stats =
        ImageStats { named: named.len(), rows_with_crops: rows_with_crops(gallery, corpus), ..ImageStats::default() };
    let mut writer = if options.embed_images { None } else { Some(PictureWriter::images(folder)?) };
    let stand_in = placeholder()?;
    let chunks = named.chunks(PICTURES_AT_ONCE).map(|chunk| {
        let mut kept = Vec::with_capacity(chunk.len());
        for ((_, id), loaded) in chunk.iter().zip(loaded(gallery, chunk, view)?) {
            match loaded {
                Ok(picture) => kept.push((*id, picture, false)),
                Err(reason) if options.on_bad_image == OnBadImage::Error => {
                    let reason = format!("{reason}; --on-bad-image can keep or drop its rows");
                    return Err(Error::image(Path::new(id), reason));
                }
                Err(reason) => {
                    stats.bad.insert((*id).to_owned(), reason);
                    if options.on_bad_image == OnBadImage::Placeholder {
                        kept.push((*id, stand_in.clone(), true));
                    }
                }
            }
        }
        Ok(kept)
    });
    written(chunks, |kept| writer.as_mut().map_or(Ok(()), |writer| writer.write(kept)))?;
    stats.usable = stats.named - stats.bad.len();
    Ok((stats, writer.map(PictureWriter::close).transpose()?))
}

/// The pictures of all rows, each once, with the split that names it first.
fn named_pictures(corpus: &Corpus) -> Vec<(Split, &str)> {
    let mut known = BTreeSet::new();
    let rows = Split::ALL.into_iter().flat_map(|split| corpus.split(split).iter().map(move |row| (split, row)));
    rows.map(|(split, row)| (split, row.image.as_str())).filter(|(_, id)| known.insert(*id)).collect()
}

fn rows_with_crops(gallery: &Gallery, corpus: &Corpus) -> usize {
    let has_crops = |split, row: &&Instance| !gallery.crops(CropKind::Grounding, split, row.row, &row.image).is_empty();
    Split::ALL.into_iter().map(|split| corpus.split(split).iter().filter(|row| has_crops(split, row)).count()).sum()
}

/// Reads and decodes pictures on all threads; a picture that cannot be used is its reason.
fn loaded(
    gallery: &Gallery,
    chunk: &[(Split, &str)],
    view: Option<Viewer<'_>>,
) -> Result<Vec<std::result::Result<Picture, String>>> {
    let load = |(split, id): &(Split, &str)| {
        let Some(view) = view else { return Ok(gallery.check(*split, id)) };
        match gallery.load(*split, id) {
            Ok((picture, pixels)) => {
                view(id, &pixels).map_err(|reason| Error::image(Path::new(id), reason))?;
                Ok(Ok(picture))
            }
            Err(reason) => Ok(Err(reason)),
        }
    };
    // One picture at a time, so that no thread ends long before the other.
    chunk.par_iter().with_max_len(1).map(load).collect()
}

/// Hands each chunk to `write` on a thread of its own, in order, while the next is made: three are in memory at most.
fn written<C: Send>(chunks: impl Iterator<Item = Result<C>>, write: impl FnMut(C) -> Result<()> + Send) -> Result<()> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || receiver.into_iter().try_for_each(write));
        for chunk in chunks {
            if sender.send(chunk?).is_err() {
                break; // The writer met an error, which it returns.
            }
        }
        drop(sender);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Writes every crop that the dictionaries name for the rows and that can be used once; the others are counted. No
/// folder of crop files is `None`, and no usable crop no file. Crops are extras: no policy drops rows for them.
pub(crate) fn crops(
    gallery: &Gallery,
    corpus: &Corpus,
    folder: &Path,
) -> Result<(Option<CropStats>, Option<ManifestFile>)> {
    if !gallery.has_crop_files() {
        return Ok((None, None));
    }
    let mut stats = CropStats::default();
    let mut writer: Option<PictureWriter> = None;
    let named = named_crops(gallery, corpus);
    let chunks = named.chunks(PICTURES_AT_ONCE).map(|chunk| {
        let load = |crop: &CropKey| gallery.check_crop(crop.kind, crop.split, &crop.id);
        let loaded: Vec<_> = chunk.par_iter().with_max_len(1).map(load).collect();
        Ok(chunk.iter().zip(loaded).filter_map(|(crop, loaded)| stats.count(crop, loaded)).collect::<Vec<_>>())
    });
    written(chunks, |kept| {
        if kept.is_empty() {
            return Ok(());
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(PictureWriter::crops(folder)?),
        };
        writer.write_crops(kept)
    })?;
    for counts in [&mut stats.grounding, &mut stats.detected] {
        counts.found = counts.named - counts.missing - counts.broken.len();
    }
    Ok((Some(stats), writer.map(PictureWriter::close).transpose()?))
}

impl CropStats {
    /// Counts a crop; what to keep of it.
    fn count(&mut self, crop: &CropKey, loaded: std::result::Result<Picture, String>) -> Option<(CropKey, Picture)> {
        let counts = match crop.kind {
            CropKind::Grounding => &mut self.grounding,
            CropKind::Detected => &mut self.detected,
        };
        counts.named += 1;
        match loaded {
            Ok(picture) => return Some((crop.clone(), picture)),
            Err(reason) if reason == MISSING => counts.missing += 1,
            Err(reason) => drop(counts.broken.insert(format!("{}/{}", crop.split, crop.id), reason)),
        }
        None
    }
}

/// The crops of all rows in the order of rows and dictionaries, each once per picture.
fn named_crops(gallery: &Gallery, corpus: &Corpus) -> Vec<CropKey> {
    let (mut named, mut known) = (Vec::new(), BTreeSet::new());
    for split in Split::ALL {
        for row in corpus.split(split) {
            for kind in CropKind::ALL {
                for id in gallery.crops(kind, split, row.row, &row.image) {
                    if known.insert((split, kind, row.image.as_str(), id)) {
                        named.push(CropKey { split, kind, image_id: row.image.clone(), id: id.clone() });
                    }
                }
            }
        }
    }
    named
}
