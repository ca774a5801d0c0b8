//! Writes the pictures and crops of a corpus in batches, so that memory use does not depend on their number.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;

use rayon::prelude::*;

use super::options::{BuildOptions, OnBadImage};
use super::stats::{CropStats, ImageStats, Stats, Summary};
use crate::corpus::{Corpus, CropKind, Instance, Split};
use crate::dataset::{
    BYTES_AT_ONCE, CROPS_FILE, CropKey, IMAGES_FILE, ManifestFile, NewPicture, PICTURES_AT_ONCE, PictureWriter,
};
use crate::error::{Error, Result};
use crate::files::parent_folder;
use crate::images::{BadImages, Found, Gallery, MISSING, Picture, Viewer, picture_key, placeholder};

/// A picture, or why it cannot be used.
type Checked<T> = std::result::Result<T, String>;

/// What it takes to write the pictures and crops of a corpus.
pub struct PicturesToWrite<'a> {
    pub gallery: &'a Gallery,
    pub options: &'a BuildOptions,
    /// The benchmark folder under construction.
    pub folder: &'a Path,
    /// Receives each usable picture, if the caller wants them.
    pub view: Option<Viewer<'a>>,
    /// A benchmark that has the same pictures and crops.
    pub shared: Option<&'a Summary>,
}

/// The pictures and crops that were written.
#[derive(Default)]
pub struct WrittenPictures {
    /// Counts of the pictures; `None` if there was no folder of them.
    pub stats: Option<ImageStats>,
    /// Manifest entries of the files of pictures and crops.
    pub files: Vec<ManifestFile>,
    /// Number of rows that each split has lost.
    pub dropped: [usize; 3],
}

impl PicturesToWrite<'_> {
    /// Writes pictures and crops, or links those of a benchmark that has the same, and removes the rows of bad pictures
    /// from the corpus if the options say so.
    ///
    /// # Errors
    /// A picture cannot be used and the options say to stop; the viewer fails; a file cannot be written.
    pub fn write(&self, corpus: &mut Corpus) -> Result<WrittenPictures> {
        if let Some(Summary { out, manifest, stats: Stats { images: Some(stats), .. }, .. }) = self.shared {
            let dropped = self.drop_bad(corpus, stats);
            let parts = manifest.parts(IMAGES_FILE).chain(manifest.parts(CROPS_FILE));
            let files: Vec<ManifestFile> = parts.cloned().collect();
            for file in &files {
                let to = self.folder.join(&file.path);
                fs_err::create_dir_all(parent_folder(&to))?;
                let from = out.join(&file.path);
                fs_err::hard_link(&from, &to).or_else(|_| fs_err::copy(&from, &to).map(drop))?;
            }
            return Ok(WrittenPictures { stats: Some(stats.clone()), files, dropped });
        }
        let (mut stats, mut files) = write_images(self.gallery, corpus, self.options, self.folder, self.view)?;
        let dropped = self.drop_bad(corpus, &stats);
        let (crops, crop_files) = write_crops(self.gallery, corpus, self.options, self.folder)?;
        stats.crops = crops;
        files.extend(crop_files);
        Ok(WrittenPictures { stats: Some(stats), files, dropped })
    }

    fn drop_bad(&self, corpus: &mut Corpus, stats: &ImageStats) -> [usize; 3] {
        if self.options.on_bad_image == OnBadImage::Drop && !stats.bad.is_empty() {
            drop_rows(corpus, self.gallery, &stats.bad)
        } else {
            [0; 3]
        }
    }
}

