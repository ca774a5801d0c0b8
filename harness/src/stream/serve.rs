//! Answers the requests of a method: one task after another, each ended by its predictions.

use std::time::{Duration, Instant};

use mkgc_builder::corpus::Split;

use super::hidden::HiddenRows;
use super::message::{ClientRequest, Reply, TaskMessage};
use super::peer::{Lost, Peer};
use super::rows::StreamRow;
use super::session::{Current, StreamSession, Test};
use crate::console::note;
use crate::error::Error;
use crate::external::{SubmittedAnswer, check_answer};
use crate::metrics::score::RunResult;
use crate::metrics::stage;
use crate::run::external::{PhaseRecord, Refusal};
use crate::run::predictions;
use crate::run::record::RunRecord;

/// After how many requests in a row that are mistakes, or the same one again, a method is given up. What is refused for the
/// budget or for its rows is not counted: a method may store row after row until no more fit.
const PATIENCE: usize = 100;

/// How old the saved counts of refusals must be before one more refusal saves them, so that a method that is refused thousands
/// of times a second does not spend its time on the disk. Something could be learned from a refusal of predictions, so it is saved
/// at once. The others are saved by the end of the task as well, and are lost only if this process is killed before.
const UNSAVED: Duration = Duration::from_secs(1);

/// Why a request is not answered as asked.
#[derive(Debug)]
pub enum Fault {
    /// The request is refused and changes nothing.
    Refused(Refusal, String),
    /// Too many requests were refused one after another; this was wrong with the last one.
    GivenUp(String),
    /// No more can be heard from the method or said to it, for the reason given.
    Lost(Lost),
    /// mkgc itself cannot go on.
    Failed(Error),
}

impl From<Lost> for Fault {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Served<T> = Result<T, Fault>;

impl StreamSession<'_> {
    /// Answers requests until there are no more tasks. Once all predictions are stored, the method may leave.
    ///
    /// # Errors
    /// The method is gone or makes nothing but mistakes; the folder cannot be written.
    pub fn serve(&mut self, peer: &Peer) -> Served<RunResult> {
        let outcome = self.converse(peer);
        // Refusals that are counted and not saved yet.
        if self.may_change() {
            self.save()?;
        }
        match outcome {
            Err(Fault::Lost(lost)) => self.result()?.ok_or(Fault::Lost(lost)),
            outcome => outcome,
        }
    }

