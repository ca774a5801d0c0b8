//! A run: opened, trained task by task, resumed.

use std::rc::Rc;

use super::before;
use super::prepare::prepare;
use super::progress::ScoresSoFar;
use super::request::Request;
use crate::console::note;
use crate::data::{Benchmark, Task};
use crate::error::{Error, Result};
use crate::files::write_json_durably;
use crate::learner::LearnerSpec;
use crate::methods::journal::{Checkpoints, Journal};
use crate::methods::shared::memory::Memory;
use crate::methods::shared::predict::predict;
use crate::methods::trace::Trace;
use crate::methods::{Method, Session};
use crate::metrics::score::{RunResult, score_run};
use crate::metrics::stage::{self, StageScores};
use crate::run::checkpoint::{self, Inside, Saved};
use crate::run::lock::Lock;
use crate::run::log::Log;
use crate::run::predictions;
use crate::run::record::{Cost, RunRecord};
use crate::run::stop::check_result;
use crate::run::{RunFolder, failure};

/// A run with its folder, its data and its encoders open. The documentation of [`crate::train`] shows how to train one.
pub struct Run {
    pub(super) request: Request,
    benchmark: Benchmark,
    pub(super) spec: Rc<LearnerSpec>,
    pub(super) folder: RunFolder,
    pub(super) record: RunRecord,
    /// Keeps other processes away from the folder. None of a finished run, which is only shown.
    _lock: Option<Lock>,
}

impl Run {
    /// Opens benchmark, encoders and pictures, and creates the run folder or opens one of the same settings, which no other
    /// process may work on until the run is dropped.
    ///
    /// # Errors
    /// Data or encoders that cannot be read; settings that no network can have, which leave no folder behind; a folder of
    /// another run, or one that another process works on.
    pub fn open(request: Request) -> Result<Self> {
        let config = &request.settings.config;
        let benchmark = Benchmark::open(&request.benchmark, config.max_length)?;
        let (spec, record) = prepare(&request, &benchmark)?;
        let spec = Rc::new(spec);
        let folder = RunFolder::new(&request.out);
        if !folder.started() {
            folder.check_free()?;
            before::check(&request, &benchmark, &spec)?;
            fs_err::create_dir_all(folder.dir())?;
        }
        let lock = if folder.is_finished(&record)? { None } else { Some(Lock::take(&folder)?) };
        folder.open(&record, request.method.later_settings)?;
        Ok(Self { request, benchmark, spec, folder, record, _lock: lock })
    }

    /// Returns the number of tasks that the run learns.
    pub fn tasks(&self) -> usize {
        self.record.tasks()
    }

    /// Trains on the tasks that are left and returns the result, which `result.json` holds as well. Returns the stored
    /// result if the run is finished.
    ///
    /// # Errors
    /// A finished run is damaged; otherwise the errors of [`Training`], which are also written to `failure.json`.
    pub fn train(&self) -> Result<RunResult> {
        if self.folder.result().exists() {
            check_result(&self.folder, &self.record)?;
            if self.record.stop_after.is_none()
                && let Err(error) = self.folder.remove_checkpoint()
            {
                note(format_args!("warning: {error}"));
            }
            self.check_models(self.tasks())?;
            return RunResult::read(&self.folder);
        }
        failure::clear(&self.folder)?;
        let outcome = self.train_all().map_err(|error| self.with_remedy(error));
        if let Err(error) = &outcome
            && !matches!(error, Error::Interrupted)
            && let Err(second) = failure::write(&self.folder, self.record.dataset.tasks.len(), error)
        {
            note(format_args!("warning: {second}"));
        }
        outcome
    }

    /// Adds to an error whose remedy is a setting where the run with that setting goes.
    fn with_remedy(&self, error: Error) -> Error {
        if !matches!(error, Error::Diverged(_) | Error::GpuMemory | Error::Config { .. }) {
            return error;
        }
        let place = match (self.folder.tasks_learned(self.tasks()), self.request.method.later_settings) {
            (0, _) => "with other settings, the same --out begins again".to_owned(),
            (1, later) if !later.is_empty() => {
                format!(
                    "with another {}, the same --out goes on; with other settings, give a new --out",
                    later.join(", ")
                )
            }
            _ => "with other settings, give a new --out, because the tasks learned so far depend on them".to_owned(),
        };
        self.folder.error(&format!("{error} ({place})"))
    }

