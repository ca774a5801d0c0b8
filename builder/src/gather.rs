//! Pictures and crops of a corpus into their files, a batch at a time: memory does not grow with their number.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::build::{BuildOptions, OnBadImage};
use crate::corpus::{Corpus, Split};
use crate::dataset::{CROPS_FILE, CropKey, IMAGES_FILE, PICTURES_AT_ONCE, PictureWriter};
use crate::error::{Error, Result};
use crate::images::{BadImages, CropKind, Gallery, MISSING, placeholder};

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

/// Checks every picture that rows name and, unless they are embedded, writes each once.
pub(crate) fn pictures(
    gallery: &Gallery,
    corpus: &Corpus,
    options: &BuildOptions,
    folder: &Path,
) -> Result<ImageStats> {
    let mut named: Vec<(Split, &str)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut stats = ImageStats::default();
    for split in Split::ALL {
        for row in corpus.split(split) {
            if known.insert(row.image.as_str()) {
                named.push((split, &row.image));
            }
            let crops = gallery.crops(CropKind::Grounding, split, row.row, &row.image);
            stats.rows_with_crops += usize::from(!crops.is_empty());
        }
    }
    stats.named = named.len();
    let mut writer =
        if options.embed_images { None } else { Some(PictureWriter::images(&file(folder, IMAGES_FILE)?)?) };
    let stand_in = placeholder()?;
    for chunk in named.chunks(PICTURES_AT_ONCE) {
        let loaded: Vec<_> = chunk.par_iter().map(|(split, id)| gallery.load(*split, id)).collect();
        let mut kept = Vec::with_capacity(chunk.len());
        for ((_, id), loaded) in chunk.iter().zip(loaded) {
            match loaded {
                Ok(picture) => kept.push((*id, picture, false)),
                Err(reason) if options.on_bad_image == OnBadImage::Error => {
                    return Err(Error::image(
                        Path::new(id),
                        format!("{reason}; --on-bad-image can keep or drop its rows"),
                    ));
                }
                Err(reason) => {
                    stats.bad.insert((*id).to_owned(), reason);
                    if options.on_bad_image == OnBadImage::Placeholder {
                        kept.push((*id, stand_in.clone(), true));
                    }
                }
            }
        }
        if let Some(writer) = &mut writer {
            writer.write(kept)?;
        }
    }
    stats.usable = stats.named - stats.bad.len();
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(stats)
}

/// Writes every crop that the dictionaries name for the rows and that can be used once; the others are counted. No
/// folder of crop files is `None`, and no usable crop no file. Crops are extras: no policy drops rows for them.
pub(crate) fn crops(gallery: &Gallery, corpus: &Corpus, folder: &Path) -> Result<Option<CropStats>> {
    if !gallery.has_crop_files() {
        return Ok(None);
    }
    let mut stats = CropStats::default();
    let mut writer: Option<PictureWriter> = None;
    for chunk in named_crops(gallery, corpus).chunks(PICTURES_AT_ONCE) {
        let load = |crop: &CropKey| gallery.load_crop(crop.kind, crop.split, &crop.id);
        let loaded: Vec<_> = chunk.par_iter().map(load).collect();
        let mut kept = Vec::with_capacity(chunk.len());
        for (crop, loaded) in chunk.iter().zip(loaded) {
            let counts = match crop.kind {
                CropKind::Grounding => &mut stats.grounding,
                CropKind::Detected => &mut stats.detected,
            };
            counts.named += 1;
            match loaded {
                Ok(picture) => kept.push((crop.clone(), picture)),
                Err(reason) if reason == MISSING => counts.missing += 1,
                Err(reason) => drop(counts.broken.insert(format!("{}/{}", crop.split, crop.id), reason)),
            }
        }
        if !kept.is_empty() {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(PictureWriter::crops(&file(folder, CROPS_FILE)?)?),
            };
            writer.write_crops(kept)?;
        }
    }
    for counts in [&mut stats.grounding, &mut stats.detected] {
        counts.found = counts.named - counts.missing - counts.broken.len();
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(Some(stats))
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

/// The place of a file of pictures; its folder is there then.
fn file(folder: &Path, path: &str) -> Result<std::path::PathBuf> {
    fs_err::create_dir_all(folder.join("images"))?;
    Ok(folder.join(path))
}
