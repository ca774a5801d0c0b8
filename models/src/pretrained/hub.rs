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
            let folder = self.cache.join(at(revision).folder_name());
            return Err(hub_error(
                format!("`{id}` (revision {revision})"),
                format!(
                    "HF_HUB_OFFLINE is set and the cache {} lacks {}; unset it to download, or give a folder",
                    folder.display(),
                    missing.join(", ")
                ),
            ));
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

    /// Returns the commit that the cache has for a revision.
    fn commit(&self, repo: &Repo) -> Option<String> {
        let revision = repo.revision();
        if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(revision.to_owned());
        }
        let noted = self.cache.join(repo.folder_name()).join("refs").join(revision);
        fs_err::read_to_string(noted).ok().map(|commit| commit.trim().to_owned())
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
