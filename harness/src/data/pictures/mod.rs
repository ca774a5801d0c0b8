//! The pixels of a benchmark's rows: prepared once and kept as bytes on disk ([`super::cache`]), normalised per batch.
//!
//! Where a row's picture is missing or broken, or the benchmark came without pictures, a *stand-in* takes its place:
//! 4 x 4 coloured squares drawn from the SHA-256 of its name, the same in every run, so that a vision stream has
//! something to learn from. In the crops layout that holds for grounding crops that a row names; a slot without a name
//! is a zero image, as in the published code.
//!
//! Two controls tell whether a network looks at what it is shown: `visual = "blank"` shows zeros in every slot,
//! `visual = "shuffled"` the pictures of another row ([`shuffle`]).

mod shuffle;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{BenchmarkFolder, CROPS_FILE, Row};
use mkgc_builder::images::{CropKind, decode, picture_key};
use mkgc_models::inputs::{CROPS, DETECTED_SIDE, GROUNDING_SIDE, Pixels, Visual};
use mkgc_models::pixels::{normalise, normalise_on_device};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cache::{PixelFile, PixelWriter, images, prepared_path};
use super::{Benchmark, Example};
use crate::config::{Config, VisualSetting};
use crate::error::{Error, Result};

/// Squares along a side of a stand-in.
const SQUARES: usize = 4;

/// The pictures that the vision stream sees of each row.
pub struct Pictures {
    shown: Shown,
    /// Maps a row to the other row whose pictures it shows; rows that are not in it show their own.
    sources: BTreeMap<String, String>,
}

enum Shown {
    Image(Album),
    Crops { grounding: Album, detected: Album },
}

impl Pictures {
    /// Opens the pictures (`size` pixels a side) or the crops (128 and 64) of all rows, as the setting `visual` says, in
    /// the folder `cache`, where they are decoded to first if they are not there. Disk: three bytes a pixel.
    ///
    /// # Errors
    /// A damaged benchmark; a picture that no longer decodes; crops wanted where no row has any; `cache` cannot be
    /// written.
    pub fn open(benchmark: &Benchmark, config: &Config, size: usize, cache: &Path) -> Result<Self> {
        let folder = &benchmark.folder;
        let rows = rows(benchmark)?;
        let (grounding, detected) = crop_names(folder, &rows)?;
        let named = grounding.values().chain(detected.values()).any(|names| !names.is_empty());
        let form = config.visual.form(named && folder.has_crops());
        let shown = match form {
            Visual::Crops if !named => {
                let reason = "no row has a crop: build it from a corpus with crops, or train with `visual = \"image\"`";
                return Err(mkgc_builder::Error::dataset(folder.dir(), reason).into());
            }
            _ if config.visual == VisualSetting::Blank => Shown::blank(form, &rows, size),
            Visual::Image => Shown::Image(image_album(folder, &rows, size, cache)?),
            Visual::Crops => Shown::Crops {
                grounding: crop_album(folder, (CropKind::Grounding, GROUNDING_SIDE), grounding, cache)?,
                detected: crop_album(folder, (CropKind::Detected, DETECTED_SIDE), detected, cache)?,
            },
        };
        let shuffled = config.visual == VisualSetting::Shuffled;
        let sources = if shuffled { shuffle::sources(&rows, config.train_seed) } else { BTreeMap::new() };
        Ok(Self { shown, sources })
    }

    /// Returns whether rows show whole images or crops.
    pub fn form(&self) -> Visual {
        match &self.shown {
            Shown::Image(_) => Visual::Image,
            Shown::Crops { .. } => Visual::Crops,
        }
    }

    /// Returns the normalised pixels of rows: `[B, 3, S, S]`, or `[B, 3, 3, 128, 128]` and `[B, 3, 3, 64, 64]` for
    /// crops.
    ///
    /// # Errors
    /// A row of another benchmark.
    pub fn pixels(&self, rows: &[&Example], device: &Device) -> Result<Pixels> {
        let ids: Vec<&str> = rows.iter().map(|row| self.source(&row.id)).collect();
        Ok(match &self.shown {
            Shown::Image(album) => Pixels::Image(album.pixels(&ids, device)?.squeeze(1)?),
            Shown::Crops { grounding, detected } => {
                Pixels::Crops { grounding: grounding.pixels(&ids, device)?, detected: detected.pixels(&ids, device)? }
            }
        })
    }

    /// Counts the distinct pictures or crops of the corpus that rows show.
    pub fn real(&self) -> usize {
        self.albums().iter().map(|album| album.real()).sum()
    }

    /// Counts the distinct stand-ins that rows show.
    pub fn stand_ins(&self) -> usize {
        self.albums().iter().map(|album| album.wanted().len() - album.real()).sum()
    }

