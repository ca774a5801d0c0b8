//! Makes a single run of a sweep in this process: what the sweep's child processes and the tasks of a cluster do.

use std::fmt::Display;
use std::io::Read;

use super::matrix::Sweep;
use super::spec::PlannedRun;
use crate::console::note;
use crate::error::Error;
use crate::signals;
use crate::train::{Request, Run};

/// Variable that tells a child process of a sweep that its standard input is a pipe that ends with its parent.
pub(super) const CHILD: &str = "MKGC_SWEEP_CHILD";

/// Makes run number `number`. Builds its benchmark if that is missing, and then asks for the `request`, to which the
/// plan's settings, variant, number of tasks and `save_model` are added. A finished run is left as it is.
///
/// # Errors
/// There is no such run; `request` fails; what [`Run::open`] and [`Run::train`] fail for. That a run could not begin is
/// noted for the sweep's other commands.
pub fn make_one<E: From<Error> + Display>(
    sweep: &Sweep,
    number: usize,
    request: impl FnOnce(&PlannedRun) -> Result<Request, E>,
) -> Result<(), E> {
    let run = sweep.run(number)?;
    if std::env::var_os(CHILD).is_some() {
        stop_with_parent();
    }
    let ready = sweep.benchmarks[run.benchmark].ensure();
    let request =
        ready.map_err(E::from).and_then(|()| request(run)).inspect_err(|error| note_failure(sweep, run, error))?;
    let settings = run.settings.clone();
    let save_model = sweep.save_model;
    let request = Request { settings, variant: run.variant.clone(), tasks: run.tasks, save_model, ..request };
    let opened = Run::open(request).inspect_err(|error| note_failure(sweep, run, error))?;
    sweep.clear_failure(run)?;
    opened.train()?;
    Ok(())
}

/// Notes why the run could not begin. One that has begun and cannot be opened is as it was: what is wrong is the command, or
/// a file elsewhere, so the run goes on once that is mended. A note that cannot be written must not hide the error itself.
fn note_failure(sweep: &Sweep, run: &PlannedRun, error: &impl Display) {
    if sweep.folder(run).is_ok_and(|folder| folder.started()) {
        return;
    }
    if let Err(second) = sweep.note_failure(run, format!("{error:#}")) {
        note(format_args!("warning: {second}"));
    }
}

/// Ends this process, with a checkpoint, when the sweep that started it is gone: nobody would look after it.
fn stop_with_parent() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).ok();
        note(format_args!("the sweep that started this run is gone"));
        signals::terminate_self();
    });
}
