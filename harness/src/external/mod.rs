//! `mkgc score`: turns the predictions of any program into a run folder that can be compared with mkgc's own runs. Gold
//! labels come from the benchmark folder, never from the file, and the scores from the same function as those of any run.

mod answer;
mod check;
mod file;
mod labels;
mod problems;
mod read;
mod report;

pub use answer::{SubmittedAnswer, check_answer};
pub use file::PredictionFile;
pub(crate) use read::jsonl;

use std::path::{Path, PathBuf};

use mkgc_builder::files::{Replacing, StagedFolder, Target, sha256_file};
use mkgc_builder::verify::require_intact;

use self::check::{Checked, check};
use self::problems::Problems;
use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::files::write_json;
use crate::methods;
use crate::metrics::score::{RunResult, score_run};
use crate::run::external::{ExternalRecord, PredictionsRecord};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, predictions};

/// The predictions to score and what to record of the model that made them.
pub struct ScoreRequest {
    /// Benchmark folder that `mkgc build` wrote.
    pub benchmark: PathBuf,
    /// Files of predictions to score, each of one stage or with a column that says the stage of each row.
    pub predictions: Vec<PredictionFile>,
    /// Name of the model in reports.
    pub name: String,
    /// What the model is, in words; `run.json` keeps it.
    pub description: Option<String>,
    /// Address of a page about the model.
    pub url: Option<String>,
    /// Seed that the model was trained with. Reports average runs of several seeds and give an interval.
    pub train_seed: u64,
    /// Run folder to create, which must be empty if it exists.
    pub out: PathBuf,
}

/// The scores of the predictions and warnings about them, which [`score`] returns.
#[derive(Debug)]
pub struct Scored {
    /// Scores after each task and over all of them, as `result.json` holds them.
    pub result: RunResult,
    /// What is strange about the predictions, though they can be scored.
    pub warnings: Vec<String>,
}

/// Checks the predictions, writes the run folder and returns its result. Nothing is written if a prediction is wrong.
///
/// # Errors
/// The name cannot be used, the folder to create exists, the benchmark is damaged, or predictions are wrong: then the message
/// has all kinds of problems with their numbers and first examples.
pub fn score(request: &ScoreRequest) -> Result<Scored> {
    check_name(&request.name)?;
    let refusal = "exists already; choose another --out, or delete the folder";
    let target = Target::open(&request.out, Replacing { holding: None, refusal })?;
    require_intact(&request.benchmark)?;
    let benchmark = Benchmark::open(&request.benchmark, 128)?;
    let Checked { stages, warnings } = checked(&benchmark, &request.predictions)?;
    let records = request.predictions.iter().map(|file| file_record(&file.path)).collect::<Result<_>>()?;
    let external = ExternalRecord {
        description: request.description.clone(),
        url: request.url.clone(),
        predictions: records,
        stream: None,
    };
    let record = RunRecord::external(benchmark.manifest(), &request.name, request.train_seed, external);

    let staged = StagedFolder::create(target)?;
    let folder = RunFolder::new(&staged.path());
    write_json(&folder.dir().join("run.json"), &record)?;
    for (stage, rows) in stages.iter().enumerate() {
        if let Some(rows) = rows {
            predictions::write(&folder.predictions(stage), rows)?;
        }
    }
    let result = score_run(&folder)?;
    write_json(&folder.result(), &result)?;
    staged.install()?;
    Ok(Scored { result, warnings })
}

/// Checks predictions as [`score`] does, without writing anything, and returns what is strange about them, though they can
/// be scored.
///
/// # Errors
/// Predictions are wrong, see [`score`]; a file of the benchmark cannot be read.
pub fn check_predictions(benchmark: &Benchmark, predictions: &[PredictionFile]) -> Result<Vec<String>> {
    Ok(checked(benchmark, predictions)?.warnings)
}

/// Reads the files and compares their rows with the benchmark.
fn checked(benchmark: &Benchmark, predictions: &[PredictionFile]) -> Result<Checked> {
    let labels = benchmark.manifest().label_set();
    let mut problems = Problems::default();
    let files = predictions.iter().map(|file| read::read(file, &labels, &mut problems)).collect::<Result<Vec<_>>>()?;
    check(benchmark, &files, problems)
}

/// Refuses names that do not fit into a table or are those of mkgc's own methods.
///
/// # Errors
/// The message says what is wrong with the name.
pub fn check_name(name: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::Usage(format!("--name {name:?}: {reason}")));
    if name.trim() != name || name.is_empty() || name.contains(|c: char| c.is_control() || c == '|') {
        return bad("use one line of text without `|`, and no space at either end");
    }
    if let Some(own) = methods::names().find(|own| own.eq_ignore_ascii_case(name)) {
        return bad(&format!("`{own}` is a method of mkgc; choose another name, e.g. `{name} of my group`"));
    }
    Ok(())
}

fn file_record(path: &Path) -> Result<PredictionsRecord> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PredictionsRecord { name, sha256: sha256_file(path)? })
}