    fn converse(&mut self, peer: &Peer) -> Served<RunResult> {
        peer.send(&Reply::Hello(self.hello()))?;
        let mut refused = 0;
        let mut before = String::new();
        let mut saved = Instant::now();
        loop {
            let line = peer.receive()?;
            let request = ClientRequest::parse(&line).map_err(|reason| Fault::Refused(Refusal::Message, reason));
            match request.and_then(|request| self.answer(request, peer)) {
                Ok(None) => refused = 0,
                Ok(Some(result)) => return Ok(result),
                Err(Fault::Refused(code, message)) => {
                    *self.stream.refused.entry(code).or_default() += 1;
                    // Now, because the method may end this process before the task ends.
                    if self.may_change() && (code == Refusal::Predictions || saved.elapsed() > UNSAVED) {
                        self.save()?;
                        saved = Instant::now();
                    }
                    let counts = !matches!(code, Refusal::Budget | Refusal::Rows) || line == before;
                    refused += usize::from(counts);
                    if refused == PATIENCE {
                        return Err(Fault::GivenUp(message));
                    }
                    before = line;
                    peer.send(&Reply::Error { code, message })?;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Does what is asked. Returns the result once it was sent.
    fn answer(&mut self, request: ClientRequest, peer: &Peer) -> Served<Option<RunResult>> {
        match request {
            ClientRequest::Next => return self.next(peer),
            ClientRequest::Remember { rows, replace } => {
                let no_task = self.no_task();
                let current = self.current.as_ref().ok_or(no_task)?;
                let stored = self.store.remember(&rows, replace, &current.train);
                stored.map_err(|(code, reason)| Fault::Refused(code, reason))?;
                let by_class = self.store.by_class();
                peer.send(&Reply::Remembered { stored: self.store.len(), by_class })?;
            }
            ClientRequest::Test => self.test(peer)?,
            ClientRequest::Predict { predictions, scores } => {
                self.predict(SubmittedAnswer { predictions: &predictions, scores: scores.as_deref() }, peer)?;
            }
        }
        Ok(None)
    }

    /// Makes the refusal of a request that only a task allows.
    fn no_task(&self) -> Fault {
        let reason = match self.done() {
            0 => "there is no task yet; ask for `next`".to_owned(),
            done => format!("the predictions of task {done} are stored already; ask for `next`"),
        };
        Fault::Refused(Refusal::Order, reason)
    }

    /// Hands out the next task, or the result after the last one.
    fn next(&mut self, peer: &Peer) -> Served<Option<RunResult>> {
        if let Some(current) = &self.current {
            let reason = format!("the predictions of task {} are missing; give them with `predict`", current.task + 1);
            return Err(Fault::Refused(Refusal::Order, reason));
        }
        if let Some(result) = self.result()? {
            peer.send(&Reply::End { result: Box::new(result.clone()) })?;
            return Ok(Some(result));
        }
        let task = self.done();
        let train = self.labelled(task, Split::Train)?;
        let validation = self.labelled(task, Split::Validation)?;
        let manifest = self.benchmark.manifest();
        let known = self.benchmark.seen(task).allowed;
        let labels = manifest.labels.iter().zip(known);
        peer.send(&Reply::Task(TaskMessage {
            task,
            name: &manifest.tasks[task].name,
            classes: &manifest.tasks[task].classes,
            labels: labels.filter_map(|(name, known)| known.then_some(name.as_str())).collect(),
            train: train.iter().map(|row| &row.row).collect(),
            validation: validation.iter().map(|row| &row.row).collect(),
            memory: self.store.rows(),
        }))?;
        self.current = Some(Current { task, train, handed_out: Instant::now(), test: None });
        Ok(None)
    }

    /// Hands out the test rows. Asked for again, they are the same rows, and the time goes on.
    fn test(&mut self, peer: &Peer) -> Served<()> {
        let no_task = self.no_task();
        let current = self.current.as_mut().ok_or(no_task)?;
        let learn_seconds = current.handed_out.elapsed().as_secs_f64();
        let fingerprint = &self.benchmark.manifest().fingerprint;
        let rows = HiddenRows::new(self.benchmark.test_rows(current.task)?, fingerprint);
        peer.send(&Reply::Test { rows: rows.shown().iter().map(StreamRow::test).collect() })?;
        current.test.get_or_insert(Test { rows, learn_seconds, handed_out: Instant::now() });
        Ok(())
    }

    /// Stores the predictions of the task, and the result after the last one.
    fn predict(&mut self, answer: SubmittedAnswer<'_>, peer: &Peer) -> Served<()> {
        let Current { task, test, .. } = self.current.as_ref().ok_or_else(|| self.no_task())?;
        let early =
            || Fault::Refused(Refusal::Order, "the test rows are not handed out yet; ask for `test`".to_owned());
        let test = test.as_ref().ok_or_else(early)?;
        let task = *task;
        let predict_seconds = test.handed_out.elapsed().as_secs_f64();
        let phase = PhaseRecord { learn_seconds: test.learn_seconds, predict_seconds };
        let (answers, warnings) = match check_answer(self.benchmark, task, test.rows.shown(), answer) {
            Err(Error::Usage(reason)) => return Err(Fault::Refused(Refusal::Predictions, reason)),
            checked => checked?,
        };
        let rows = test.rows.uncover(answers);
        for warning in warnings {
            note(format_args!("warning: {warning}"));
        }
        predictions::write(&self.folder.predictions(task), &rows)?;
        self.finish_task(phase)?;
        let micro_f1 = stage::score(&self.record.dataset, task, &rows).micro_f1;
        self.report(task, phase, micro_f1.number());
        let last = self.finish()?;
        peer.send(&Reply::Predicted { task, last })?;
        Ok(())
    }

    /// Says on stderr how a task went.
    fn report(&self, task: usize, phase: PhaseRecord, micro_f1: Option<f64>) {
        let RunRecord { dataset, method, .. } = &self.record;
        let score = micro_f1.map_or_else(|| "undefined".to_owned(), |score| format!("{:.1}", 100.0 * score));
        note(format_args!(
            "{} {method} task {}/{}: {}: micro-F1 {score}, learned in {:.1} s, predicted in {:.1} s, {} rows stored",
            dataset.name,
            task + 1,
            dataset.tasks.len(),
            dataset.tasks[task].name,
            phase.learn_seconds,
            phase.predict_seconds,
            self.store.len()
        ));
    }
}
