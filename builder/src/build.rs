//! The whole way: parse, plan, link images, write a benchmark folder beside its place, rename it in.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::corpus::{self, Annotation, Corpus, OnError, Split, sha256_hex};
use crate::dataset::{
    MANIFEST, Manifest, ManifestFile, ManifestTask, Picture, PictureOf, Row, RowLabels, SCHEMA_VERSION, card, combined,
    croissant, task_file, write_rows,
};
use crate::defects;
use crate::error::{Error, Result};
use crate::gather;
pub use crate::gather::{CropCounts, CropStats, ImageStats};
use crate::images::{BadImages, CropKind, Gallery, Viewer, placeholder};
use crate::place::{install, parent, replaceable};
use crate::plan::{Plan, PlannedLabels, PlannedRow, TaskPlan, plan};
use crate::protocol::Protocol;
pub use crate::stats::{Stats, Summary, TaskStats};

/// What to do with a missing or undecodable image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadImage {
    /// Keep the row; a grey picture stands in, marked as such.
    Placeholder,
    /// Drop the rows of that image.
    Drop,
    /// Stop.
    Error,
}

/// What to build, from what, how.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Shipped protocol name or TOML path.
    pub protocol: String,
    /// Folder of the corpus files.
    pub raw: PathBuf,
    /// Folder of the images, if not below `raw`.
    pub images: Option<PathBuf>,
    /// Folder to create.
    pub out: PathBuf,
    /// What to do with a damaged record.
    pub on_error: OnError,
    /// What to do with a bad image.
    pub on_bad_image: OnBadImage,
    /// Write images into the rows.
    pub embed_images: bool,
    /// Leave out the rows that the published files lack.
    pub as_published: bool,
    /// Replace an existing `out`.
    pub force: bool,
}

impl BuildOptions {
    /// Stops at damage, keeps rows without picture, replaces nothing.
    pub fn new(protocol: impl Into<String>, raw: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            protocol: protocol.into(),
            raw: raw.into(),
            images: None,
            out: out.into(),
            on_error: OnError::Fail,
            on_bad_image: OnBadImage::Placeholder,
            embed_images: false,
            as_published: false,
            force: false,
        }
    }
}

/// Builds a benchmark folder. A failed or killed build leaves nothing at `out`.
///
/// # Errors
/// `out` exists (without `force`); anything wrong in corpus, protocol or images, see the parts.
pub fn build(options: &BuildOptions) -> Result<Summary> {
    run(options, None)
}

/// [`build`] that shows every usable picture to `view`, so that nobody has to decode it again.
///
/// # Errors
/// As [`build`]; no image folder; an error of `view`.
pub fn build_viewed(options: &BuildOptions, view: Viewer<'_>) -> Result<Summary> {
    run(options, Some(view))
}

fn run(options: &BuildOptions, view: Option<Viewer<'_>>) -> Result<Summary> {
    replaceable(&options.out, options.force)?;
    let protocol = Protocol::load(&options.protocol)?;
    let mut corpus = corpus::read(protocol.corpus, &options.raw, options.on_error)?;
    let gallery = Gallery::open(&corpus, &options.raw, options.images.as_deref())?;
    let needed = view.is_some() || options.embed_images || options.on_bad_image != OnBadImage::Placeholder;
    if gallery.is_none() && needed {
        let reason = "no image folder here; give --images, or leave out --embed-images, --on-bad-image and --pixels";
        return Err(Error::image(&options.raw, reason));
    }
    let defects = defects::count(&corpus);
    // A protocol that does not fit is reported before any image is read.
    let planned = plan(&corpus, &protocol, options.as_published)?;

    let parent = parent(&options.out);
    fs_err::create_dir_all(parent)?;
    let folder = tempfile::Builder::new().prefix(".mkgc-build-").tempdir_in(parent)?;
    fs_err::create_dir(folder.path().join("tasks"))?;

    let (mut images, mut files) = (None, Vec::new());
    if let Some(gallery) = &gallery {
        let (stats, file) = gather::pictures(gallery, &corpus, options, folder.path(), view)?;
        images = Some(stats);
        files.extend(file);
    }
    let mut dropped = [0; 3];
    let planned = match &images {
        Some(images) if options.on_bad_image == OnBadImage::Drop && !images.bad.is_empty() => {
            dropped = drop_rows(&mut corpus, &images.bad);
            plan(&corpus, &protocol, options.as_published)?
        }
        _ => planned,
    };
    if let (Some(gallery), Some(images)) = (&gallery, &mut images) {
        let (crops, file) = gather::crops(gallery, &corpus, folder.path())?;
        images.crops = crops;
        files.extend(file);
    }
    let writer = Writer {
        folder: folder.path(),
        corpus: &corpus,
        plan: &planned,
        gallery: gallery.as_ref(),
        images: images.as_ref(),
        options,
    };
    let manifest = writer.manifest(&protocol, files)?;
    let stats = Stats {
        tasks: planned.tasks.iter().map(|task| TaskStats::new(task, &planned)).collect(),
        defects,
        skipped: corpus.skipped.clone(),
        rows_dropped_for_images: dropped,
        images,
    };
    let manifest = described(folder.path(), manifest, &stats)?;
    install(folder, &options.out)?;
    Ok(Summary { out: options.out.clone(), manifest, stats })
}

