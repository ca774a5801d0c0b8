//! Checks a benchmark folder against its manifest: every hash, row count and fingerprint.

use std::collections::BTreeSet;
use std::path::Path;

use crate::dataset::{
    BenchmarkFolder, CROPS_FILE, Content, IMAGES_FILE, MANIFEST, Manifest, ManifestFile, TASKS_FOLDER,
    combined_fingerprint, pictures_content, read_rows, rows_content,
};
use crate::error::{Error, Result};
use crate::files::sha256_file;

/// The result of checking one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Path of the file relative to the folder.
    pub path: String,
    /// What is wrong with the file, if anything.
    pub problem: Option<String>,
}

/// Checks every file of the manifest, the manifest's own fingerprint, and that the folder contains no other file.
///
/// # Errors
/// The manifest is missing or unreadable. A damaged file is not an error but a [`FileCheck`] with a problem.
pub fn verify(dir: &Path) -> Result<Vec<FileCheck>> {
    let benchmark = BenchmarkFolder::open(dir)?;
    let manifest = benchmark.manifest();
    let check =
        |file: &ManifestFile| FileCheck { path: file.path.clone(), problem: problem(dir, manifest, file).err() };
    let mut checks: Vec<FileCheck> = manifest.files.iter().map(check).collect();
    let tasks = manifest.files.iter().filter(|file| Path::new(&file.path).starts_with(TASKS_FOLDER));
    let fingerprint = combined_fingerprint(tasks.filter_map(|file| file.fingerprint.as_deref()));
    let own = (fingerprint != manifest.fingerprint).then(|| "its fingerprint is not that of its task files".to_owned());
    checks.push(FileCheck { path: MANIFEST.to_owned(), problem: own });
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).chain([MANIFEST]).collect();
    for path in files_below(dir, "")? {
        if !listed.contains(path.as_str()) {
            checks.push(FileCheck { path, problem: Some("not in the manifest".to_owned()) });
        }
    }
    Ok(checks)
}

/// Checks a file of the manifest; the error says what is wrong with it.
fn problem(dir: &Path, manifest: &Manifest, file: &ManifestFile) -> std::result::Result<(), String> {
    let path = dir.join(&file.path);
    let sha256 = sha256_file(&path).map_err(|error| error.to_string())?;
    if sha256 != file.sha256 {
        return Err(format!("SHA-256 is {sha256}, the manifest says {}", file.sha256));
    }
    let content = content(&path, manifest, file).map_err(|error: Error| error.to_string())?;
    let Some(Content { rows, fingerprint }) = content else { return Ok(()) };
    if file.rows != Some(rows) {
        return Err(format!("{rows} rows, the manifest says {:?}", file.rows));
    }
    if file.fingerprint.as_ref() != Some(&fingerprint) {
        return Err(format!("fingerprint is {fingerprint}, the manifest says {:?}", file.fingerprint));
    }
    Ok(())
}

/// Reads the content of a Parquet file; returns `None` for other files.
fn content(path: &Path, manifest: &Manifest, file: &ManifestFile) -> Result<Option<Content>> {
    if [IMAGES_FILE, CROPS_FILE].contains(&file.path.as_str()) {
        return pictures_content(path).map(Some);
    }
    if file.rows.is_none() {
        return Ok(None);
    }
    let rows = read_rows(path, manifest)?;
    Ok(Some(rows_content(&rows, &manifest.labels)))
}

/// Lists every file below a folder by its relative path, sorted.
fn files_below(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path(), &format!("{path}/"))?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
