//! The commands on benchmark folders: `mkgc build` writes one, `verify` checks it, and `export` writes it as text
//! files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use image::RgbImage;
use mkgc_builder::build::{Allowed, BuildOptions, OnBadCrops, OnBadImage, Summary, build_family, build_viewed};
use mkgc_builder::corpus::OnError;
use mkgc_builder::dataset::BenchmarkFolder;
use mkgc_builder::protocol::Protocol;
use mkgc_builder::verify::FileCheck;
use mkgc_harness::console::{counted, note, print};
use mkgc_harness::data::cache::{self, PixelWriter};

#[derive(Args)]
pub struct BuildArgs {
    /// A shipped protocol (`mkgc ls benchmarks` lists them) or the path of a TOML file.
    protocol: String,
    /// Which order to build of a protocol that has several, from 1; by default all, each into a folder below --out.
    #[arg(long)]
    order: Option<usize>,
    /// Folder with the corpus files.
    #[arg(long)]
    raw: PathBuf,
    /// Folder with the images, if not below --raw.
    #[arg(long)]
    images: Option<PathBuf>,
    /// Folder to create. If the protocol has several orders, each gets a folder below it.
    #[arg(long)]
    out: PathBuf,
    /// What to do with a damaged record.
    #[arg(long, value_enum, default_value = "fail")]
    on_error: OnErrorArg,
    /// What to do with a missing or undecodable image.
    #[arg(long, value_enum, default_value = "placeholder")]
    on_bad_image: OnBadImageArg,
    /// What to do with a crop dictionary that cannot be read.
    #[arg(long, value_enum, default_value = "error")]
    on_bad_crops: OnBadCropsArg,
    /// Write the image into each row instead of once into images/.
    #[arg(long)]
    embed_images: bool,
    /// Largest size of a file of images or crops, in KB, MB or GB. Anything beyond that goes into further files, as in
    /// `datasets`.
    #[arg(long, value_name = "SIZE", default_value = "500MB", value_parser = parse_size)]
    max_shard_size: u64,
    /// Build although the corpus files seem to be the wrong ones: what to allow, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    allow: Vec<AllowArg>,
    /// Reproduce known errors of the published files (sep5 lacks one test row).
    #[arg(long)]
    as_published: bool,
    /// Also prepare the pictures for vision encoders that read S x S pixels (CLIP: 224), so that no run has to decode
    /// them.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..))]
    pixels: Option<u16>,
    /// Replace the benchmark that is already at --out.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnErrorArg {
    /// Stop with file and line.
    Fail,
    /// Leave the record out, count and list it.
    Skip,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnBadImageArg {
    /// Keep the row with a placeholder image.
    Placeholder,
    /// Drop the rows of that image.
    Drop,
    /// Stop at the first such image, with its name and the reason.
    Error,
}

#[derive(Clone, Copy, ValueEnum)]
enum AllowArg {
    /// More than 1 % of the records of a split are damaged and left out (--on-error skip).
    Skipped,
    /// No row of a class is left, because its records are damaged or its pictures cannot be used.
    LostClass,
    /// Two splits hold the same rows.
    EqualSplits,
    /// Rows name pictures and there is a folder of them, but none can be used.
    NoPictures,
}

impl From<AllowArg> for Allowed {
    fn from(arg: AllowArg) -> Self {
        match arg {
            AllowArg::Skipped => Self::Skipped,
            AllowArg::LostClass => Self::LostClass,
            AllowArg::EqualSplits => Self::EqualSplits,
            AllowArg::NoPictures => Self::NoPictures,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum OnBadCropsArg {
    /// Stop, and say which dictionary cannot be read and why.
    Error,
    /// Build without any crops, so that splits do not differ in whether they have some.
    Drop,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Folder that `mkgc build` wrote.
    dir: PathBuf,
    /// Layout to write the benchmark in.
    #[arg(long, value_enum)]
    layout: Layout,
    /// Folder to write into, where no file with other content is replaced.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    /// The text files of zjunlp/ContinueMKGC, byte for byte.
    Continuemkgc,
}

pub fn build(args: BuildArgs) -> Result<()> {
    let options = BuildOptions {
        order: args.order,
        images: args.images,
        on_error: match args.on_error {
            OnErrorArg::Fail => OnError::Fail,
            OnErrorArg::Skip => OnError::Skip,
        },
        on_bad_image: match args.on_bad_image {
            OnBadImageArg::Placeholder => OnBadImage::Placeholder,
            OnBadImageArg::Drop => OnBadImage::Drop,
            OnBadImageArg::Error => OnBadImage::Error,
        },
        on_bad_crops: match args.on_bad_crops {
            OnBadCropsArg::Error => OnBadCrops::Error,
            OnBadCropsArg::Drop => OnBadCrops::Drop,
        },
        embed_images: args.embed_images,
        shard_bytes: args.max_shard_size,
        as_published: args.as_published,
        allow: args.allow.into_iter().map(Allowed::from).collect(),
        force: args.force,
        ..BuildOptions::new(args.protocol, args.raw, args.out)
    };
    let family = args.order.is_none() && Protocol::load(&options.protocol)?.orders() > 0;
    let summaries = match args.pixels {
        Some(_) if family => anyhow::bail!("--pixels prepares the pictures of one benchmark; choose one with --order"),
        Some(side) => vec![build_prepared(&options, side.into())?],
        None if family => build_family(&options)?,
        None => vec![mkgc_builder::build::build(&options)?],
    };
    for summary in &summaries {
        for warning in &summary.stats.warnings {
            note(format_args!("warning: {}: {warning}", summary.manifest.name));
        }
    }
    Ok(print(&summaries.iter().map(ToString::to_string).collect::<String>())?)
}

/// Parses a size as `datasets` writes it, such as `500MB`, to bytes.
fn parse_size(size: &str) -> std::result::Result<u64, String> {
    let units = [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    let parsed = units.iter().find_map(|(unit, bytes)| {
        let number: u64 = size.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*bytes)
    });
    parsed
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a whole number with KB, MB or GB, such as 500MB".to_owned())
}

/// Builds, and keeps what a run will read of each picture.
fn build_prepared(options: &BuildOptions, side: usize) -> Result<Summary> {
    let folder = cache::folder()?;
    let writer = PixelWriter::create(&folder, side)?;
    let view = |id: &str, picture: &RgbImage| writer.add(id, picture).map_err(|error| error.to_string());
    let summary = build_viewed(options, &view)?;
    writer.finish(&cache::images(&folder, &BenchmarkFolder::open(&options.out)?, side))?;
    Ok(summary)
}

/// Prints one line per file; exit code 1 if any fails. Files that the manifest does not list are named on stderr.
pub fn verify(dir: &Path) -> Result<ExitCode> {
    let checks = mkgc_builder::verify::verify(dir)?;
    let line = |check: &FileCheck| format!("{}  {}\n", check.problem.as_deref().unwrap_or("ok"), check.path);
    let printed = print(&checks.iter().map(line).collect::<String>());
    let others = mkgc_builder::verify::other_files(dir)?;
    if !others.is_empty() {
        note(format_args!("not in the manifest, so not checked: {}", others.join(", ")));
    }
    let failed = checks.iter().filter(|check| check.problem.is_some()).count();
    note(format_args!("{}, {failed} failed", counted(checks.len(), "file")));
    if failed > 0 {
        return Ok(ExitCode::FAILURE);
    }
    printed?;
    Ok(ExitCode::SUCCESS)
}

pub fn export(args: &ExportArgs) -> Result<()> {
    let Layout::Continuemkgc = args.layout;
    let paths = mkgc_builder::export::continuemkgc(&args.dir, &args.out)?;
    Ok(print(&paths.iter().map(|path| format!("{}\n", path.display())).collect::<String>())?)
}
