//! Finds the files of a model by its name on the Hugging Face hub, in the hub's cache folder, or downloads them into
//! it.
//!
//! The cache is that of Python's `huggingface_hub`: `models--OWNER--NAME/refs/REVISION` holds the commit of a branch,
//! `models--OWNER--NAME/snapshots/COMMIT/` holds its files. Cached files are used without asking the network, and
//! missing ones are fetched from the same commit, so files of two commits are never mixed.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};

/// The hub and its cache.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Path of the cache folder.
    pub cache: PathBuf,
    /// Address of the hub, without a trailing slash.
    pub endpoint: String,
    /// Token for private and gated models.
    pub token: Option<String>,
    /// Whether only the cache is used, without the network.
    pub offline: bool,
}

/// A folder that holds a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFolder {
    /// Path of the folder with the files.
    pub folder: PathBuf,
    /// Commit of the hub's repository that the files are from; a local folder has none.
    pub revision: Option<String>,
}

impl Hub {
    /// Reads the environment as `huggingface_hub` does: `HF_HUB_CACHE` (else `hub` in `HF_HOME`, else in
    /// `~/.cache/huggingface`), `HF_ENDPOINT`, `HF_TOKEN` (else the file `token` in `HF_HOME`) and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    /// Reads the settings from `variable` instead of the environment; `user` is the home folder.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>, user: Option<PathBuf>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let caches = variable("XDG_CACHE_HOME").map_or(user.unwrap_or_default().join(".cache"), PathBuf::from);
        let home = variable("HF_HOME").map_or(caches.join("huggingface"), PathBuf::from);
        let stored = || fs_err::read_to_string(home.join("token")).ok();
        let token = variable("HF_TOKEN").or_else(stored).map(|token| token.trim().to_owned());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = variable("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
        Self {
            cache: variable("HF_HUB_CACHE").map_or(home.join("hub"), PathBuf::from),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            offline: ["1", "ON", "YES", "TRUE"].contains(&offline.as_str()),
        }
    }

    /// Finds `files` of a model. `name` is a local folder, or `owner/name` or `name` on the hub, which may end in
    /// `@revision` (a branch, a tag, a commit, `refs/pr/N`) if `revision` is not given. The default is `main`.
    ///
    /// # Errors
    /// The name is neither a folder nor a model's name; the cache lacks files and the hub is offline; or files cannot
    /// be fetched.
    pub fn resolve(&self, name: &str, revision: Option<&str>, files: &[&str]) -> Result<HubFolder> {
        if Path::new(name).is_dir() {
            return Ok(HubFolder { folder: name.into(), revision: None });
        }
        let (id, revision) = parse(name, revision)?;
        let at = |revision: &str| Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let cache = Cache::new(self.cache.clone()).repo(at(revision));
        let mut commit = self.commit(&at(revision));
        let cached = commit.as_ref().map(|commit| cache.pointer_path(commit));
        let held = |file: &str| cached.as_ref().is_some_and(|folder| folder.join(file).is_file());
        let missing: Vec<&str> = files.iter().copied().filter(|file| !held(file)).collect();
        if self.offline && !missing.is_empty() {
            return Err(self.lacks(id, &at(revision), &missing));
        }
        for file in missing {
            let pinned = commit.as_deref().unwrap_or(revision);
            self.download(at(pinned), file).map_err(|error| self.failed(id, pinned, file, &error))?;
            // The first download writes the revision's commit to the cache.
            commit = commit.or_else(|| self.commit(&at(revision)));
        }
        let commit = commit.ok_or_else(|| hub_error(format!("`{id}`"), "no commit is known of it"))?;
        Ok(HubFolder { folder: cache.pointer_path(&commit), revision: Some(commit) })
    }

