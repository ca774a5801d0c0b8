//! A run that is dealt out: its folder, what is stored, and how far it has come.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{CROPS_FILE, IMAGES_FILE};

use super::hidden::HiddenRows;
use super::message::{Hello, Images, PROTOCOL};
use super::progress::StreamProgress;
use super::request::StreamRequest;
use super::rows::LabelledRow;
use super::store::{Store, StoredId};
use crate::console::{counted, note};
use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::files::write_json_durably;
use crate::metrics::score::{RunResult, score_run};
use crate::run::external::{ExternalRecord, PhaseRecord, StreamRecord};
use crate::run::lock::Lock;
use crate::run::record::{Model, RunRecord};
use crate::run::{RunFolder, failure};

/// The folder in a run folder where a method keeps its own state.
const METHOD: &str = "method";

/// The task that is learned.
pub(super) struct Current {
    pub(super) task: usize,
    pub(super) train: Vec<LabelledRow>,
    pub(super) handed_out: Instant,
    pub(super) test: Option<Test>,
}

/// The test rows that a method is to predict.
pub(super) struct Test {
    pub(super) rows: HiddenRows,
    pub(super) learn_seconds: f64,
    pub(super) handed_out: Instant,
}

/// A run that is dealt out.
pub struct StreamSession<'a> {
    pub(super) benchmark: &'a Benchmark,
    pub(super) folder: &'a RunFolder,
    pub(super) record: RunRecord,
    pub(super) stream: StreamRecord,
    /// What is stored after the last task that is done, which a task that is interrupted does not change.
    stored: Vec<StoredId>,
    pub(super) store: Store,
    pub(super) current: Option<Current>,
    /// Keeps other processes away from the folder. None of a finished run, which is only shown.
    lock: Option<Lock>,
}

impl<'a> StreamSession<'a> {
    /// Creates the run folder, or opens one of the same run.
    ///
    /// # Errors
    /// The folder holds another run, another process works on it, or it cannot be written.
    pub fn open(
        request: &StreamRequest,
        benchmark: &'a Benchmark,
        folder: &'a RunFolder,
        stop_after: Option<usize>,
    ) -> Result<Self> {
        let fresh = StreamRecord {
            protocol: PROTOCOL,
            command: request.command.clone(),
            memory: request.memory,
            phases: Vec::new(),
            refused: [].into(),
            started_after: Vec::new(),
            stored_rows: 0,
            stored_by_class: [].into(),
        };
        let source = ExternalRecord {
            description: request.description.clone(),
            url: request.url.clone(),
            predictions: Vec::new(),
            stream: Some(Box::new(fresh.clone())),
        };
        let record = RunRecord {
            memory_budget: request.memory.phrase(),
            stop_after,
            ..RunRecord::external(benchmark.manifest(), &request.name, request.train_seed, source)
        };
        if !folder.started() {
            folder.check_free()?;
            fs_err::create_dir_all(folder.dir())?;
        }
        let lock = if folder.is_finished(&record)? { None } else { Some(Lock::take(folder)?) };
        folder.open(&record, &[])?;
        let progress = StreamProgress::read(folder)?;
        if progress.is_none() && folder.record()?.stream().is_some_and(|earlier| !earlier.phases.is_empty()) {
            return Err(folder.error("has no stream.json, so it cannot go on; choose another --out"));
        }
        let StreamProgress { record: earlier, stored } =
            progress.unwrap_or(StreamProgress { record: fresh, stored: Vec::new() });
        let stream = StreamRecord { command: request.command.clone(), ..earlier };
        let store = Store::empty(request.memory);
        let mut session = Self { benchmark, folder, record, stream, stored, store, current: None, lock };
        session.restore()?;
        if !folder.result().exists() {
            failure::clear(folder)?;
            if session.done() < session.record.tasks() {
                session.stream.started_after.push(session.done());
                session.warn_of_lost_state();
            }
            session.save()?;
            session.finish()?;
        }
        Ok(session)
    }

    /// Warns where an interrupted method kept nothing: it would begin anew with the tasks that are left.
    fn warn_of_lost_state(&self) {
        let kept = self.folder.dir().join(METHOD);
        let empty = fs_err::read_dir(&kept).map_or(true, |mut files| files.next().is_none());
        if self.done() > 0 && empty {
            let tasks = counted(self.done(), "task");
            note(format_args!(
                "warning: {tasks} are done, and {} is empty: unless the method restores from elsewhere what it learned, its \
                 predictions are those of a method that never saw them",
                kept.display()
            ));
        }
    }