    fn train_all(&self) -> Result<RunResult> {
        let mut training = self.resume()?;
        self.check_models(training.next_task())?;
        for task in training.next_task()..self.tasks() {
            training.journal.check()?;
            training.train_task(task)?;
            training.evaluate(task)?;
            training.save_model(task)?;
            training.save(task)?;
        }
        training.finish()
    }

    /// Makes the method and puts it in the state of the last checkpoint, if there is one. The files with the rows of all
    /// tasks are checked first, so that a damaged one does not stop the run hours later.
    ///
    /// # Errors
    /// A damaged benchmark or checkpoint; settings that the method cannot use with this benchmark.
    pub fn resume(&self) -> Result<Training<'_>> {
        self.benchmark.check_rows()?;
        let folder = self.folder.checkpoint();
        let saved = checkpoint::load(&folder, &self.request.device)?;
        let next_task = saved.as_ref().map_or(0, |saved| saved.stage + 1);
        let inside = checkpoint::load_inside(&folder, next_task, &self.request.device)?;
        let (mut log, progress) = self.log(next_task, inside.as_ref().map_or(0, |inside| inside.log.lines))?;
        let mut trace = Trace::default();
        let seconds = saved.as_ref().map_or(0.0, |saved| saved.cost.wall_seconds);
        let mut journal = self.journal(inside.as_ref().map_or(seconds, |inside| inside.seconds));
        let mut method = (self.request.method.create)(&mut self.session(&mut log, &mut trace, &mut journal))?;
        let mut cost = Cost::default();
        if let Some(mut saved) = saved {
            method.restore(&mut saved.state)?;
            if let Some(memory) = method.memory_mut() {
                *memory = Memory::restore(saved.memory, &self.benchmark, &self.spec.tokenizer)?;
            }
            // JSON may round the scores of the choice, which the method's own state does not.
            cost = Cost { ewc: method.choice().cloned(), ..saved.cost };
        }
        let before = cost.clone();
        Ok(Training { run: self, log, trace, journal, method, progress, next_task, inside, before, cost })
    }

    /// Makes the journal of a run that has taken so many seconds.
    fn journal(&self, seconds: f64) -> Journal {
        let folder = Some(self.folder.checkpoint());
        let interrupt = self.request.interrupt.clone();
        Journal::new(Checkpoints { folder, every: self.request.checkpoint_every, interrupt }, seconds)
    }

    /// Opens the log with so many lines of the task that is learned next, and repeats the scores of the tasks before it.
    fn log(&self, next_task: usize, lines: usize) -> Result<(Log, ScoresSoFar)> {
        let title = format!("{} {}", self.record.dataset.name, self.record.method);
        let rate = self.request.settings.config.lr_encoder;
        let tasks = self.benchmark.tasks();
        let mut log = Log::open_inside(&self.folder.metrics(), &title, tasks, (next_task, lines), rate)?;
        let mut progress = ScoresSoFar::default();
        for task in 0..next_task {
            let predicted = predictions::read(&self.folder.predictions(task))?;
            let scores = stage::score(&self.record.dataset, task, &predicted);
            progress.report(&mut log, &self.record.dataset.tasks[task].name, &scores)?;
        }
        Ok((log, progress))
    }

    fn session<'a>(&'a self, log: &'a mut Log, trace: &'a mut Trace, journal: &'a mut Journal) -> Session<'a> {
        let config = &self.request.settings.config;
        Session { spec: Rc::clone(&self.spec), config, benchmark: &self.benchmark, log, trace, journal }
    }
}

