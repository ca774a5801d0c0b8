//! Checks a benchmark folder against its manifest: every size, hash, row count and fingerprint. Files that the manifest
//! does not list are no damage.

use std::collections::BTreeSet;
use std::path::Path;

use crate::dataset::{
    BenchmarkFolder, CROPS_FILE, Closeness, Content, IMAGES_FILE, MANIFEST, Manifest, ManifestFile, is_part_of,
    pictures_content, refuse_damage, rows_content,
};
use crate::error::{Error, Result};

/// The result of checking one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Path of the file relative to the folder.
    pub path: String,
    /// What is wrong with the file, if anything.
    pub problem: Option<String>,
}

/// Checks every file of the manifest, and the manifest itself.
///
/// # Errors
/// The manifest is missing or unreadable. A damaged file is not an error but a [`FileCheck`] with a problem.
pub fn verify(dir: &Path) -> Result<Vec<FileCheck>> {
    let benchmark = BenchmarkFolder::open(dir)?;
    let manifest = benchmark.manifest();
    let check =
        |file: &ManifestFile| FileCheck { path: file.path.clone(), problem: check_file(dir, manifest, file).err() };
    let mut checks: Vec<FileCheck> = manifest.files.iter().map(check).collect();
    checks.push(FileCheck { path: MANIFEST.to_owned(), problem: manifest.check().err() });
    Ok(checks)
}

/// Checks a folder as [`verify`] does.
///
/// # Errors
/// The manifest is missing or unreadable, or a file is damaged; the message lists all that are.
pub fn require_intact(dir: &Path) -> Result<()> {
    let checks = verify(dir)?;
    refuse_damage(dir, checks.iter().filter_map(|check| Some((check.path.as_str(), check.problem.clone()?))))
}

/// Lists what is in a folder and not in its manifest, sorted. A folder without any file of the manifest is one entry,
/// which ends in `/`.
///
/// # Errors
/// The manifest or a folder cannot be read.
pub fn other_files(dir: &Path) -> Result<Vec<String>> {
    let benchmark = BenchmarkFolder::open(dir)?;
    let files = benchmark.manifest().files.iter().map(|file| file.path.as_str());
    unlisted(dir, "", &files.chain([MANIFEST]).collect())
}

fn unlisted(dir: &Path, prefix: &str, listed: &BTreeSet<&str>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if listed.contains(path.as_str()) {
            continue;
        }
        if !entry.path().is_dir() {
            found.push(path);
            continue;
        }
        let folder = format!("{path}/");
        if listed.iter().any(|file| file.starts_with(&folder)) {
            found.extend(unlisted(&entry.path(), &folder, listed)?);
        } else {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}

/// Checks a file of the manifest; the error says what is wrong with it.
fn check_file(dir: &Path, manifest: &Manifest, file: &ManifestFile) -> std::result::Result<(), String> {
    file.check(dir, Closeness::Sum)?;
    let content = content(&dir.join(&file.path), manifest, file).map_err(|error: Error| error.to_string())?;
    let Some(Content { rows, fingerprint }) = content else { return Ok(()) };
    if file.rows != Some(rows) {
        let said = file.rows.map_or_else(|| "nothing".to_owned(), |rows| rows.to_string());
        return Err(format!("{rows} rows, the manifest says {said}"));
    }
    let said = file.fingerprint.as_deref().unwrap_or("nothing");
    if fingerprint != said {
        return Err(format!("fingerprint is {fingerprint}, the manifest says {said}"));
    }
    Ok(())
}

/// Reads the content of a Parquet file; returns `None` for other files.
fn content(path: &Path, manifest: &Manifest, file: &ManifestFile) -> Result<Option<Content>> {
    if [IMAGES_FILE, CROPS_FILE].into_iter().any(|pictures| is_part_of(pictures, &file.path)) {
        return pictures_content(path).map(Some);
    }
    if file.rows.is_none() {
        return Ok(None);
    }
    rows_content(path, manifest).map(Some)
}