    /// Returns the result of a run that is finished.
    ///
    /// # Errors
    /// `result.json` is damaged.
    pub fn result(&self) -> Result<Option<RunResult>> {
        self.folder.result().exists().then(|| RunResult::read(self.folder)).transpose()
    }

    /// Makes an error that names the folder, the task and the remedy.
    pub fn error(&self, what: &str) -> Error {
        let task = (self.done() + 1).min(self.record.tasks());
        let tasks = self.record.tasks();
        let remedy = "the same command goes on after the last finished task";
        self.folder.error(&format!("in task {task} of {tasks}, {what}; {remedy}"))
    }

    /// Returns the number of tasks whose predictions are stored.
    pub(super) fn done(&self) -> usize {
        self.stream.phases.len()
    }

    /// Returns whether this process may change the run. One that another process finished is only shown.
    pub(super) fn may_change(&self) -> bool {
        self.lock.is_some()
    }

    /// Reads the rows that were stored when the run was interrupted.
    fn restore(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        for task in 0..self.done() {
            let train = self.labelled(task, Split::Train)?;
            let known: BTreeMap<&str, &LabelledRow> = train.iter().map(|row| (row.row.id.as_str(), row)).collect();
            let stored = self.stored.iter().filter(|stored| stored.task == task);
            rows.extend(stored.filter_map(|stored| known.get(stored.id.as_str()).copied()).cloned());
        }
        if rows.len() != self.stored.len() {
            return Err(self.folder.error("stream.json stores rows that the benchmark lacks; choose another --out"));
        }
        let broken = |reason| self.folder.error(&format!("stream.json was changed: {reason}; choose another --out"));
        self.store = Store::new(self.stream.memory, rows).map_err(broken)?;
        Ok(())
    }

    /// Reads the rows of a task with the labels that it shows.
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn labelled(&self, task: usize, split: Split) -> Result<Vec<LabelledRow>> {
        let labels = self.benchmark.manifest().label_set();
        let seen = self.benchmark.seen(task);
        let rows = self.benchmark.rows(task, split)?;
        Ok(rows.iter().map(|row| LabelledRow::new(row, task, &labels, &seen.allowed)).collect())
    }

    /// Writes how far the run has come.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&mut self) -> Result<()> {
        StreamProgress { record: self.stream.clone(), stored: self.stored.clone() }.write(self.folder)?;
        if let Model::External { source, .. } = &mut self.record.model {
            source.stream = Some(Box::new(self.stream.clone()));
        }
        write_json_durably(&self.folder.dir().join("run.json"), &self.record)
    }

    /// Ends the present task, whose predictions are stored.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn finish_task(&mut self, phase: PhaseRecord) -> Result<()> {
        self.current = None;
        self.stored = self.store.ids();
        self.stream.phases.push(phase);
        self.stream.stored_rows = self.store.len();
        self.stream.stored_by_class = self.store.by_class();
        self.save()
    }

    /// Writes the result if all predictions are stored, and returns whether they are. They may be when a run is opened:
    /// the process before ended between the last of them and the result, or was to deal out more tasks than this one.
    ///
    /// # Errors
    /// Stored predictions are damaged, or the folder cannot be written.
    pub(super) fn finish(&self) -> Result<bool> {
        let all = self.done() >= self.record.tasks();
        if all {
            write_json_durably(&self.folder.result(), &score_run(self.folder)?)?;
        }
        Ok(all)
    }

    /// Says what will be dealt out.
    pub(super) fn hello(&self) -> Hello {
        let manifest = self.benchmark.manifest();
        let paths = |file| manifest.parts(file).map(|part| part.path.clone()).collect();
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned();
        Hello {
            protocol: PROTOCOL,
            mkgc: env!("CARGO_PKG_VERSION").to_owned(),
            benchmark: manifest.name.clone(),
            extraction: manifest.task,
            none: manifest.labels.first().cloned().unwrap_or_default(),
            labels: manifest.labels.len(),
            tasks: self.record.tasks(),
            tasks_done: self.done(),
            memory: self.stream.memory,
            train_seed: self.record.train_seed(),
            data: absolute(self.benchmark.dir()),
            out: absolute(self.folder.dir()),
            images: Images {
                files: paths(IMAGES_FILE),
                crops: paths(CROPS_FILE),
                by_split: manifest.images_by_split,
                embedded: manifest.embed_images,
            },
        }
    }
}
