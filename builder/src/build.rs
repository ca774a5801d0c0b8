//! The whole way: parse, plan, link images, write a benchmark folder beside its place, rename it in.

use std::fmt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::corpus::{self, Annotation, Corpus, OnError, Skipped, Split, sha256_hex};
use crate::dataset::{
    MANIFEST, Manifest, ManifestFile, ManifestTask, Picture, PictureOf, Row, RowLabels, SCHEMA_VERSION, card, combined,
    croissant, task_file, write_rows,
};
use crate::defects::{self, Defects};
use crate::error::{Error, Result};
use crate::gather;
pub use crate::gather::{CropCounts, CropStats, ImageStats};
use crate::images::{BadImages, CropKind, Gallery, Viewer, placeholder};
use crate::plan::{Plan, PlannedLabels, PlannedRow, TaskPlan, plan};
use crate::protocol::Protocol;

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

/// Counts of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStats {
    /// Task name.
    pub name: String,
    /// Rows of train, validation, test.
    pub rows: [usize; 3],
    /// Per label (RE) or entity type (NER, entities): train, validation, test.
    pub classes: Vec<(String, [usize; 3])>,
}

/// `stats.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Per task.
    pub tasks: Vec<TaskStats>,
    /// Of the corpus.
    pub defects: Defects,
    /// Records left out.
    pub skipped: Vec<Skipped>,
    /// Rows of the full corpus dropped because of their image, by split.
    pub rows_dropped_for_images: [usize; 3],
    /// Pictures; none if there was no image folder.
    pub images: Option<ImageStats>,
}

/// What was built, for people.
#[derive(Debug)]
pub struct Summary {
    out: PathBuf,
    manifest: Manifest,
    stats: Stats,
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
        tasks: planned.tasks.iter().map(|task| task_stats(task, &planned)).collect(),
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
        let planned = split_of(&self.plan.tasks[task], split);
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
                .load(split, id)
                .map(|(picture, _)| picture.bytes)
                .map_err(|reason| Error::image(Path::new(id), format!("changed during the build: {reason}"))),
            _ => Ok(stand_in.bytes.clone()),
        }
    }
}

fn split_of(task: &TaskPlan, split: Split) -> &[PlannedRow] {
    match split {
        Split::Train => &task.train,
        Split::Validation => &task.validation,
        Split::Test => &task.test,
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

/// Renames a finished folder to its place; an old one there is moved aside first and deleted last.
fn install(folder: tempfile::TempDir, out: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    }
    if !out.exists() {
        fs_err::rename(folder.path(), out)?;
        let _moved = folder.keep();
        return Ok(());
    }
    let aside = tempfile::Builder::new().prefix(".mkgc-old-").tempdir_in(parent(out))?;
    let old = aside.path().join("old");
    fs_err::rename(out, &old)?;
    if let Err(error) = fs_err::rename(folder.path(), out) {
        fs_err::rename(&old, out)?;
        return Err(error.into());
    }
    let _moved = folder.keep();
    aside.close()?;
    Ok(())
}

fn parent(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Nothing is at `out`, or, with `force`, a benchmark folder or an empty one: `--force` never deletes anything else.
fn replaceable(out: &Path, force: bool) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !force {
        return Err(Error::dataset(out, "exists already; choose another --out, or replace it with --force"));
    }
    let benchmark = out.is_dir() && (out.join(MANIFEST).is_file() || fs_err::read_dir(out)?.next().is_none());
    if benchmark {
        Ok(())
    } else {
        Err(Error::dataset(out, "is not a benchmark folder, so --force does not replace it"))
    }
}

fn task_stats(task: &TaskPlan, plan: &Plan) -> TaskStats {
    let mut counts = vec![[0; 3]; plan.labels.len()];
    for split in Split::ALL {
        for row in split_of(task, split) {
            match &row.labels {
                PlannedLabels::Relation { relation, .. } => counts[*relation][split as usize] += 1,
                PlannedLabels::Entities { tags, .. } => tags.iter().for_each(|tag| counts[*tag][split as usize] += 1),
            }
        }
    }
    let named = plan.labels.iter().zip(counts);
    // An entity counts once, by its B- tag.
    let classes = named
        .filter(|(label, count)| *count != [0; 3] && *label != "O" && !label.starts_with("I-"))
        .map(|(label, count)| (label.strip_prefix("B-").unwrap_or(label).to_owned(), count))
        .collect();
    TaskStats { name: task.name.clone(), rows: Split::ALL.map(|split| split_of(task, split).len()), classes }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.manifest.name, self.out.display())?;
        writeln!(f, "{:<6}{:>8}{:>12}{:>8}  classes", "task", "train", "validation", "test")?;
        for (k, (task, stats)) in self.manifest.tasks.iter().zip(&self.stats.tasks).enumerate() {
            let [train, validation, test] = stats.rows;
            writeln!(f, "{k:<6}{train:>8}{validation:>12}{test:>8}  {}", task.classes.join(", "))?;
        }
        match &self.stats.images {
            None => writeln!(f, "images: no folder found, text only")?,
            Some(images) => writeln!(
                f,
                "images: {} of {} usable, {} missing or broken (listed in stats.json); {} rows with crops",
                images.usable,
                images.named,
                images.bad.len(),
                images.rows_with_crops
            )?,
        }
        if let Some(crops) = self.stats.images.as_ref().and_then(|images| images.crops.as_ref()) {
            for (kind, counts) in [("grounding", &crops.grounding), ("detected", &crops.detected)] {
                let CropCounts { named, found, missing, broken } = counts;
                let broken = broken.len();
                writeln!(f, "{kind} crops: {found} of {named} usable, {missing} missing, {broken} broken")?;
            }
        }
        let dropped: usize = self.stats.rows_dropped_for_images.iter().sum();
        if dropped > 0 {
            writeln!(f, "dropped {dropped} rows for their images")?;
        }
        for skipped in &self.stats.skipped {
            writeln!(f, "skipped {}:{}: {}", skipped.file, skipped.line, skipped.reason)?;
        }
        writeln!(f, "skipped {} damaged records", self.stats.skipped.len())?;
        writeln!(f, "fingerprint {}", self.manifest.fingerprint)
    }
}
