//! Whether the files of a benchmark folder are those that its manifest lists. Everything that reads a folder asks here.
//! Files that the manifest does not list are nobody's business: the hub and desktops add some.

use std::path::Path;

use super::fingerprint::combined_fingerprint;
use super::folder::BenchmarkFolder;
use super::layout::{IMAGES_FILE, MANIFEST, TASKS_FOLDER, task_file};
use super::manifest::{Closeness, Manifest, ManifestFile};
use crate::corpus::Split;
use crate::error::{Error, Result};

impl Manifest {
    /// Checks that the manifest agrees with itself: it lists every task file and the pictures, and its fingerprint is that
    /// of the task files.
    ///
    /// # Errors
    /// It does not; the error says where.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let mut jobs = (0..self.tasks.len()).flat_map(|task| Split::ALL.map(|split| (task, split)));
        if let Some((task, split)) = jobs.find(|(task, split)| self.task_file(*task, *split).is_none()) {
            return Err(format!("lists no {}", task_file(task, split)));
        }
        let pictures = IMAGES_FILE.trim_end_matches(".parquet");
        if self.images && !self.embed_images && !self.files.iter().any(|file| file.path.starts_with(pictures)) {
            return Err(format!("lists no {IMAGES_FILE}"));
        }
        let fingerprints = self.row_files().filter_map(|file| file.fingerprint.as_deref());
        if combined_fingerprint(fingerprints) != self.fingerprint {
            return Err("its fingerprint is not that of its task files".to_owned());
        }
        Ok(())
    }

    /// Returns the entries of the task files.
    fn row_files(&self) -> impl Iterator<Item = &ManifestFile> {
        self.files.iter().filter(|file| Path::new(&file.path).starts_with(TASKS_FOLDER))
    }
}

impl BenchmarkFolder {
    /// Checks the manifest and the task files, by their SHA-256 or, if pictures are embedded, by their size, because
    /// reading all of them would take as long as the first task.
    ///
    /// # Errors
    /// Some differ; the message lists them.
    pub fn check_rows(&self) -> Result<()> {
        let closeness = if self.manifest().embed_images { Closeness::Size } else { Closeness::Sum };
        let own = (MANIFEST, self.manifest().check());
        let files = self.manifest().row_files().map(|file| (file.path.as_str(), file.check(self.dir(), closeness)));
        let damaged = std::iter::once(own).chain(files).filter_map(|(path, checked)| Some((path, checked.err()?)));
        refuse_damage(self.dir(), damaged)
    }
}

/// Refuses a folder with damaged files, given as path and problem.
///
/// # Errors
/// There is one.
pub fn refuse_damage<'a>(dir: &Path, damaged: impl Iterator<Item = (&'a str, String)>) -> Result<()> {
    let lines: String = damaged.map(|(path, problem)| format!("\n  {path}: {problem}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::dataset(dir, format!("does not match its manifest; build or download it again{lines}")))
}