    /// Counts the rows that show a stand-in.
    pub fn stand_in_rows(&self) -> usize {
        let albums = self.albums();
        let stands_in = |row: &&String| albums.iter().any(|album| album.stands_in(self.source(row)));
        albums[0].of_row.keys().filter(stands_in).count()
    }

    /// Returns the row whose pictures a row is shown.
    fn source<'a>(&'a self, row: &'a str) -> &'a str {
        self.sources.get(row).map_or(row, String::as_str)
    }

    fn albums(&self) -> Vec<&Album> {
        match &self.shown {
            Shown::Image(album) => vec![album],
            Shown::Crops { grounding, detected } => vec![grounding, detected],
        }
    }
}

impl Shown {
    /// Makes pictures with zeros in every slot.
    fn blank(form: Visual, rows: &[(Split, Row)], size: usize) -> Self {
        let album = |side, slots| {
            let of_row = rows.iter().map(|(_, row)| (row.id.clone(), Vec::new())).collect();
            Album { side, slots, of_row, planes: None }
        };
        match form {
            Visual::Image => Self::Image(album(size, 1)),
            Visual::Crops => {
                Self::Crops { grounding: album(GROUNDING_SIDE, CROPS), detected: album(DETECTED_SIDE, CROPS) }
            }
        }
    }
}

/// Reads every row of the benchmark once, with its split.
fn rows(benchmark: &Benchmark) -> Result<Vec<(Split, Row)>> {
    let mut rows = Vec::new();
    let mut known = BTreeSet::new();
    for (task, split) in (0..benchmark.tasks()).flat_map(|task| Split::ALL.map(|split| (task, split))) {
        let further = benchmark.rows(task, split)?.into_iter().filter(|row| known.insert(row.id.clone()));
        rows.extend(further.map(|row| (split, row)));
    }
    Ok(rows)
}

fn image_album(folder: &BenchmarkFolder, rows: &[(Split, Row)], side: usize, cache: &Path) -> Result<Album> {
    let by_split = folder.manifest().images_by_split;
    let keys = |split: Split, row: &Row| {
        row.image_id.iter().map(|name| picture_key(by_split.then_some(split), name)).collect()
    };
    let of_row = rows.iter().map(|(split, row)| (row.id.clone(), keys(*split, row))).collect();
    let fill = |writer: &PixelWriter| {
        folder.pictures(|batch| {
            let usable = batch.into_iter().filter(|picture| !picture.stand_in);
            prepare(usable.map(|picture| (picture.key(), picture.bytes)).collect(), writer, folder.dir())
        })
    };
    let planes = folder.manifest().images.then(|| PixelFile::open_or_make(&images(cache, folder, side), side, fill));
    Ok(Album { side, slots: 1, of_row, planes: planes.transpose()? })
}

/// Returns the key of a crop; names repeat between splits.
fn key(split: Split, name: &str) -> String {
    picture_key(Some(split), name)
}

/// Returns the names of the crops of each row: grounding crops as the row names them, detected ones by the picture
/// that they were cut from.
fn crop_names(folder: &BenchmarkFolder, rows: &[(Split, Row)]) -> Result<(NamesOfRows, NamesOfRows)> {
    let named = |split, row: &Row| row.crops.iter().take(CROPS).map(|name| key(split, name)).collect();
    let grounding = rows.iter().map(|(split, row)| (row.id.clone(), named(*split, row))).collect();
    let mut cut: BTreeMap<(Split, String), Vec<String>> = BTreeMap::new();
    for crop in folder.crop_keys()?.into_iter().filter(|crop| crop.kind == CropKind::Detected) {
        let names = cut.entry((crop.split, crop.image_id)).or_default();
        if names.len() < CROPS {
            names.push(key(crop.split, &crop.id));
        }
    }
    let of_image =
        |split, row: &Row| row.image_id.clone().and_then(|image| cut.get(&(split, image))).cloned().unwrap_or_default();
    let detected = rows.iter().map(|(split, row)| (row.id.clone(), of_image(*split, row))).collect();
    Ok((grounding, detected))
}

fn crop_album(
    folder: &BenchmarkFolder,
    (kind, side): (CropKind, usize),
    of_row: NamesOfRows,
    cache: &Path,
) -> Result<Album> {
    let fill = |writer: &PixelWriter| {
        folder.crops(|batch| {
            let own = batch.into_iter().filter(|(crop, _)| crop.kind == kind);
            let own = own.map(|(crop, bytes)| (key(crop.split, &crop.id), bytes)).collect();
            prepare(own, writer, folder.dir())
        })
    };
    let path = prepared_path(cache, folder, CROPS_FILE, kind.name(), side);
    let planes = folder.has_crops().then(|| PixelFile::open_or_make(&path, side, fill)).transpose()?;
    Ok(Album { side, slots: CROPS, of_row, planes })
}

