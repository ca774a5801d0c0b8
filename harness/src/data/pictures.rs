//! The pixels of a benchmark's rows: files decoded, resized and cropped once, kept as bytes, normalised per batch.
//!
//! Where a row's picture is missing or broken, or the benchmark came without pictures, a *stand-in* takes its place:
//! 4 x 4 coloured squares drawn from the SHA-256 of its name, the same in every run, so that a vision stream has
//! something to learn from. In the crops layout that holds for grounding crops that a row names; a slot without a name
//! is a zero image, as in the published code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{Benchmark as Folder, CROPS_FILE, IMAGES_FILE, Row};
use mkgc_builder::images::{CropKind, decode};
use mkgc_models::clip::{CROPS, DETECTED_SIDE, GROUNDING_SIDE, Visual};
use mkgc_models::network::Pixels;
use mkgc_models::pixels::{normalise, resize_crop};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Benchmark, Example};
use crate::error::{Error, Result};

/// Squares along a side of a stand-in.
const SQUARES: usize = 4;

/// What the vision stream sees of each row.
pub struct Pictures(Shown);

enum Shown {
    Image(Album),
    Crops { grounding: Album, detected: Album },
}

impl Pictures {
    /// Reads the pictures (`size` pixels a side) or the crops (128 and 64) of all rows. Memory: three bytes a pixel.
    ///
    /// # Errors
    /// A damaged benchmark; a picture that no longer decodes; crops wanted where no row has any.
    pub fn open(benchmark: &Benchmark, visual: Visual, size: usize) -> Result<Self> {
        let (folder, rows) = (&benchmark.folder, rows(benchmark)?);
        Ok(Self(match visual {
            Visual::Image => Shown::Image(image_album(folder, &rows, size)?),
            Visual::Crops => {
                let (grounding, detected) = crop_albums(folder, &rows)?;
                if grounding.of_row.values().chain(detected.of_row.values()).all(Vec::is_empty) {
                    let reason =
                        "no row has a crop: build it from a corpus with crops, or train with `visual = \"image\"`";
                    return Err(mkgc_builder::Error::dataset(folder.dir(), reason).into());
                }
                Shown::Crops { grounding, detected }
            }
        }))
    }

    /// Normalised pixels of rows: `[B, 3, S, S]`, or `[B, 3, 3, 128, 128]` and `[B, 3, 3, 64, 64]`.
    ///
    /// # Errors
    /// A row of another benchmark.
    pub fn pixels(&self, rows: &[&Example], device: &Device) -> Result<Pixels> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        Ok(match &self.0 {
            Shown::Image(album) => Pixels::Image(album.pixels(&ids, device)?.squeeze(1)?),
            Shown::Crops { grounding, detected } => {
                Pixels::Crops { grounding: grounding.pixels(&ids, device)?, detected: detected.pixels(&ids, device)? }
            }
        })
    }

    /// Distinct pictures or crops of the corpus that rows show.
    pub fn real(&self) -> usize {
        self.albums().iter().map(|album| album.planes.len()).sum()
    }

    /// Distinct stand-ins that rows show.
    pub fn stand_ins(&self) -> usize {
        self.albums().iter().map(|album| album.wanted().len() - album.planes.len()).sum()
    }

    fn albums(&self) -> Vec<&Album> {
        match &self.0 {
            Shown::Image(album) => vec![album],
            Shown::Crops { grounding, detected } => vec![grounding, detected],
        }
    }
}

/// Every row of the benchmark once, with its split.
fn rows(benchmark: &Benchmark) -> Result<Vec<(Split, Row)>> {
    let (mut rows, mut known) = (Vec::new(), BTreeSet::new());
    for (task, split) in (0..benchmark.tasks()).flat_map(|task| Split::ALL.map(|split| (task, split))) {
        let further = benchmark.rows(task, split)?.into_iter().filter(|row| known.insert(row.id.clone()));
        rows.extend(further.map(|row| (split, row)));
    }
    Ok(rows)
}

fn image_album(folder: &Folder, rows: &[(Split, Row)], size: usize) -> Result<Album> {
    let of_row = rows.iter().map(|(_, row)| (row.id.clone(), vec![row.image_id.clone()]));
    let mut album = Album::new(size, 1, of_row.collect());
    let wanted = album.wanted();
    folder.pictures(|batch| {
        let usable = batch.into_iter().filter(|picture| !picture.stand_in && wanted.contains(&picture.id));
        album.add(usable.map(|picture| (picture.id, picture.bytes)).collect(), &folder.dir().join(IMAGES_FILE))
    })?;
    Ok(album)
}

/// The key of a crop: names repeat between splits.
fn key(split: Split, name: &str) -> String {
    format!("{split}/{name}")
}

