//! `mkgc build`, `verify`, `export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use image::RgbImage;
use mkgc_builder::build::{BuildOptions, OnBadImage, Summary, build_viewed};
use mkgc_builder::corpus::OnError;
use mkgc_builder::dataset::BenchmarkFolder;
use mkgc_harness::data::cache::{self, PixelWriter};

#[derive(Args)]
pub struct BuildArgs {
    /// A shipped protocol (mnre-5, mnre-7, mnre-10, twitter2017-plom, twitter2017-polm) or the path of a TOML file.
    protocol: String,
    /// Folder with the corpus files.
    #[arg(long)]
    raw: PathBuf,
    /// Folder with the images, if not below --raw.
    #[arg(long)]
    images: Option<PathBuf>,
    /// Folder to create.
    #[arg(long)]
    out: PathBuf,
    /// What to do with a damaged record.
    #[arg(long, value_enum, default_value = "fail")]
    on_error: OnErrorArg,
    /// What to do with a missing or undecodable image.
    #[arg(long, value_enum, default_value = "placeholder")]
    on_bad_image: OnBadImageArg,
    /// Write the image into each row instead of once into images/.
    #[arg(long)]
    embed_images: bool,
    /// Reproduce known errors of the published files (sep5 lacks one test row).
    #[arg(long)]
    as_published: bool,
    /// Also prepare the pictures for vision encoders that read S x S pixels (CLIP: 224), so that no run has to decode
    /// them.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..))]
    pixels: Option<u16>,
    /// Replace --out if it exists.
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
    /// Stop.
    Error,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Folder that `mkgc build` wrote.
    dir: PathBuf,
    /// Layout to write.
    #[arg(long, value_enum)]
    layout: Layout,
    /// Folder to write into.
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
        protocol: args.protocol,
        corpus: None,
        raw: args.raw,
        images: args.images,
        out: args.out,
        on_error: match args.on_error {
            OnErrorArg::Fail => OnError::Fail,
            OnErrorArg::Skip => OnError::Skip,
        },
        on_bad_image: match args.on_bad_image {
            OnBadImageArg::Placeholder => OnBadImage::Placeholder,
            OnBadImageArg::Drop => OnBadImage::Drop,
            OnBadImageArg::Error => OnBadImage::Error,
        },
        embed_images: args.embed_images,
        as_published: args.as_published,
        force: args.force,
    };
    let summary = match args.pixels {
        Some(side) => build_prepared(&options, side.into())?,
        None => mkgc_builder::build::build(&options)?,
    };
    print!("{summary}");
    Ok(())
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

/// Prints one line per file; exit code 1 if any fails.
pub fn verify(dir: &Path) -> Result<ExitCode> {
    let checks = mkgc_builder::verify::verify(dir)?;
    for check in &checks {
        println!("{}  {}", check.problem.as_deref().unwrap_or("ok"), check.path);
    }
    let failed = checks.iter().filter(|check| check.problem.is_some()).count();
    eprintln!("{} files, {failed} failed", checks.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn export(args: &ExportArgs) -> Result<()> {
    let Layout::Continuemkgc = args.layout;
    for path in mkgc_builder::export::continuemkgc(&args.dir, &args.out)? {
        println!("{}", path.display());
    }
    Ok(())
}
