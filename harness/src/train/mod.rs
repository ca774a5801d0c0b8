//! The training loop: train on each task in turn, evaluate after each, and save a checkpoint so an interrupted run can
//! resume.
//!
//! ```no_run
//! use mkgc_harness::methods::registry;
//! use mkgc_harness::train::{Request, Run};
//!
//! let method = *registry::find("emr")?;
//! let result = Run::open(Request::new("data/mnre-10", method, "runs/emr")?)?.train()?;
//! println!("{:?}", result.continual["forgetting_chaudhry18"]);
//! # Ok::<(), mkgc_harness::error::Error>(())
//! ```
//!
//! A program that wants to do something between the tasks drives a [`Training`] itself:
//!
//! ```no_run
//! # use mkgc_harness::methods::registry;
//! # use mkgc_harness::train::{Request, Run};
//! # let request = Request::new("data/mnre-10", *registry::find("emr")?, "runs/emr")?;
//! let run = Run::open(request)?;
//! let mut training = run.resume()?;
//! for task in training.next_task()..run.tasks() {
//!     training.train_task(task)?;
//!     let scores = training.evaluate(task)?;
//!     println!("after task {}: {:?}", task + 1, scores.micro_f1);
//!     training.save(task)?;
//! }
//! let result = training.finish()?;
//! # Ok::<(), mkgc_harness::error::Error>(())
//! ```

mod before;
mod prepare;
mod progress;
mod request;
mod run;
mod saving;

pub(crate) use prepare::prepare;
pub use request::{CHECKPOINT_EVERY, Request, SaveModel, stop_after};
pub use run::{Run, Training};