/// Grounding crops by the names in the rows, detected ones by the picture they were cut from.
fn crop_albums(folder: &Folder, rows: &[(Split, Row)]) -> Result<(Album, Album)> {
    let named = |split, row: &Row| row.crops.iter().take(CROPS).map(|name| key(split, name)).collect();
    let of_row = rows.iter().map(|(split, row)| (row.id.clone(), named(*split, row)));
    let mut grounding = Album::new(GROUNDING_SIDE, CROPS, of_row.collect());
    let wanted = grounding.wanted();
    let images: BTreeSet<(Split, &str)> = rows.iter().map(|(split, row)| (*split, row.image_id.as_str())).collect();
    let mut cut: BTreeMap<(Split, String), Vec<String>> = BTreeMap::new();
    let mut detected = Album::new(DETECTED_SIDE, CROPS, BTreeMap::new());
    let path = folder.dir().join(CROPS_FILE);
    folder.crops(|batch| -> Result<()> {
        let (mut objects, mut parts) = (Vec::new(), Vec::new());
        for (crop, bytes) in batch {
            let name = key(crop.split, &crop.id);
            if crop.kind == CropKind::Grounding {
                objects.extend(wanted.contains(&name).then_some((name, bytes)));
            } else if images.contains(&(crop.split, crop.image_id.as_str())) {
                let names = cut.entry((crop.split, crop.image_id)).or_default();
                if names.len() < CROPS {
                    names.push(name.clone());
                    parts.push((name, bytes));
                }
            }
        }
        grounding.add(objects, &path)?;
        detected.add(parts, &path)
    })?;
    let of_image = |split, row: &Row| cut.get(&(split, row.image_id.clone())).cloned().unwrap_or_default();
    detected.of_row = rows.iter().map(|(split, row)| (row.id.clone(), of_image(*split, row))).collect();
    Ok((grounding, detected))
}

/// Pictures of one size, and which of them each row shows.
struct Album {
    side: usize,
    /// Pictures per row; zero images fill the slots that a row leaves empty.
    slots: usize,
    of_row: BTreeMap<String, Vec<String>>,
    /// Bytes `[3, side, side]`.
    planes: BTreeMap<String, Vec<u8>>,
}

impl Album {
    fn new(side: usize, slots: usize, of_row: BTreeMap<String, Vec<String>>) -> Self {
        Self { side, slots, of_row, planes: BTreeMap::new() }
    }

    fn wanted(&self) -> BTreeSet<String> {
        self.of_row.values().flatten().cloned().collect()
    }

    /// Decodes and resizes files, as many at a time as there are threads.
    fn add(&mut self, files: Vec<(String, Vec<u8>)>, path: &Path) -> Result<()> {
        let side = self.side;
        let planes = |(name, bytes): (String, Vec<u8>)| -> Result<(String, Vec<u8>)> {
            let picture = decode(&bytes).map_err(|reason| {
                let remedy = "check the folder with `mkgc verify`, or build it again";
                mkgc_builder::Error::dataset(path, format!("picture `{name}` {reason}; {remedy}"))
            })?;
            Ok((name, resize_crop(&picture, side)?))
        };
        self.planes.extend(files.into_par_iter().map(planes).collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    /// `[B, slots, 3, side, side]`
    fn pixels(&self, rows: &[&str], device: &Device) -> Result<Tensor> {
        let size = 3 * self.side * self.side;
        let mut values = Vec::with_capacity(rows.len() * self.slots * size);
        for (n, row) in rows.iter().enumerate() {
            let names = self.of_row.get(*row);
            let names = names.ok_or_else(|| Error::Usage(format!("row {row} is not in this benchmark")))?;
            for name in names {
                match self.planes.get(name) {
                    Some(planes) => values.extend(normalise(planes)),
                    None => values.extend(normalise(&stand_in(name, self.side))),
                }
            }
            values.resize((n + 1) * self.slots * size, 0.0);
        }
        Ok(Tensor::from_vec(values, (rows.len(), self.slots, 3, self.side, self.side), device)?)
    }
}

/// Coloured squares that depend on the name alone, bytes `[3, side, side]`.
fn stand_in(name: &str, side: usize) -> Vec<u8> {
    let mut colours = [[[0; SQUARES]; SQUARES]; 3];
    let mut random = ChaCha8Rng::from_seed(Sha256::digest(name).into());
    colours.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|byte| *byte = random.next_u32() as u8);
    let square = |at: usize| at * SQUARES / side;
    let pixel = |channel: usize, at: usize| colours[channel][square(at / side)][square(at % side)];
    (0..3).flat_map(|channel| (0..side * side).map(move |at| (channel, at))).map(|(c, at)| pixel(c, at)).collect()
}

#[cfg(test)]
#[path = "pictures/tests.rs"]
mod tests;
