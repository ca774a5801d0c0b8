//! Makes a single run of a sweep in this process: what the sweep's child processes and the tasks of a cluster do.

use std::io::Read;

use candle_core::{DType, Device};

use super::matrix::Sweep;
use super::signals;
use crate::error::{Error, Result};
use crate::train::{Request, Run};

/// Variable that tells a child process of a sweep that its standard input is a pipe that ends with its parent.
pub(super) const CHILD: &str = "MKGC_SWEEP_CHILD";

/// Makes run number `number`, on a device that is open. Builds its benchmark if that is missing. A finished run is left as
/// it is.
///
/// # Errors
/// There is no such run; what [`Run::train`] fails for, which is noted for the sweep's other commands.
pub fn make_one(sweep: &Sweep, number: usize, device: Device) -> Result<()> {
    let run = sweep.run(number)?;
    if std::env::var_os(CHILD).is_some() {
        stop_with_parent();
    }
    sweep.clear_failure(run)?;
    let outcome = sweep.benchmarks[run.benchmark].ensure().and_then(|()| {
        let request = Request::new(sweep.benchmark(run), *run.method, sweep.folder(run)?.dir())?;
        let request = Request {
            settings: run.settings.clone(),
            variant: run.variant.clone(),
            encoder: run.encoder.clone(),
            vision: run.vision.clone(),
            tasks: run.tasks,
            device,
            device_name: sweep.device.clone(),
            dtype: if sweep.dtype == "bf16" { DType::BF16 } else { DType::F32 },
            ..request
        };
        Run::open(request)?.train().map(|_| ())
    });
    if let Err(error) = &outcome {
        note(sweep, number, error);
    }
    outcome
}

/// Notes why the run failed. A note that cannot be written must not hide the error itself.
fn note(sweep: &Sweep, number: usize, error: &Error) {
    let noted = sweep.run(number).and_then(|run| sweep.note_failure(run, error.to_string()));
    if let Err(second) = noted {
        eprintln!("warning: {second}");
    }
}

/// Ends this process, with a checkpoint, when the sweep that started it is gone: nobody would look after it.
fn stop_with_parent() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).ok();
        eprintln!("the sweep that started this run is gone");
        signals::terminate_self();
    });
}
