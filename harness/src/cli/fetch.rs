//! `mkgc fetch`: the published files of a corpus. Their paths go to stdout, progress, licence and what is left to do by
//! hand to stderr.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mkgc_builder::error::hint;
use mkgc_builder::fetch::{Event, FetchOptions, Network};
use mkgc_builder::sources::{self, PublishedFile, Source};
use mkgc_harness::console::{note, print};

#[derive(Args)]
pub struct FetchArgs {
    /// A corpus of `mkgc fetch --list`.
    #[arg(required_unless_present = "list")]
    corpus: Option<String>,
    /// Folder to put the files into, for `mkgc build --raw`.
    #[arg(long, required_unless_present = "list")]
    to: Option<PathBuf>,
    /// Take the files from here instead of the published addresses: an address below which they have their published
    /// names, or a folder; also the address or the path of one file. If a folder has files that cannot be downloaded, it
    /// need not have the others.
    #[arg(long, value_name = "ADDRESS_OR_FOLDER")]
    from: Option<String>,
    /// Fetch only this file; may be repeated.
    #[arg(long, value_name = "FILE")]
    only: Vec<String>,
    /// Fetch the optional files as well.
    #[arg(long)]
    all: bool,
    /// Replace files that are not as published.
    #[arg(long)]
    force: bool,
    /// Print the files with sizes, licences and addresses as a tab-separated table, and fetch nothing.
    #[arg(long)]
    list: bool,
}

/// Fetches a corpus, or prints what there is to fetch.
pub fn fetch(args: FetchArgs) -> Result<()> {
    let mut sources = sources::all()?;
    if let Some(name) = &args.corpus {
        let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        sources.retain(|source| source.name == *name);
        if sources.is_empty() {
            let near = hint(name, names.iter().map(String::as_str));
            bail!("unknown corpus `{name}`{near}; known: {}", names.join(", "));
        }
    }
    match (args.to, sources.as_slice()) {
        (Some(to), [source]) if !args.list => {
            let FetchArgs { from, only, all, force, .. } = args;
            download(source, &FetchOptions { to, from, only, all, force, network: Network::from_env() })
        }
        _ => Ok(print(&list(&sources))?),
    }
}

fn download(source: &Source, options: &FetchOptions) -> Result<()> {
    let progress = FetchProgress { bar: RefCell::new(ProgressBar::hidden()), paths: RefCell::default() };
    let fetched = mkgc_builder::fetch::fetch(source, options, &|event| progress.show(event));
    progress.bar.borrow().finish_and_clear();
    print(&progress.paths.borrow().iter().map(|path| format!("{}\n", path.display())).collect::<String>())?;
    fetched?;
    note(format_args!("{}, {}; licence: {}", source.title, source.homepage, source.license));
    for rest in &source.by_hand {
        note(format_args!("not fetched: {rest}"));
    }
    Ok(())
}

fn list(sources: &[Source]) -> String {
    let mut text = "corpus\tfile\tbytes\tfetched\tlicence\taddress\n".to_owned();
    for source in sources {
        let Source { name, license, homepage, .. } = source;
        if source.files.is_empty() {
            text += &format!("{name}\t\t\tno: {}\t{license}\t{homepage}\n", source.by_hand.join("; "));
        }
        for file in &source.files {
            let address = file.addresses.first().map_or("", String::as_str);
            text += &format!("{name}\t{}\t{}\t{}\t{license}\t{address}\n", file.name, file.bytes, when(file));
        }
    }
    text
}

/// Says when a file is fetched.
fn when(file: &PublishedFile) -> String {
    match (&file.made, &file.optional) {
        (Some(made), _) => format!("only with --from: {made}"),
        (None, Some(why)) => format!("with --all: {why}"),
        (None, None) => "yes".to_owned(),
    }
}

/// Shows on stderr what a fetch is doing: a bar on a terminal, and lines.
struct FetchProgress {
    bar: RefCell<ProgressBar>,
    /// The files that are there, as they come.
    paths: RefCell<Vec<PathBuf>>,
}

impl FetchProgress {
    fn show(&self, event: Event<'_>) {
        let mut bar = self.bar.borrow_mut();
        match event {
            Event::Present { file, path } => {
                note(format_args!("{}: there already, as published", file.name));
                self.paths.borrow_mut().push(path.to_owned());
            }
            Event::Start { file, address, start } => {
                bar.finish_and_clear();
                let place = if start > 0 { format!(" from byte {start} on") } else { String::new() };
                note(format_args!("{} ({} bytes){place}: {address}", file.name, file.bytes));
                let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                *bar = ProgressBar::with_draw_target(Some(file.bytes), ProgressDrawTarget::stderr()).with_style(style);
            }
            Event::Bytes { done, .. } => bar.set_position(done),
            Event::Done { file, path } => {
                bar.finish_and_clear();
                note(format_args!("{}: as published", file.name));
                self.paths.borrow_mut().push(path.to_owned());
            }
        }
    }
}
