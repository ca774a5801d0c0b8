//! Whether the files of a benchmark folder are those that its manifest lists. Everything that reads a folder asks here.
//! Files that the manifest does not list are nobody's business: the hub and desktops add some.

use std::path::Path;

use super::fingerprint::combined_fingerprint;
use super::folder::BenchmarkFolder;
use super::layout::{CROPS_FILE, IMAGES_FILE, MANIFEST, TASKS_FOLDER, shards_of, task_file};
use super::manifest::{Closeness, Manifest, ManifestFile};
use crate::corpus::Split;
use crate::error::{Error, Result};

impl Manifest {
    /// Checks that the manifest agrees with itself: it lists every task file and the pictures, and its fingerprint is that
    /// of the task files.
    ///
    /// # Errors
    /// It disagrees with itself; the error says where.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let mut jobs = (0..self.tasks.len()).flat_map(|task| Split::ALL.map(|split| (task, split)));
        if let Some((task, split)) = jobs.find(|(task, split)| self.task_file(*task, *split).is_none()) {
            return Err(format!("lists no {}", task_file(task, split)));
        }
        if self.images && !self.embed_images && self.parts(IMAGES_FILE).next().is_none() {
            return Err(format!("lists no {IMAGES_FILE}"));
        }
        for file in [IMAGES_FILE, CROPS_FILE] {
            let listed = self.parts(file).count();
            let wanted = self.parts(file).find_map(|part| shards_of(&part.path)).unwrap_or(listed);
            if listed != wanted {
                return Err(format!("lists {listed} of the {wanted} parts of {file}"));
            }
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
/// There is a damaged file.
pub fn refuse_damage<'a>(dir: &Path, damaged: impl Iterator<Item = (&'a str, String)>) -> Result<()> {
    let lines: String = damaged.map(|(path, problem)| format!("\n  {path}: {problem}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::dataset(dir, format!("does not match its manifest; build or download it again{lines}")))
}
