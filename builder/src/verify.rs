//! Checks a benchmark folder against its manifest: every hash, row count and fingerprint.

use std::collections::BTreeSet;
use std::path::Path;

use crate::corpus::sha256_file;
use crate::dataset::{
    Benchmark, CROPS_FILE, IMAGES_FILE, MANIFEST, Manifest, ManifestFile, PicturesPrint, combined, read_rows,
    rows_fingerprint,
};
use crate::error::{Error, Result};

/// What was found for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Path relative to the folder.
    pub path: String,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Checks every file of the manifest, the manifest's own fingerprint, and that no other file lies in the folder.
///
/// # Errors
/// The manifest is missing or unreadable; a damaged file is not an error here but a [`FileCheck`] with a problem.
pub fn verify(dir: &Path) -> Result<Vec<FileCheck>> {
    let benchmark = Benchmark::open(dir)?;
    let manifest = benchmark.manifest();
    let check =
        |file: &ManifestFile| FileCheck { path: file.path.clone(), problem: problem(dir, manifest, file).err() };
    let mut checks: Vec<FileCheck> = manifest.files.iter().map(check).collect();
    let tasks = manifest.files.iter().filter(|file| file.path.starts_with("tasks/"));
    let fingerprint = combined(tasks.filter_map(|file| file.fingerprint.as_deref()));
    let own = (fingerprint != manifest.fingerprint).then(|| "its fingerprint is not that of its task files".to_owned());
    checks.push(FileCheck { path: MANIFEST.to_owned(), problem: own });
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).chain([MANIFEST]).collect();
    for path in files(dir, "")? {
        if !listed.contains(path.as_str()) {
            checks.push(FileCheck { path, problem: Some("not in the manifest".to_owned()) });
        }
    }
    Ok(checks)
}

fn problem(dir: &Path, manifest: &Manifest, file: &ManifestFile) -> std::result::Result<(), String> {
    let path = dir.join(&file.path);
    let (sha256, _) = sha256_file(&path).map_err(|error| error.to_string())?;
    if sha256 != file.sha256 {
        return Err(format!("SHA-256 is {sha256}, the manifest says {}", file.sha256));
    }
    let Some((rows, fingerprint)) = content(&path, manifest, file).map_err(|error: Error| error.to_string())? else {
        return Ok(());
    };
    if file.rows != Some(rows) {
        return Err(format!("{rows} rows, the manifest says {:?}", file.rows));
    }
    if file.fingerprint.as_ref() != Some(&fingerprint) {
        return Err(format!("fingerprint is {fingerprint}, the manifest says {:?}", file.fingerprint));
    }
    Ok(())
}

/// Rows and fingerprint of a Parquet file.
fn content(path: &Path, manifest: &Manifest, file: &ManifestFile) -> Result<Option<(usize, String)>> {
    if [IMAGES_FILE, CROPS_FILE].contains(&file.path.as_str()) {
        return PicturesPrint::read(path).map(Some);
    }
    if file.rows.is_none() {
        return Ok(None);
    }
    let rows = read_rows(path, manifest.task, manifest.labels.len())?;
    Ok(Some((rows.len(), rows_fingerprint(&rows, &manifest.labels))))
}

/// Every file below a folder, relative, sorted.
fn files(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path(), &format!("{path}/"))?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
