//! Writes the pictures and crops of a corpus in batches, so that memory use does not depend on their number.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;

use rayon::prelude::*;

use super::options::{BuildOptions, OnBadImage};
use super::stats::{CropStats, ImageStats};
use crate::corpus::{Corpus, CropKind, Instance, Split};
use crate::dataset::{CropKey, ManifestFile, NewPicture, PICTURES_AT_ONCE, PictureWriter};
use crate::error::{Error, Result};
use crate::images::{BadImages, Gallery, MISSING, Picture, Viewer, placeholder};

/// A picture, or why it cannot be used.
type Checked = std::result::Result<Picture, String>;

/// Checks every picture that rows name, passes it to `view` and, unless pictures are embedded, writes each once. Returns
/// the counts and the manifest entry of the images file.
///
/// # Errors
/// A picture cannot be used and the options say to stop; `view` fails; the file cannot be written.
pub fn write_images(
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
        for (&(_, id), checked) in chunk.iter().zip(check_pictures(gallery, chunk, view)?) {
            match checked {
                Ok(picture) => kept.push(NewPicture { id, picture, stand_in: false }),
                Err(reason) if options.on_bad_image == OnBadImage::Error => {
                    let reason = format!("{reason}; --on-bad-image can keep or drop its rows");
                    return Err(Error::image(Path::new(id), reason));
                }
                Err(reason) => {
                    stats.bad.insert(id.to_owned(), reason);
                    if options.on_bad_image == OnBadImage::Placeholder {
                        kept.push(NewPicture { id, picture: stand_in.clone(), stand_in: true });
                    }
                }
            }
        }
        Ok(kept)
    });
    write_behind(chunks, |kept| writer.as_mut().map_or(Ok(()), |writer| writer.write(kept)))?;
    stats.usable = stats.named - stats.bad.len();
    Ok((stats, writer.map(PictureWriter::close).transpose()?))
}

/// Removes the rows of bad pictures from the corpus; row numbers stay those of the full files. Returns how many rows
/// each split has lost.
pub fn drop_rows(corpus: &mut Corpus, bad: &BadImages) -> [usize; 3] {
    [&mut corpus.train, &mut corpus.validation, &mut corpus.test].map(|rows| {
        let before = rows.len();
        rows.retain(|row| row.image.as_ref().is_none_or(|image| !bad.contains_key(image)));
        before - rows.len()
    })
}

/// Lists the pictures of all rows, each once, with the split that names it first.
fn named_pictures(corpus: &Corpus) -> Vec<(Split, &str)> {
    let mut known = BTreeSet::new();
    let rows = Split::ALL.into_iter().flat_map(|split| corpus.split(split).iter().map(move |row| (split, row)));
    rows.filter_map(|(split, row)| Some((split, row.image.as_deref()?))).filter(|(_, id)| known.insert(*id)).collect()
}

fn rows_with_crops(gallery: &Gallery, corpus: &Corpus) -> usize {
    let has_crops = |split, row: &&Instance| {
        let image = row.image.as_ref();
        image.is_some_and(|image| !gallery.crops(CropKind::Grounding, split, row.row, image).is_empty())
    };
    Split::ALL.into_iter().map(|split| corpus.split(split).iter().filter(|row| has_crops(split, row)).count()).sum()
}

/// Reads and decodes pictures on all threads.
fn check_pictures(gallery: &Gallery, chunk: &[(Split, &str)], view: Option<Viewer<'_>>) -> Result<Vec<Checked>> {
    let check = |(split, id): &(Split, &str)| {
        let Some(view) = view else { return Ok(gallery.check(*split, id)) };
        match gallery.load(*split, id) {
            Ok((picture, pixels)) => {
                view(id, &pixels).map_err(|reason| Error::image(Path::new(id), reason))?;
                Ok(Ok(picture))
            }
            Err(reason) => Ok(Err(reason)),
        }
    };
    // One picture per job, so that all threads finish at about the same time.
    chunk.par_iter().with_max_len(1).map(check).collect()
}

/// Passes the chunks in order to `write` on a thread of its own, while the next one is prepared. At most three chunks are
/// in memory.
fn write_behind<C: Send>(
    chunks: impl Iterator<Item = Result<C>>,
    write: impl FnMut(C) -> Result<()> + Send,
) -> Result<()> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || receiver.into_iter().try_for_each(write));
        for chunk in chunks {
            if sender.send(chunk?).is_err() {
                break; // The writer failed; joining it returns the error.
            }
        }
        drop(sender);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Writes every usable crop that the dictionaries name for the rows once, and counts the others: crops are optional, so
/// no row is dropped for them. Returns no counts without a folder of crops, and no manifest entry without a usable crop.
///
/// # Errors
/// The file cannot be written.
pub fn write_crops(
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
        let check = |crop: &CropKey| gallery.check_crop(crop.kind, crop.split, &crop.id);
        let checked: Vec<Checked> = chunk.par_iter().with_max_len(1).map(check).collect();
        let counted = chunk.iter().zip(checked);
        Ok(counted.filter_map(|(crop, checked)| count_crop(&mut stats, crop, checked)).collect::<Vec<_>>())
    });
    write_behind(chunks, |kept| {
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

/// Counts a crop and returns it if it is usable.
fn count_crop(stats: &mut CropStats, crop: &CropKey, checked: Checked) -> Option<(CropKey, Picture)> {
    let counts = match crop.kind {
        CropKind::Grounding => &mut stats.grounding,
        CropKind::Detected => &mut stats.detected,
    };
    counts.named += 1;
    match checked {
        Ok(picture) => return Some((crop.clone(), picture)),
        Err(reason) if reason == MISSING => counts.missing += 1,
        Err(reason) => drop(counts.broken.insert(format!("{}/{}", crop.split, crop.id), reason)),
    }
    None
}

/// Lists the crops of all rows in the order of rows and dictionaries, each once per picture.
fn named_crops(gallery: &Gallery, corpus: &Corpus) -> Vec<CropKey> {
    let mut named = Vec::new();
    let mut known = BTreeSet::new();
    for split in Split::ALL {
        for row in corpus.split(split) {
            let Some(image) = &row.image else { continue };
            for kind in CropKind::ALL {
                for id in gallery.crops(kind, split, row.row, image) {
                    if known.insert((split, kind, image.as_str(), id)) {
                        named.push(CropKey { split, kind, image_id: image.clone(), id: id.clone() });
                    }
                }
            }
        }
    }
    named
}