    /// Finds the first of `alternatives` that the model has, as [`Hub::resolve`] finds all of some files.
    ///
    /// # Errors
    /// The model has none of them; the error is that of the first.
    pub fn resolve_any(&self, name: &str, revision: Option<&str>, alternatives: &[&str]) -> Result<HubFolder> {
        let cached = Self { offline: true, ..self.clone() };
        let held = alternatives.iter().find_map(|file| cached.resolve(name, revision, &[file]).ok());
        if let Some(found) = held {
            return Ok(found);
        }
        let mut first = None;
        for file in alternatives {
            match self.resolve(name, revision, &[file]) {
                Ok(found) => return Ok(found),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| hub_error(format!("`{name}`"), "no file was asked for")))
    }

    /// Returns the commit that the cache has for a revision.
    fn commit(&self, repo: &Repo) -> Option<String> {
        let revision = repo.revision();
        if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(revision.to_owned());
        }
        let refs = self.cache.join(repo.folder_name()).join("refs");
        if let Ok(commit) = fs_err::read_to_string(refs.join(revision)) {
            return Some(commit.trim().to_owned());
        }
        // A cache that was copied without its refs: without the network, the only snapshot is the one that is meant. Refs
        // of other revisions would say that it is one of theirs.
        let others = fs_err::read_dir(refs).is_ok_and(|mut entries| entries.next().is_some());
        let mut snapshots = self.snapshots(repo);
        if self.offline && !others && snapshots.len() == 1 { snapshots.pop() } else { None }
    }

    /// Returns the commits of which the cache holds files, sorted.
    fn snapshots(&self, repo: &Repo) -> Vec<String> {
        let folder = self.cache.join(repo.folder_name()).join("snapshots");
        let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
        let mut commits: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        commits.sort();
        commits
    }

    /// Says what the cache lacks while the hub is offline, and what to do.
    fn lacks(&self, id: &str, repo: &Repo, missing: &[&str]) -> Error {
        let revision = repo.revision();
        let what = format!("`{id}` (revision {revision})");
        let folder = self.cache.join(repo.folder_name());
        let folder = folder.display();
        let snapshots = self.snapshots(repo);
        if self.commit(repo).is_none() && !snapshots.is_empty() {
            let commits = snapshots.join(", ");
            let reason =
                format!("the cache {folder} has no refs/{revision}, which says which of its snapshots that is");
            return hub_error(what, format!("{reason}; give one of them as `{id}@COMMIT`: {commits}"));
        }
        let reason = format!("HF_HUB_OFFLINE is set and the cache {folder} lacks {}", missing.join(", "));
        hub_error(what, format!("{reason}; unset it to download, or give a folder"))
    }

    fn download(&self, repo: Repo, file: &str) -> std::result::Result<PathBuf, ApiError> {
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone());
        api.build()?.repo(repo).download(file)
    }

    fn failed(&self, id: &str, revision: &str, file: &str, error: &ApiError) -> Error {
        let reason = format!(
            "cannot be fetched from {}: {error}; check the name, the revision and the network (private models need \
             HF_TOKEN), or give a folder that holds the model's files",
            self.endpoint
        );
        hub_error(format!("{file} of `{id}` (revision {revision})"), reason)
    }
}

fn hub_error(what: String, reason: impl Into<String>) -> Error {
    Error::Hub { what, reason: reason.into() }
}

/// Splits a name into repository and revision.
fn parse<'a>(name: &'a str, revision: Option<&'a str>) -> Result<(&'a str, &'a str)> {
    let (id, revision) = match revision {
        Some(revision) => (name, revision),
        None => name.split_once('@').unwrap_or((name, "main")),
    };
    // Names become paths, and `..` could leave the cache.
    let plain = |text: &str, more: &str| {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter) || more.contains(letter);
        text.starts_with(|first: char| first.is_ascii_alphanumeric()) && !text.contains("..") && text.chars().all(fits)
    };
    let parts: Vec<&str> = id.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| plain(part, "")) || !plain(revision, "/") {
        let reason = "is no folder here, and no model of the Hugging Face hub: those are `owner/name[@revision]`";
        return Err(hub_error(format!("`{name}`"), reason));
    }
    Ok((id, revision))
}