/// Checks every picture that rows name, passes it to `view` and, unless pictures are embedded, writes each once. Returns
/// the counts and the manifest entries of the images file or its shards.
///
/// # Errors
/// A picture cannot be used and the options say to stop; `view` fails; the file cannot be written.
fn write_images(
    gallery: &Gallery,
    corpus: &Corpus,
    options: &BuildOptions,
    folder: &Path,
    view: Option<Viewer<'_>>,
) -> Result<(ImageStats, Vec<ManifestFile>)> {
    let named = named_pictures(gallery, corpus);
    let mut stats = ImageStats {
        named: named.len(),
        rows_with_crops: rows_with_crops(gallery, corpus),
        crops_dropped: gallery.crops_dropped().map(str::to_owned),
        ..ImageStats::default()
    };
    let by_split = gallery.by_split();
    let mut writer =
        if options.embed_images { None } else { Some(PictureWriter::images(folder, by_split, options.shard_bytes)?) };
    let stand_in = placeholder()?;
    let chunks = parts(&named, |(split, id)| gallery.size(*split, id)).map(|chunk| {
        let mut kept = Vec::with_capacity(chunk.len());
        for (&(split, id), checked) in chunk.iter().zip(check_pictures(gallery, chunk, view)?) {
            let split = by_split.then_some(split);
            match checked {
                Ok(Found { picture, renamed, ambiguous }) => {
                    stats.renamed += usize::from(renamed);
                    stats.ambiguous += usize::from(ambiguous);
                    kept.push(NewPicture { id, split, picture, stand_in: false });
                }
                Err(reason) if options.on_bad_image == OnBadImage::Error => {
                    return Err(Error::image(Path::new(id), stop_reason(gallery, &reason)));
                }
                Err(reason) => {
                    stats.bad.insert(picture_key(split, id), reason);
                    if options.on_bad_image == OnBadImage::Placeholder {
                        kept.push(NewPicture { id, split, picture: stand_in.clone(), stand_in: true });
                    }
                }
            }
        }
        Ok(kept)
    });
    write_behind(chunks, |kept| writer.as_mut().map_or(Ok(()), |writer| writer.write(kept)))?;
    stats.usable = stats.named - stats.bad.len();
    if stats.missing() > 0 {
        stats.looked_in = gallery.looked_in().to_vec();
    }
    Ok((stats, writer.map_or_else(|| Ok(Vec::new()), PictureWriter::close)?))
}

/// Says why a picture stops the build, what else could be done, and where a missing one was looked for.
fn stop_reason(gallery: &Gallery, reason: &str) -> String {
    let remedy = format!("{reason}; --on-bad-image can keep or drop its rows");
    match gallery.looked_in() {
        folders @ [_, ..] if reason == MISSING => format!("{remedy}; looked in {}", folders.join(", ")),
        _ => remedy,
    }
}

/// Removes the rows of bad pictures from the corpus; row numbers stay those of the full files. Returns how many rows
/// each split has lost.
fn drop_rows(corpus: &mut Corpus, gallery: &Gallery, bad: &BadImages) -> [usize; 3] {
    Split::ALL.map(|split| {
        let rows = corpus.split_mut(split);
        let before = rows.len();
        rows.retain(|row| row.image.as_ref().is_none_or(|image| !bad.contains_key(&gallery.key(split, image))));
        before - rows.len()
    })
}

/// Lists the pictures of all rows, each once: of a name that several splits share, with the split that names it first.
fn named_pictures<'a>(gallery: &Gallery, corpus: &'a Corpus) -> Vec<(Split, &'a str)> {
    let by_split = gallery.by_split();
    let mut known = BTreeSet::new();
    let rows = Split::ALL.into_iter().flat_map(|split| corpus.split(split).iter().map(move |row| (split, row)));
    let named = rows.filter_map(|(split, row)| Some((split, row.image.as_deref()?)));
    named.filter(|(split, id)| known.insert((by_split.then_some(*split), *id))).collect()
}

fn rows_with_crops(gallery: &Gallery, corpus: &Corpus) -> usize {
    let has_crops = |split, row: &&Instance| {
        let image = row.image.as_ref();
        image.is_some_and(|image| !gallery.crops(CropKind::Grounding, split, row.row, image).is_empty())
    };
    Split::ALL.into_iter().map(|split| corpus.split(split).iter().filter(|row| has_crops(split, row)).count()).sum()
}

