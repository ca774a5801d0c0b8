//! Opens a benchmark folder and reads its rows.

use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::layout::{BYTES_AT_ONCE, MANIFEST, PICTURES_AT_ONCE, task_file};
use super::manifest::{Closeness, Manifest};
use super::rows::{Row, RowLabels};
use crate::corpus::{Extraction, Mention, Split};
use crate::error::{Error, Result};
use crate::guarded::{Guarded, guarded};

/// A benchmark folder whose manifest has been read.
#[derive(Debug)]
pub struct BenchmarkFolder {
    dir: PathBuf,
    manifest: Manifest,
}

impl BenchmarkFolder {
    /// Opens a folder that `mkgc build` wrote.
    ///
    /// # Errors
    /// There is no such folder; it has no manifest, or one that [`Manifest::read`] refuses.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        if path.is_file() {
            return Ok(Self { dir: dir.to_path_buf(), manifest: Manifest::read(&path)? });
        }
        let reason = match (dir.exists(), dir.is_dir()) {
            (false, _) => "no such folder; make it with `mkgc build`".to_owned(),
            (true, false) => "is a file; give the folder that `mkgc build` wrote".to_owned(),
            (true, true) => format!("no {MANIFEST}: not a benchmark folder; make one with `mkgc build`"),
        };
        Err(Error::dataset(dir, reason))
    }

    /// Returns the path that the folder was opened with.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the manifest, which describes the whole folder.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the rows of a task's split, in file order.
    ///
    /// # Errors
    /// There is no such task; the file is missing, has another size than the manifest says, or is damaged; a label id is
    /// out of range.
    pub fn rows(&self, task: usize, split: Split) -> Result<Vec<Row>> {
        let tasks = self.manifest.tasks.len();
        if task >= tasks {
            return Err(Error::dataset(&self.dir, format!("no task {task}: there are {tasks}")));
        }
        let mut rows = Vec::new();
        read_batches(&self.file(&task_file(task, split))?, &self.manifest, |batch| rows.extend(batch))?;
        Ok(rows)
    }

    /// Returns the path of a file of the folder that is there and has the size of its entry in the manifest.
    ///
    /// # Errors
    /// The file is missing or has another size, or the manifest does not list it.
    pub(super) fn file(&self, path: &str) -> Result<PathBuf> {
        self.checked(path, Closeness::Size).map(|()| self.dir.join(path))
    }

    /// Checks a file that has been read by its SHA-256.
    ///
    /// # Errors
    /// The file has another SHA-256 than the manifest says.
    pub(super) fn check_sum(&self, path: &str) -> Result<()> {
        self.checked(path, Closeness::Sum)
    }

    fn checked(&self, path: &str, closeness: Closeness) -> Result<()> {
        let listed = self.manifest.files.iter().find(|file| file.path == path);
        let checked =
            listed.map_or_else(|| Err("not in the manifest".to_owned()), |file| file.check(&self.dir, closeness));
        checked.map_err(|problem| {
            let reason = format!("{problem}; check the folder with `mkgc verify`, or build or download it again");
            Error::dataset(&self.dir.join(path), reason)
        })
    }
}

/// Passes the rows of a task file of a benchmark to `each` in batches; embedded pictures are not read.
///
/// # Errors
/// The file is missing or damaged; a label id is out of range.
pub fn read_batches(path: &Path, manifest: &Manifest, mut each: impl FnMut(Vec<Row>)) -> Result<()> {
    for batch in batches(path, |column| column != "image")? {
        let columns = BatchColumns { path, batch: &batch?, labels: manifest.labels.len() };
        each(columns.rows(manifest.task, manifest.text_only)?);
    }
    Ok(())
}

/// Reads the record batches of a Parquet file, with the columns for which `kept` is true.
pub(super) fn batches(path: &Path, kept: impl Fn(&str) -> bool) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let damaged = move || Error::dataset(path, "damaged Parquet file; build or download the benchmark again");
    let file = fs_err::File::open(path)?.into_file();
    let bytes = file.metadata()?.len();
    let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))
        .and_then(std::result::Result::ok)
        .ok_or_else(damaged)?;
    let fields = builder.schema().fields().iter().enumerate();
    let kept = fields.filter(|(_, field)| kept(field.name())).map(|(i, _)| i);
    let mask = ProjectionMask::roots(builder.parquet_schema(), kept);
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    // The number of rows is what the file says, so it may be anything.
    let at_once = (BYTES_AT_ONCE.saturating_mul(rows) / bytes.max(1)).clamp(1, PICTURES_AT_ONCE as u64) as usize;
    let builder = builder.with_projection(mask).with_batch_size(at_once);
    let batches = guarded(|| builder.build()).and_then(std::result::Result::ok).ok_or_else(damaged)?;
    Ok(Guarded::new(batches).map(move |batch| batch.and_then(std::result::Result::ok).ok_or_else(damaged)))
}

/// A record batch of a file, with typed access to its columns.
pub(super) struct BatchColumns<'a> {
    pub(super) path: &'a Path,
    pub(super) batch: &'a RecordBatch,
    pub(super) labels: usize,
}