/// A run in training: the method in its present state.
pub struct Training<'r> {
    pub(super) run: &'r Run,
    log: Log,
    trace: Trace,
    journal: Journal,
    pub(super) method: Box<dyn Method>,
    progress: ScoresSoFar,
    next_task: usize,
    /// Where the next task goes on, if an earlier process began it.
    inside: Option<Inside>,
    /// What the run had cost when it resumed.
    before: Cost,
    /// What it has cost after the last task evaluated.
    cost: Cost,
}

impl Training<'_> {
    /// Returns the 0-based task that is trained next.
    pub fn next_task(&self) -> usize {
        self.next_task
    }

    /// Returns the method, for its network and its replay buffer.
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// Trains on a task, which must be [`Training::next_task`], or on what is left of it.
    ///
    /// # Errors
    /// Another task; the loss diverges; rows or pictures that cannot be read; [`Error::Interrupted`] after a step at which
    /// [`Request::interrupt`] asked the run to stop, and after a checkpoint.
    pub fn train_task(&mut self, task: usize) -> Result<()> {
        if task != self.next_task {
            let next = self.next_task + 1;
            let asked = task + 1;
            return Err(Error::Usage(format!("task {next} is trained next, not task {asked}: tasks have an order")));
        }
        let run = self.run;
        let inside = self.inside.take();
        self.log.begin_task(task, inside.is_some());
        self.journal.begin(task, self.method.resumes_inside(), inside);
        let train = run.benchmark.training(task, &run.spec.tokenizer)?;
        let task = Task { seen: run.benchmark.seen(task), train };
        self.trace.task(&task.seen);
        self.method.learn(&task, &mut run.session(&mut self.log, &mut self.trace, &mut self.journal))?;
        self.next_task += 1;
        Ok(())
    }

    /// Predicts the test rows after a task, stores the predictions and returns their scores.
    ///
    /// # Errors
    /// Rows or pictures that cannot be read; the folder cannot be written.
    pub fn evaluate(&mut self, task: usize) -> Result<StageScores> {
        let run = self.run;
        let seen = run.benchmark.seen(task);
        let rows = run.benchmark.test_rows(task)?;
        let session = run.session(&mut self.log, &mut self.trace, &mut self.journal);
        let predicted = predict(self.method.as_ref(), &session, &seen, &rows)?;
        predictions::write(&run.folder.predictions(task), &predicted)?;
        let scores = stage::score(&run.record.dataset, task, &predicted);
        self.progress.report(&mut self.log, &run.record.dataset.tasks[task].name, &scores)?;
        self.cost = self.cost_so_far();
        Ok(scores)
    }

    fn cost_so_far(&self) -> Cost {
        let memory = self.method.memory();
        let manifest = self.run.benchmark.manifest();
        Cost {
            optimiser_steps: self.before.optimiser_steps + self.trace.steps,
            tuning_steps: self.before.tuning_steps + self.trace.tuning_steps,
            wall_seconds: self.journal.seconds(),
            stored_rows: memory.map_or(0, |memory| memory.rows().len()),
            stored_by_class: memory.map(|memory| memory.by_class(manifest)).unwrap_or_default(),
            ewc: self.method.choice().cloned(),
        }
    }

    /// Saves a checkpoint after a task, from which [`Run::resume`] goes on.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, task: usize) -> Result<()> {
        let memory = self.method.memory().map(Memory::ids).unwrap_or_default();
        let saved = Saved { stage: task, state: self.method.state()?, memory, cost: self.cost.clone() };
        let folder = self.run.folder.checkpoint();
        self.log.sync()?;
        checkpoint::save(&folder, &saved)?;
        checkpoint::remove_inside(&folder)
    }

    /// Derives the result from the stored predictions and writes it with the cost. Deletes the checkpoint unless the run
    /// was told to stop before the last task.
    ///
    /// # Errors
    /// A task has no predictions; the folder cannot be written.
    pub fn finish(self) -> Result<RunResult> {
        let run = self.run;
        let result = score_run(&run.folder)?;
        run.folder.charge(&run.record, self.cost)?;
        write_json_durably(&run.folder.result(), &result)?;
        if run.record.stop_after.is_none() {
            run.folder.remove_checkpoint()?;
        }
        Ok(result)
    }
}
