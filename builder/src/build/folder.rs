//! Writes the task files of a benchmark folder and the files that describe it.

use std::path::Path;

use rayon::prelude::*;

use super::facts::facts;
use super::options::BuildOptions;
use super::stats::Stats;
use crate::corpus::{Annotation, Corpus, CropKind, Split};
use crate::dataset::{
    CARD_FILE, CROISSANT_FILE, MANIFEST, Manifest, ManifestFile, ManifestTask, Row, RowFile, RowLabels, RowPictures,
    SCHEMA_VERSION, STATS_FILE, TASKS_FOLDER, card, combined_fingerprint, croissant, task_file,
};
use crate::error::{Error, Result};
use crate::files::sha256_hex;
use crate::images::{Gallery, Picture, placeholder};
use crate::plan::{BenchmarkPlan, PlannedLabels, PlannedRow, TaskPlan};
use crate::protocol::Protocol;

/// Writes what a build has gathered into `folder`, which exists.
pub struct FolderWriter<'a> {
    pub folder: &'a Path,
    pub corpus: &'a Corpus,
    pub plan: &'a BenchmarkPlan,
    /// `None` if the corpus came without pictures.
    pub gallery: Option<&'a Gallery>,
    pub stats: &'a Stats,
    pub options: &'a BuildOptions,
}

impl FolderWriter<'_> {
    /// Writes the task files, then card, Croissant description and statistics, and the manifest last. `pictures` are the
    /// Parquet files that the folder has already.
    ///
    /// # Errors
    /// A file cannot be written, or a picture cannot be read.
    pub fn write(&self, protocol: &Protocol, pictures: Vec<ManifestFile>) -> Result<Manifest> {
        fs_err::create_dir(self.folder.join(TASKS_FOLDER))?;
        let tasks = 0..self.plan.tasks.len();
        let jobs: Vec<(usize, Split)> = tasks.flat_map(|task| Split::ALL.map(|split| (task, split))).collect();
        let mut files =
            jobs.par_iter().map(|(task, split)| self.write_task(*task, *split)).collect::<Result<Vec<_>>>()?;
        let fingerprint = combined_fingerprint(files.iter().filter_map(|file| file.fingerprint.as_deref()));
        files.extend(pictures);
        let mut manifest = self.manifest(protocol, files, fingerprint);
        let reference = &self.corpus.spec.reference;
        for (name, text) in [
            (CARD_FILE, card(&manifest, reference, &facts(self.corpus, self.stats))),
            (CROISSANT_FILE, pretty(&croissant(&manifest, reference)?)?),
            (STATS_FILE, pretty(&serde_json::to_value(self.stats)?)?),
        ] {
            fs_err::write(self.folder.join(name), &text)?;
            manifest.files.push(ManifestFile {
                path: name.to_owned(),
                rows: None,
                bytes: text.len() as u64,
                sha256: sha256_hex(text.as_bytes()),
                fingerprint: None,
            });
        }
        fs_err::write(self.folder.join(MANIFEST), pretty(&serde_json::to_value(&manifest)?)?)?;
        Ok(manifest)
    }

    fn manifest(&self, protocol: &Protocol, files: Vec<ManifestFile>, fingerprint: String) -> Manifest {
        let task = |task: &TaskPlan| ManifestTask { name: task.name.clone(), classes: task.classes.clone() };
        Manifest {
            schema_version: SCHEMA_VERSION,
            name: protocol.name.clone(),
            description: protocol.description.clone(),
            corpus: self.corpus.spec.name.clone(),
            task: self.corpus.spec.task,
            published: protocol.published.clone().unwrap_or_else(|| protocol.name.clone()),
            order: protocol.order,
            tests: protocol.tests.name().to_owned(),
            labels: self.plan.labels.names().to_vec(),
            tasks: self.plan.tasks.iter().map(task).collect(),
            protocol_sha256: protocol.sha256(),
            protocol: protocol.text.clone(),
            sources: self.corpus.sources.clone(),
            as_published: self.options.as_published,
            text_only: self.corpus.text_only(),
            images: self.gallery.is_some(),
            images_by_split: self.gallery.is_some_and(Gallery::by_split),
            embed_images: self.options.embed_images,
            fingerprint,
            files,
        }
    }

    fn write_task(&self, task: usize, split: Split) -> Result<ManifestFile> {
        let planned = self.plan.tasks[task].split(split);
        let stand_in = placeholder()?;
        let picture = |row: &Row| self.picture(split, row.image_id.as_deref().unwrap_or_default(), &stand_in);
        let file = RowFile {
            folder: self.folder,
            path: &task_file(task, split),
            task: self.corpus.spec.task,
            labels: self.plan.labels.names(),
            pictures: RowPictures::new(self.corpus.text_only(), self.options.embed_images),
            picture: &picture,
        };
        file.write(planned.iter().map(|row| self.row(task, split, row)))
    }

    fn row(&self, task: usize, split: Split, planned: &PlannedRow) -> Row {
        let instance = &self.corpus.split(split)[planned.index];
        let labels = match (&instance.annotation, self.plan.row_labels(task, split, &instance.annotation)) {
            (Annotation::Relation(of), PlannedLabels::Relation { relation, original }) => {
                RowLabels::Relation { head: of.head.clone(), tail: of.tail.clone(), relation, original }
            }
            (_, PlannedLabels::Entities { tags, original }) => RowLabels::Entities { tags, original },
            (Annotation::Entities(_), PlannedLabels::Relation { .. }) => unreachable!("tags have no relation"),
        };
        let crops = match (self.gallery, &instance.image) {
            (Some(gallery), Some(image)) => gallery.crops(CropKind::Grounding, split, instance.row, image),
            _ => &[],
        };
        Row {
            id: format!("{split}-{:06}", instance.row),
            tokens: instance.tokens.to_vec(),
            owner_task: planned.owner_task,
            image_id: instance.image.as_deref().map(str::to_owned),
            crops: crops.to_vec(),
            labels,
        }
    }

    /// Returns the bytes of a picture to embed, or those of `stand_in` if it cannot be used.
    fn picture(&self, split: Split, id: &str, stand_in: &Picture) -> Result<Vec<u8>> {
        match (self.gallery, &self.stats.images) {
            (Some(gallery), Some(images)) if !images.bad.contains_key(&gallery.key(split, id)) => gallery
                .check(split, id)
                .map(|found| found.picture.bytes)
                .map_err(|reason| Error::image(Path::new(id), format!("changed during the build: {reason}"))),
            _ => Ok(stand_in.bytes.clone()),
        }
    }
}

/// Formats JSON as in every file of a benchmark folder.
fn pretty(value: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
