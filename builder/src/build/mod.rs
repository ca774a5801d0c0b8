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

mod checks;
mod contained;
mod defects;
mod facts;
mod family;
mod folder;
mod options;
mod pictures;
mod stats;

use crate::corpus::Corpus;
use crate::error::{Error, Result};
use crate::files::{StagedFolder, explain};
use crate::images::{Gallery, GalleryOptions, Viewer};
use crate::plan::plan;
use checks::{Checks, rows_by_class};
use contained::Contained;
pub use defects::{Defects, count_defects};
pub use family::{build_family, build_orders};
use folder::FolderWriter;
pub use options::{Allowed, BuildOptions, CorpusSource, OnBadCrops, OnBadImage};
use pictures::{PicturesToWrite, WrittenPictures};
pub use stats::{CropCounts, CropStats, ImageStats, Stats, Summary, TaskStats};

/// Builds a benchmark folder. A build that fails leaves nothing. One that is killed leaves a hidden folder beside
/// `options.out`, which the next build there removes.
///
/// # Errors
/// `options.out` exists and may not be replaced; the protocol, the corpus or its pictures cannot be used.
pub fn build(options: &BuildOptions) -> Result<Summary> {
    run(options, None, None)
}

/// Builds a benchmark folder and passes every usable picture to `view`, which saves the caller decoding it again.
///
/// # Errors
/// The same as those of [`build`]; there is no folder of pictures; `view` fails.
pub fn build_viewed(options: &BuildOptions, view: Viewer<'_>) -> Result<Summary> {
    run(options, Some(view), None)
}

/// Builds a folder; errors name the folder and not the one under construction. `shared` is a benchmark of the same corpus
/// with the same options, whose pictures are those of this one.
fn run(options: &BuildOptions, view: Option<Viewer<'_>>, shared: Option<&Summary>) -> Result<Summary> {
    make(options, view, shared).map_err(|error| explain(error, &options.out))
}

fn make(options: &BuildOptions, view: Option<Viewer<'_>>, shared: Option<&Summary>) -> Result<Summary> {
    let target = options.target()?;
    let protocol = options.load_protocol()?;
    let mut corpus = options.read_corpus(&protocol)?;
    let mut checks = Checks::new(options, &protocol);
    checks.check_corpus(&corpus)?;
    let defects = count_defects(&corpus);
    // Plan before any picture is read, so that a protocol that does not fit is reported at once.
    let mut planned = plan(&corpus, &protocol, options.as_published)?;

    let staged = StagedFolder::create(target)?;
    let folder = &staged.path();
    let contained = Contained::unpack(&corpus.spec, &options.raw, &folder.join("contained"))?;
    let gallery = open_gallery(&corpus, options, &contained, protocol.split.is_some(), view.is_some())?;
    let mut pictures = WrittenPictures::default();
    if let Some(gallery) = &gallery {
        let before = rows_by_class(&corpus);
        pictures = PicturesToWrite { gallery, options, folder, view, shared }.write(&mut corpus)?;
        if let Some(stats) = &pictures.stats {
            checks.check_pictures(stats)?;
        }
        if pictures.dropped != [0; 3] {
            checks.check_dropped(&before, &rows_by_class(&corpus))?;
            planned = plan(&corpus, &protocol, options.as_published)?;
        }
    }
    let stats = Stats {
        tasks: (0..planned.tasks.len()).map(|k| TaskStats::new(&corpus, &planned, k)).collect(),
        defects,
        skipped: corpus.skipped.clone(),
        records: corpus.records,
        lost_classes: checks.lost,
        warnings: checks.warnings,
        rows_dropped_for_images: pictures.dropped,
        images: pictures.stats,
    };
    let writer =
        FolderWriter { folder, corpus: &corpus, plan: &planned, gallery: gallery.as_ref(), stats: &stats, options };
    let manifest = writer.write(&protocol, pictures.files)?;
    contained.remove()?;
    staged.install()?;
    Ok(Summary { out: options.out.clone(), manifest, stats, notes: corpus.notes })
}

/// Finds the pictures of a corpus; `None` if it has none.
///
/// # Errors
/// There are none, but the options or a viewer need some; a crop dictionary is damaged.
fn open_gallery(
    corpus: &Corpus,
    options: &BuildOptions,
    contained: &Contained,
    dealt: bool,
    viewed: bool,
) -> Result<Option<Gallery>> {
    let places = GalleryOptions {
        raw: &options.raw,
        images: options.images.as_deref(),
        contained: &contained.folders,
        dealt,
        drop_bad_crops: options.on_bad_crops == OnBadCrops::Drop,
    };
    let gallery = Gallery::open(corpus, &places)?;
    if gallery.is_none() && (viewed || options.needs_images()) {
        let reason = if corpus.text_only() {
            "no row of the corpus names an image; leave out --embed-images, --on-bad-image and --pixels"
        } else {
            "no image folder here; give --images, or leave out --embed-images, --on-bad-image and --pixels"
        };
        return Err(Error::image(&options.raw, reason));
    }
    Ok(gallery)
}