/// Decodes pictures of the benchmark in `folder` on all threads and adds them to the writer.
fn prepare(files: Vec<(String, Vec<u8>)>, writer: &PixelWriter, folder: &Path) -> Result<()> {
    files.into_par_iter().with_max_len(1).try_for_each(|(name, bytes)| {
        let picture = decode(&bytes).map_err(|reason| {
            let remedy = "check the folder with `mkgc verify`, or build it again";
            mkgc_builder::Error::dataset(folder, format!("picture `{name}` {reason}; {remedy}"))
        })?;
        writer.add(&name, &picture)
    })
}

/// Names of the pictures that each row shows.
type NamesOfRows = BTreeMap<String, Vec<String>>;

/// Pictures of one size, and which of them each row shows.
struct Album {
    side: usize,
    /// Pictures per row; zero images fill the slots that a row leaves empty.
    slots: usize,
    of_row: NamesOfRows,
    /// None for a benchmark without pictures.
    planes: Option<PixelFile>,
}

impl Album {
    fn wanted(&self) -> BTreeSet<&str> {
        self.of_row.values().flatten().map(String::as_str).collect()
    }

    /// Returns the bytes `[3, side, side]` of a picture of the corpus; none if the corpus lacks it.
    fn planes(&self, name: &str) -> Option<&[u8]> {
        self.planes.as_ref()?.get(name)
    }

    /// Returns whether a row shows a picture that the corpus lacks.
    fn stands_in(&self, row: &str) -> bool {
        self.of_row.get(row).is_some_and(|names| names.iter().any(|name| self.planes(name).is_none()))
    }

    /// Counts the wanted pictures that the corpus has.
    fn real(&self) -> usize {
        self.wanted().into_iter().filter(|name| self.planes(name).is_some()).count()
    }

    /// Returns the normalised pixels of rows, `[B, slots, 3, side, side]`.
    fn pixels(&self, rows: &[&str], device: &Device) -> Result<Tensor> {
        if device.is_cpu() {
            let values = self.filled(rows, |planes| normalise(&planes).into())?;
            return Ok(Tensor::from_vec(values, &self.shape(rows), device)?);
        }
        self.pixels_there(rows, device)
    }

    fn shape(&self, rows: &[&str]) -> [usize; 5] {
        [rows.len(), self.slots, 3, self.side, self.side]
    }

    /// Returns the pixels of rows, normalised on the device: bytes are a quarter of the data to upload.
    fn pixels_there(&self, rows: &[&str], device: &Device) -> Result<Tensor> {
        let bytes = Tensor::from_vec(self.filled(rows, |planes| planes)?, &self.shape(rows), device)?;
        let pixels = normalise_on_device(&bytes)?;
        let slots = rows.iter().flat_map(|row| (0..self.slots).map(|slot| (slot < self.of_row[*row].len()).into()));
        let shown: Vec<f32> = slots.map(|shown: u8| f32::from(shown)).collect();
        Ok(pixels.broadcast_mul(&Tensor::from_vec(shown, (rows.len(), self.slots, 1, 1, 1), device)?)?)
    }

    /// Fills the slots of the rows with what `of` makes of each picture's bytes; empty slots are zeros.
    fn filled<T: Copy + Default>(&self, rows: &[&str], of: impl Fn(Cow<'_, [u8]>) -> Cow<'_, [T]>) -> Result<Vec<T>> {
        let size = 3 * self.side * self.side;
        let names = |row: &&str| {
            let names = self.of_row.get(*row);
            names.ok_or_else(|| Error::Usage(format!("row {row} is not in this benchmark")))
        };
        let names = rows.iter().map(names).collect::<Result<Vec<_>>>()?;
        let mut values = vec![T::default(); rows.len() * self.slots * size];
        for (row, names) in values.chunks_mut(self.slots * size).zip(names) {
            for (slot, name) in row.chunks_exact_mut(size).zip(names) {
                let planes = self.planes(name).map_or_else(|| stand_in(name, self.side).into(), Cow::from);
                slot.copy_from_slice(&of(planes));
            }
        }
        Ok(values)
    }
}

/// Draws coloured squares that depend on the name alone, bytes `[3, side, side]`.
fn stand_in(name: &str, side: usize) -> Vec<u8> {
    let mut colours = [[[0; SQUARES]; SQUARES]; 3];
    let mut random = ChaCha8Rng::from_seed(Sha256::digest(name).into());
    colours.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|byte| *byte = random.next_u32() as u8);
    let squares: Vec<usize> = (0..side).map(|at| at * SQUARES / side).collect();
    let mut planes = Vec::with_capacity(3 * side * side);
    for channel in colours {
        for (line, square) in squares.iter().enumerate() {
            if line > 0 && squares[line - 1] == *square {
                planes.extend_from_within(planes.len() - side..);
            } else {
                planes.extend(squares.iter().map(|across| channel[*square][*across]));
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests;
