//! Fetches the published files of a corpus: downloads that go on where they were cut, verified against the published
//! sums and moved into place as whole files only.
//!
//! Where the files are published, and their sums, is data: [`crate::sources`].

mod download;
mod event;
mod forward;
mod network;
mod origin;
mod part;

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use self::download::Download;
pub use self::event::Event;
use self::network::Client;
pub use self::network::Network;
use self::origin::Origin;
use crate::error::{Error, hint};
use crate::files::{persist, sha256_file};
use crate::sources::{PublishedFile, Source};

/// What to fetch, from where and to where.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Folder to put the files into; created if it is missing.
    pub to: PathBuf,
    /// Address, folder or file to take the files from instead of the published addresses.
    pub from: Option<String>,
    /// Names of the files to fetch; empty for all that a build needs.
    pub only: Vec<String>,
    /// Whether to fetch optional files as well.
    pub all: bool,
    /// Whether to replace files that are not as published.
    pub force: bool,
    /// How the network is reached, if it has to be.
    pub network: Network,
}

impl FetchOptions {
    /// Returns the options to fetch what a build needs from the published addresses, with the proxies of the environment.
    pub fn new(to: PathBuf) -> Self {
        Self { to, from: None, only: Vec::new(), all: false, force: false, network: Network::from_env() }
    }
}

/// Fetches files of a corpus and returns their paths. Files that are there as published stay; `report` is told each
/// step.
///
/// # Errors
/// The corpus has no files that can be fetched, or there is none of a name; a file is there that is not as published; or
/// files cannot be fetched. The other files are fetched nevertheless, and the message says for each address why it
/// failed and where else to look.
pub fn fetch(source: &Source, options: &FetchOptions, report: &dyn Fn(Event<'_>)) -> crate::Result<Vec<PathBuf>> {
    if source.files.is_empty() {
        let by_hand = source.by_hand.join("\n  ");
        let reason = format!("no address serves it, so mkgc cannot fetch it:\n  {by_hand}");
        return Err(Error::Usage(format!("{}: {reason}", source.title)));
    }
    let origin = Origin::new(options.from.as_deref())?;
    let client = Client::new(&options.network)?;
    let fetch = Fetch { source, options, origin, client, report };
    let files = fetch.files()?;
    fs_err::create_dir_all(&options.to)?;
    let mut paths = Vec::new();
    let mut failures = Vec::new();
    for file in &files {
        match fetch.file(file, files.len() == 1) {
            Ok(path) => paths.push(path),
            Err(failure) => failures.push((*file, failure)),
        }
    }
    if failures.is_empty() { Ok(paths) } else { Err(fetch.error(files.len(), failures)) }
}

/// Why a file is not in its place.
enum Failure {
    /// No address serves it; says why for each.
    Addresses(Vec<String>),
    /// Something else, which names its place and remedy.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

struct Fetch<'a> {
    source: &'a Source,
    options: &'a FetchOptions,
    origin: Origin,
    client: Client,
    report: &'a dyn Fn(Event<'_>),
}

