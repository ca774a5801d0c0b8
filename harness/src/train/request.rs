//! What a run is asked to do: method, benchmark, settings, encoders, device and folder.

use std::path::PathBuf;
use std::time::Duration;

use candle_core::{DType, Device};
use serde::Deserialize;

use crate::config::{Overrides, Resolved};
use crate::data::{Benchmark, cache};
use crate::error::{Error, Result};
use crate::learner::TINY;
use crate::methods::{MethodSpec, registry};
use crate::run::interrupt::Interrupt;

/// Which networks of a run are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaveModel {
    /// The network after the last task, in `model/`.
    Last,
    /// The network after each task k, in `stages/k/model/`.
    Every,
}

/// What to run. [`Request::new`] has defaults for everything but benchmark, method and folder.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder that `mkgc build` wrote.
    pub benchmark: PathBuf,
    /// The method, from the registry or one's own.
    pub method: MethodSpec,
    /// Run folder to create or resume.
    pub out: PathBuf,
    /// Settings, with the origin of each.
    pub settings: Resolved,
    /// Name of these settings where runs of the method differ in them, e.g. in an ablation. Default: none.
    pub variant: Option<String>,
    /// Text encoder: `tiny`, a folder or a repository. Default: `tiny`.
    pub encoder: String,
    /// Vision encoder of multimodal methods: `tiny`, a folder or a repository. Default: `tiny`.
    pub vision: String,
    /// Number of tasks after which the run stops. Default: all.
    pub tasks: Option<usize>,
    /// Where to compute. Default: the CPU.
    pub device: Device,
    /// Name of the device in `run.json`. Default: `cpu`.
    pub device_name: String,
    /// Number type of states and products; weights are f32. Default: f32.
    pub dtype: DType,
    /// Whose networks are kept as saved models. Default: none.
    pub save_model: Option<SaveModel>,
    /// Folder of prepared pictures. Default: none, which stands for [`cache::folder`].
    pub cache: Option<PathBuf>,
    /// Time between two checkpoints inside a task; none for no other ones than where the run is interrupted. Default: ten
    /// minutes.
    pub checkpoint_every: Option<Duration>,
    /// What asks the run to stop before its end. Default: nothing.
    pub interrupt: Interrupt,
}

/// Time between two checkpoints inside a task by default, see [`Request::checkpoint_every`].
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(10 * 60);

impl Request {
    /// Asks for a run of `method` with its default settings and `tiny` encoders on the CPU.
    ///
    /// # Errors
    /// `benchmark` is no benchmark folder.
    pub fn new(benchmark: impl Into<PathBuf>, method: MethodSpec, out: impl Into<PathBuf>) -> Result<Self> {
        let benchmark = benchmark.into();
        let kind = Benchmark::open(&benchmark, usize::MAX)?.kind();
        Ok(Self {
            benchmark,
            out: out.into(),
            settings: registry::resolve(kind, &method, Overrides::default())?,
            method,
            variant: None,
            encoder: TINY.to_owned(),
            vision: TINY.to_owned(),
            tasks: None,
            device: Device::Cpu,
            device_name: "cpu".to_owned(),
            dtype: DType::F32,
            save_model: None,
            cache: None,
            checkpoint_every: Some(CHECKPOINT_EVERY),
            interrupt: Interrupt::default(),
        })
    }

    /// Returns the folder of prepared pictures.
    pub(super) fn cache_folder(&self) -> Result<PathBuf> {
        self.cache.clone().map_or_else(cache::folder, Ok)
    }
}

/// Returns the number of tasks after which a run stops; none if that is after the last one.
///
/// # Errors
/// No task, or more tasks than there are.
pub fn stop_after(tasks: Option<usize>, benchmark: &Benchmark) -> Result<Option<usize>> {
    let name = &benchmark.manifest().name;
    let all = benchmark.tasks();
    match tasks {
        Some(tasks) if !(1..=all).contains(&tasks) => {
            Err(Error::Usage(format!("--tasks {tasks}: {name} has {all} tasks; give 1 to {all}, or leave it out")))
        }
        tasks => Ok(tasks.filter(|tasks| *tasks < all)),
    }
}
