//! Builds a benchmark folder: parse the corpus, plan the tasks, write everything into a temporary folder next to the
//! target, and rename it into place.
//!
//! ```no_run
//! use mkgc_builder::build::{BuildOptions, build};
//!
//! let options = BuildOptions::new("mnre-10", "MNRE", "data/mnre-10");
//! let summary = build(&options)?;
//! println!("{} with {} tasks", summary.manifest.name, summary.manifest.tasks.len());
//! # Ok::<(), mkgc_builder::Error>(())
//! ```

mod defects;
mod folder;
mod options;
mod pictures;
mod stats;

use crate::corpus;
use crate::error::{Error, Result};
use crate::files::{install_folder, parent_folder};
use crate::images::{Gallery, Viewer};
use crate::plan::plan;
use crate::protocol::Protocol;
pub use defects::{Defects, count_defects};
use folder::FolderWriter;
pub use options::{BuildOptions, OnBadImage};
pub use stats::{CropCounts, CropStats, ImageStats, Stats, Summary, TaskStats};

/// Builds a benchmark folder. A build that fails or is killed leaves nothing at `options.out`.
///
/// # Errors
/// `options.out` exists and may not be replaced; the protocol, the corpus or its pictures cannot be used.
pub fn build(options: &BuildOptions) -> Result<Summary> {
    run(options, None)
}

/// Builds a benchmark folder and passes every usable picture to `view`, which saves the caller decoding it again.
///
/// # Errors
/// The same as those of [`build`]; there is no folder of pictures; `view` fails.
pub fn build_viewed(options: &BuildOptions, view: Viewer<'_>) -> Result<Summary> {
    run(options, Some(view))
}

fn run(options: &BuildOptions, view: Option<Viewer<'_>>) -> Result<Summary> {
    options.check_out()?;
    let protocol = Protocol::load(&options.protocol)?;
    let mut corpus = corpus::read(&options.corpus_spec(&protocol)?, &options.raw, options.on_error)?;
    let gallery = Gallery::open(&corpus, &options.raw, options.images.as_deref())?;
    if gallery.is_none() && (view.is_some() || options.needs_images()) {
        let reason = "no image folder here; give --images, or leave out --embed-images, --on-bad-image and --pixels";
        return Err(Error::image(&options.raw, reason));
    }
    let defects = count_defects(&corpus);
    // Plan before any picture is read, so that a protocol that does not fit is reported at once.
    let mut planned = plan(&corpus, &protocol, options.as_published)?;

    let parent = parent_folder(&options.out);
    fs_err::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new().prefix(".mkgc-build-").tempdir_in(parent)?;
    let mut files = Vec::new();
    let mut images = None;
    let mut dropped = [0; 3];
    if let Some(gallery) = &gallery {
        let (mut stats, images_file) = pictures::write_images(gallery, &corpus, options, temporary.path(), view)?;
        if options.on_bad_image == OnBadImage::Drop && !stats.bad.is_empty() {
            dropped = pictures::drop_rows(&mut corpus, &stats.bad);
            planned = plan(&corpus, &protocol, options.as_published)?;
        }
        let (crops, crops_file) = pictures::write_crops(gallery, &corpus, temporary.path())?;
        stats.crops = crops;
        files.extend(images_file.into_iter().chain(crops_file));
        images = Some(stats);
    }
    let stats = Stats {
        tasks: planned.tasks.iter().map(|task| TaskStats::new(task, &planned.labels)).collect(),
        defects,
        skipped: corpus.skipped.clone(),
        rows_dropped_for_images: dropped,
        images,
    };
    let folder = temporary.path();
    let writer =
        FolderWriter { folder, corpus: &corpus, plan: &planned, gallery: gallery.as_ref(), stats: &stats, options };
    let manifest = writer.write(&protocol, files)?;
    install_folder(temporary, &options.out)?;
    Ok(Summary { out: options.out.clone(), manifest, stats })
}