impl BatchColumns<'_> {
    pub(super) fn wrong(&self, name: &str) -> Error {
        Error::dataset(self.path, format!("column `{name}` is missing or has another type"))
    }

    pub(super) fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch.column_by_name(name).ok_or_else(|| self.wrong(name))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        texts(self.column(name)?).ok_or_else(|| self.wrong(name))
    }

    /// Returns the texts of a column in which some may be null.
    pub(super) fn optional_texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let texts = self.column(name)?.as_string_opt::<i32>().ok_or_else(|| self.wrong(name))?;
        Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
    }

    pub(super) fn structs(&self, name: &str) -> Result<&StructArray> {
        self.column(name)?.as_struct_opt().ok_or_else(|| self.wrong(name))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Vec<Option<i32>>> {
        Ok(self.column(name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| self.wrong(name))?.iter().collect())
    }

    fn ids(&self, column: &ArrayRef, name: &str) -> Result<Vec<usize>> {
        let ids = column.as_primitive_opt::<Int64Type>().ok_or_else(|| self.wrong(name))?;
        let id = |id: Option<i64>| id.and_then(|id| usize::try_from(id).ok()).filter(|id| *id < self.labels);
        let ids: Option<Vec<usize>> = ids.iter().map(id).collect();
        ids.ok_or_else(|| {
            Error::dataset(self.path, format!("column `{name}` holds a label id that is not in 0..{}", self.labels))
        })
    }

    fn list<T>(&self, name: &str, item: impl Fn(&ArrayRef) -> Result<T>) -> Result<Vec<T>> {
        let lists = self.column(name)?.as_list_opt::<i32>().ok_or_else(|| self.wrong(name))?;
        lists.iter().map(|list| item(&list.ok_or_else(|| self.wrong(name))?)).collect()
    }

    fn text_lists(&self, name: &str) -> Result<Vec<Vec<String>>> {
        self.list(name, |list| texts(list).ok_or_else(|| self.wrong(name)))
    }

    fn mentions(&self, name: &str) -> Result<Vec<Mention>> {
        let fields = self.structs(name)?;
        let int = |field: &str| -> Option<Vec<usize>> {
            let ints = fields.column_by_name(field)?.as_primitive_opt::<Int32Type>()?;
            ints.iter().map(|int| usize::try_from(int?).ok()).collect()
        };
        let names = fields.column_by_name("name").and_then(texts);
        let spans = int("start").zip(int("end"));
        let (names, (starts, ends)) = names.zip(spans).ok_or_else(|| self.wrong(name))?;
        let parts = names.into_iter().zip(starts).zip(ends);
        Ok(parts.map(|((name, start), end)| Mention { name: name.into(), start, end }).collect())
    }

    fn labels(&self, task: Extraction) -> Result<Vec<RowLabels>> {
        Ok(match task {
            Extraction::Relations => {
                let ids = |name| self.ids(self.column(name)?, name);
                let arguments = self.mentions("head")?.into_iter().zip(self.mentions("tail")?);
                let relations = ids("relation")?.into_iter().zip(ids("original_relation")?);
                let rows = arguments.zip(relations);
                rows.map(|((head, tail), (relation, original))| RowLabels::Relation { head, tail, relation, original })
                    .collect()
            }
            Extraction::Entities => {
                let ids = |name| self.list(name, |list| self.ids(list, name));
                let rows = ids("tags")?.into_iter().zip(ids("original_tags")?);
                rows.map(|(tags, original)| RowLabels::Entities { tags, original }).collect()
            }
        })
    }

    fn rows(&self, task: Extraction, text_only: bool) -> Result<Vec<Row>> {
        let mut labels = self.labels(task)?.into_iter();
        let mut tokens = self.text_lists("tokens")?.into_iter();
        let mut images = Vec::new();
        let mut crops = Vec::new();
        if !text_only {
            images = self.optional_texts("image_id")?;
            crops = self.text_lists("crops")?;
        }
        let mut images = images.into_iter();
        let mut crops = crops.into_iter();
        let mut owners = self.ints("owner_task")?.into_iter();
        let mut row = |id| {
            Some(Row {
                id,
                tokens: tokens.next()?,
                owner_task: owners.next()?.and_then(|task| usize::try_from(task).ok()),
                image_id: images.next().flatten(),
                crops: crops.next().unwrap_or_default(),
                labels: labels.next()?,
            })
        };
        let rows: Option<Vec<Row>> = self.texts("id")?.into_iter().map(&mut row).collect();
        let rows = rows.ok_or_else(|| self.wrong("id"))?;
        let fits = |row: &Row| match &row.labels {
            RowLabels::Relation { head, tail, .. } => {
                [head, tail].iter().all(|m| m.start < m.end && m.end <= row.tokens.len())
            }
            RowLabels::Entities { tags, original } => {
                tags.len() == row.tokens.len() && original.len() == row.tokens.len()
            }
        };
        match rows.iter().find(|row| !fits(row)) {
            Some(row) => {
                let reason = format!("row {}: labels do not fit its {} words", row.id, row.tokens.len());
                Err(Error::dataset(self.path, reason))
            }
            None => Ok(rows),
        }
    }
}

fn texts(column: &ArrayRef) -> Option<Vec<String>> {
    column.as_string_opt::<i32>()?.iter().map(|text| text.map(str::to_owned)).collect()
}
