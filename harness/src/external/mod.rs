//! `mkgc score`: turns the predictions of any program into a run folder that can be compared with mkgc's own runs. Gold
//! labels come from the benchmark folder, never from the file, and the scores from the same function as those of any run.

mod check;
mod read;

pub use read::PredictionFile;

use std::path::{Path, PathBuf};

use mkgc_builder::files::{install_folder, parent_folder, sha256_file};
use mkgc_builder::verify::verify;

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
    /// Files of predictions.
    pub predictions: Vec<PredictionFile>,
    /// Name of the model in reports.
    pub name: String,
    /// Description of the model.
    pub description: Option<String>,
    /// Address of a page about the model.
    pub url: Option<String>,
    /// Seed that the model was trained with. Reports average runs of several seeds and give an interval.
    pub train_seed: u64,
    /// Run folder to create.
    pub out: PathBuf,
}

/// Checks the predictions, writes the run folder and returns its result. Nothing is written if a prediction is wrong.
pub fn score(request: &ScoreRequest) -> Result<RunResult> {
    check_name(&request.name)?;
    if request.out.exists() {
        return Err(RunFolder::new(&request.out).error("exists already; choose another --out, or delete the folder"));
    }
    intact(&request.benchmark)?;
    let benchmark = Benchmark::open(&request.benchmark, 128)?;
    let mut files = Vec::new();
    let mut records = Vec::new();
    for file in &request.predictions {
        records.push(file_record(&file.path)?);
        files.push((file.path.display().to_string(), read::read(file, benchmark.kind())?));
    }
    let stages = check::check(&benchmark, &files)?;
    let external =
        ExternalRecord { description: request.description.clone(), url: request.url.clone(), predictions: records };
    let record = RunRecord::external(benchmark.manifest(), &request.name, request.train_seed, external);

    fs_err::create_dir_all(parent_folder(&request.out))?;
    let temporary = tempfile::Builder::new().prefix(".mkgc-score-").tempdir_in(parent_folder(&request.out))?;
    let folder = RunFolder::new(temporary.path());
    write_json(&temporary.path().join("run.json"), &record)?;
    for (stage, rows) in stages.iter().enumerate() {
        if let Some(rows) = rows {
            predictions::write(&folder.predictions(stage), rows)?;
        }
    }
    let result = score_run(&folder)?;
    write_json(&folder.result(), &result)?;
    install_folder(temporary, &request.out)?;
    Ok(result)
}

/// Refuses names that do not fit into a table or are those of mkgc's own methods.
fn check_name(name: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::Usage(format!("--name {name:?}: {reason}")));
    if name.trim() != name || name.is_empty() || name.contains(|c: char| c.is_control() || c == '|') {
        return bad("use one line of text without `|`, and no space at either end");
    }
    if let Some(own) = methods::names().find(|own| own.eq_ignore_ascii_case(name)) {
        return bad(&format!("`{own}` is a method of mkgc; choose another name, e.g. `{name} of my group`"));
    }
    Ok(())
}

/// Checks the benchmark folder against its manifest.
fn intact(benchmark: &Path) -> Result<()> {
    let checks = verify(benchmark)?;
    let problems: Vec<String> =
        checks.iter().filter_map(|file| Some(format!("{}: {}", file.path, file.problem.as_ref()?))).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let reason = "does not match its manifest; build it again, so that the gold labels can be trusted";
    Err(Error::Usage(format!("{} {reason}\n  {}", benchmark.display(), problems.join("\n  "))))
}

fn file_record(path: &Path) -> Result<PredictionsRecord> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PredictionsRecord { name, sha256: sha256_file(path)? })
}