/// Reads and decodes pictures on all threads.
fn check_pictures(gallery: &Gallery, chunk: &[(Split, &str)], view: Option<Viewer<'_>>) -> Result<Vec<Checked<Found>>> {
    let check = |(split, id): &(Split, &str)| {
        let Some(view) = view else { return Ok(gallery.check(*split, id)) };
        match gallery.load(*split, id) {
            Ok((found, pixels)) => {
                view(&gallery.key(*split, id), &pixels).map_err(|reason| Error::image(Path::new(id), reason))?;
                Ok(Ok(found))
            }
            Err(reason) => Ok(Err(reason)),
        }
    };
    // One picture per job, so that all threads finish at about the same time.
    chunk.par_iter().with_max_len(1).map(check).collect()
}

/// Cuts a list of pictures into parts that are in memory at once, given the size of each file.
fn parts<T>(pictures: &[T], size: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    let mut rest = pictures;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |picture: &&T| {
            let fits = bytes < BYTES_AT_ONCE;
            bytes += size(picture);
            fits
        };
        let (part, later) = rest.split_at(rest.iter().take(PICTURES_AT_ONCE).take_while(fits).count());
        rest = later;
        (!part.is_empty()).then_some(part)
    })
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
/// no row is dropped for them. Returns no counts without a folder of crops, and no manifest entries without a usable crop.
///
/// # Errors
/// The file cannot be written.
fn write_crops(
    gallery: &Gallery,
    corpus: &Corpus,
    options: &BuildOptions,
    folder: &Path,
) -> Result<(Option<CropStats>, Vec<ManifestFile>)> {
    if !gallery.has_crop_files() {
        return Ok((None, Vec::new()));
    }
    let mut stats = CropStats::default();
    let mut writer: Option<PictureWriter> = None;
    let named = named_crops(gallery, corpus);
    let size = |crop: &CropKey| gallery.crop_size(crop.kind, crop.split, &crop.id);
    let chunks = parts(&named, size).map(|chunk| {
        let check = |crop: &CropKey| gallery.check_crop(crop.kind, crop.split, &crop.id);
        let checked: Vec<Checked<Picture>> = chunk.par_iter().with_max_len(1).map(check).collect();
        let counted = chunk.iter().zip(checked);
        Ok(counted.filter_map(|(crop, checked)| count_crop(&mut stats, crop, checked)).collect::<Vec<_>>())
    });
    write_behind(chunks, |kept| {
        if kept.is_empty() {
            return Ok(());
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(PictureWriter::crops(folder, options.shard_bytes)?),
        };
        writer.write_crops(kept)
    })?;
    for counts in [&mut stats.grounding, &mut stats.detected] {
        counts.found = counts.named - counts.missing - counts.broken.len();
    }
    Ok((Some(stats), writer.map_or_else(|| Ok(Vec::new()), PictureWriter::close)?))
}

/// Counts a crop and returns it if it is usable.
fn count_crop(stats: &mut CropStats, crop: &CropKey, checked: Checked<Picture>) -> Option<(CropKey, Picture)> {
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
                    if known.insert((split, kind, &**image, id)) {
                        named.push(CropKey { split, kind, image_id: image.to_string(), id: id.clone() });
                    }
                }
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_few_large_pictures_or_many_small_ones() {
        let lengths = |sizes: &[u64]| parts(sizes, |size| *size).map(<[u64]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[0; 300]), [128, 128, 44]);
        assert_eq!(lengths(&[1 << 20; 130]), [64, 64, 2]);
        assert_eq!(lengths(&[BYTES_AT_ONCE, 1, BYTES_AT_ONCE - 1, 1, 1]), [1, 2, 2]);
        assert!(lengths(&[]).is_empty());
    }
}