/// Takes the rows of bad images out of the corpus; row numbers stay those of the full files.
fn drop_rows(corpus: &mut Corpus, bad: &BadImages) -> [usize; 3] {
    [&mut corpus.train, &mut corpus.validation, &mut corpus.test].map(|rows| {
        let before = rows.len();
        rows.retain(|row| !bad.contains_key(&row.image));
        before - rows.len()
    })
}

struct Writer<'a> {
    folder: &'a Path,
    corpus: &'a Corpus,
    plan: &'a Plan,
    gallery: Option<&'a Gallery>,
    images: Option<&'a ImageStats>,
    options: &'a BuildOptions,
}

impl Writer<'_> {
    /// Writes the task files; the manifest knows every Parquet file then, these and `pictures`.
    fn manifest(&self, protocol: &Protocol, pictures: Vec<ManifestFile>) -> Result<Manifest> {
        let jobs: Vec<(usize, Split)> =
            (0..self.plan.tasks.len()).flat_map(|task| Split::ALL.map(|split| (task, split))).collect();
        let mut files = jobs.par_iter().map(|(task, split)| self.task(*task, *split)).collect::<Result<Vec<_>>>()?;
        let fingerprint = combined(files.iter().filter_map(|file| file.fingerprint.as_deref()));
        files.extend(pictures);
        let task = |task: &TaskPlan| ManifestTask { name: task.name.clone(), classes: task.classes.clone() };
        Ok(Manifest {
            schema_version: SCHEMA_VERSION,
            name: protocol.name.clone(),
            description: protocol.description.clone(),
            corpus: protocol.corpus,
            task: protocol.corpus.task(),
            published: protocol.published.clone().unwrap_or_else(|| protocol.name.clone()),
            tests: protocol.tests.name().to_owned(),
            labels: self.plan.labels.clone(),
            tasks: self.plan.tasks.iter().map(task).collect(),
            protocol_sha256: protocol.sha256(),
            protocol: protocol.text.clone(),
            sources: self.corpus.sources.clone(),
            as_published: self.options.as_published,
            images: self.gallery.is_some(),
            embed_images: self.options.embed_images,
            fingerprint,
            files,
        })
    }

    fn task(&self, task: usize, split: Split) -> Result<ManifestFile> {
        let planned = self.plan.tasks[task].split(split);
        let rows: Vec<Row> = planned.iter().map(|row| self.row(split, row)).collect();
        let path = task_file(task, split);
        let stand_in = placeholder()?;
        let picture = |row: &Row| self.picture(split, &row.image_id, &stand_in);
        let picture = self.options.embed_images.then_some(&picture as &PictureOf<'_>);
        write_rows((self.folder, &path), self.corpus.kind.task(), &self.plan.labels, &rows, picture)
    }

    fn row(&self, split: Split, planned: &PlannedRow) -> Row {
        let instance = &self.corpus.split(split)[planned.index];
        let labels = match (&instance.annotation, &planned.labels) {
            (Annotation::Relation { head, tail, .. }, PlannedLabels::Relation { relation, original }) => {
                RowLabels::Relation { head: head.clone(), tail: tail.clone(), relation: *relation, original: *original }
            }
            (_, PlannedLabels::Entities { tags, original }) => {
                RowLabels::Entities { tags: tags.clone(), original: original.clone() }
            }
            (Annotation::Entities { .. }, PlannedLabels::Relation { .. }) => unreachable!("planned from this corpus"),
        };
        let crops = self
            .gallery
            .map_or(&[][..], |gallery| gallery.crops(CropKind::Grounding, split, instance.row, &instance.image));
        Row {
            id: format!("{split}-{:06}", instance.row),
            tokens: instance.tokens.clone(),
            owner_task: planned.owner_task,
            image_id: instance.image.clone(),
            crops: crops.to_vec(),
            labels,
        }
    }

    fn picture(&self, split: Split, id: &str, stand_in: &Picture) -> Result<Vec<u8>> {
        match (self.gallery, self.images) {
            (Some(gallery), Some(images)) if !images.bad.contains_key(id) => gallery
                .check(split, id)
                .map(|picture| picture.bytes)
                .map_err(|reason| Error::image(Path::new(id), format!("changed during the build: {reason}"))),
            _ => Ok(stand_in.bytes.clone()),
        }
    }
}

/// Writes the files that describe the others, the manifest last.
fn described(folder: &Path, mut manifest: Manifest, stats: &Stats) -> Result<Manifest> {
    let json = |value: &serde_json::Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    let texts = [
        ("README.md", card(&manifest)),
        ("croissant.json", json(&croissant(&manifest)?)?),
        ("stats.json", json(&serde_json::to_value(stats)?)?),
    ];
    for (name, text) in texts {
        fs_err::write(folder.join(name), &text)?;
        let (path, sha256) = (name.to_owned(), sha256_hex(text.as_bytes()));
        let bytes = text.len() as u64;
        manifest.files.push(ManifestFile { path, rows: None, bytes, sha256, fingerprint: None });
    }
    fs_err::write(folder.join(MANIFEST), json(&serde_json::to_value(&manifest)?)?)?;
    Ok(manifest)
}