impl<'a> Fetch<'a> {
    /// Returns the published files that the options ask for.
    fn files(&self) -> crate::Result<Vec<&'a PublishedFile>> {
        let only = &self.options.only;
        if let Some(file) = self.origin.single(self.source).filter(|_| only.is_empty()) {
            return Ok(vec![file]);
        }
        if let (Origin::File(path), 0 | 2..) = (&self.origin, only.len()) {
            return Err(Error::dataset(path, format!("say with --only which file it is: {}", self.names())));
        }
        if only.is_empty() {
            // A folder that has such files holds a different edition and may lack the official one.
            let other_edition = self.source.files.iter().any(|file| file.made.is_some() && self.origin.has(file));
            let wanted = |file: &&PublishedFile| match file.made {
                Some(_) => other_edition,
                None => {
                    (self.options.all || file.optional.is_none()) && (!other_edition || self.origin.path(file).is_ok())
                }
            };
            return Ok(self.source.files.iter().filter(wanted).collect());
        }
        let find = |name: &String| {
            let known = self.source.files.iter().flat_map(PublishedFile::names);
            let unknown = || format!("--only {name}: no such file{}; there are: {}", hint(name, known), self.names());
            self.source.file(name).ok_or_else(|| Error::Usage(unknown()))
        };
        only.iter().map(find).collect()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.source.files.iter().map(|file| file.name.as_str()).collect();
        names.join(", ")
    }

    /// Brings a file into its place, unless it is there as published, and returns its path. `only` is whether it is the
    /// only file.
    fn file(&self, file: &'a PublishedFile, only: bool) -> Result<PathBuf, Failure> {
        if let Some(path) = self.present(file)? {
            (self.report)(Event::Present { file, path: &path });
            return Ok(path);
        }
        let target = self.options.to.join(&file.name);
        if target.symlink_metadata().is_ok() && !(self.options.force && target.is_file()) {
            let reason = if target.is_file() {
                format!("{}; --force replaces it", not_published(&sha256_file(&target)?, file))
            } else {
                "is in the way and no file; remove it".to_owned()
            };
            return Err(Error::dataset(&target, reason).into());
        }
        if let Some(path) = self.origin.path(file)? {
            self.copy(file, &path, &target)?;
        } else {
            self.download(file, only, &target)?;
        }
        (self.report)(Event::Done { file, path: &target });
        Ok(target)
    }

    /// Finds a file that is there as published, under any name that a build accepts.
    fn present(&self, file: &PublishedFile) -> crate::Result<Option<PathBuf>> {
        for name in file.names() {
            let path = self.options.to.join(name);
            if path.is_file() && file.is_published(&sha256_file(&path)?) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn copy(&self, file: &PublishedFile, from: &Path, target: &Path) -> crate::Result<()> {
        let copied = NamedTempFile::new_in(&self.options.to)?;
        fs_err::copy(from, copied.path())?;
        let sum = sha256_file(copied.path())?;
        if sum != file.sha256 {
            return Err(Error::dataset(from, not_published(&sum, file)));
        }
        persist(copied, target)
    }

    fn download(&self, file: &PublishedFile, only: bool, target: &Path) -> Result<(), Failure> {
        let addresses = self.origin.addresses(file, only);
        if addresses.is_empty() {
            let made = file.made.as_deref().unwrap_or_default();
            let reason = format!("no address serves it ({made}); --from takes the one that you have");
            return Err(Failure::Addresses(vec![reason]));
        }
        let download = Download { client: &self.client, file, report: self.report };
        download.run(&addresses, target)?.map_or(Ok(()), |reasons| Err(Failure::Addresses(reasons)))
    }

    /// Says for each file why it is missing, and where else to look.
    fn error(&self, files: usize, failures: Vec<(&PublishedFile, Failure)>) -> Error {
        let name = &self.source.name;
        let to = self.options.to.display();
        let mut lines = vec![format!("{name}: {} of {files} files cannot be put into {to}", failures.len())];
        let mut unreachable = false;
        for (file, failure) in failures {
            match failure {
                Failure::Other(error) => lines.push(format!("  {}: {error}", file.name)),
                Failure::Addresses(reasons) => {
                    unreachable = true;
                    lines.push(format!("  {}:", file.name));
                    lines.extend(reasons.iter().map(|reason| format!("    {reason}")));
                }
            }
        }
        if unreachable {
            lines.push("where else to look:".to_owned());
            let places = self.source.elsewhere.iter().chain(&self.source.by_hand);
            lines.extend(places.map(|place| format!("  {place}")));
            lines.push(format!("`mkgc fetch {name} --to {to} --from ADDRESS_OR_FOLDER` takes the files from there"));
        }
        Error::Usage(lines.join("\n"))
    }
}

fn not_published(sum: &str, file: &PublishedFile) -> String {
    format!("not as published: its SHA-256 is {sum}, published is {}", file.sha256)
}
