//! Finds the saved model that a path means.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::model::is_model;
use crate::run::RunFolder;

/// Returns the folder of the model that `path` names: a run folder or a saved model itself. `stage` asks for the model in
/// `stages/k/model`; without it, that is `model/` of the run, else the model of its last stage.
///
/// # Errors
/// There is no such model; the message says how to keep one.
pub fn find_model(path: &Path, stage: Option<usize>) -> Result<PathBuf> {
    if is_model(path) && stage.is_none() {
        return Ok(path.to_owned());
    }
    let run = RunFolder::new(path);
    if !run.started() {
        let reason =
            "is neither a saved model nor a run folder; give a folder that `mkgc train --save-model --out` wrote";
        return Err(run.error(reason));
    }
    let stages = run.record()?.dataset.tasks.len();
    let kept: Vec<usize> = (0..stages).filter(|stage| is_model(&run.model_after(*stage))).collect();
    let found = match stage {
        Some(stage) => kept.contains(&stage).then(|| run.model_after(stage)),
        None if is_model(&run.model()) => Some(run.model()),
        None => kept.last().map(|stage| run.model_after(*stage)),
    };
    found.ok_or_else(|| {
        let kept = kept.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let what = match stage {
            Some(stage) if kept.is_empty() => format!("keeps no model of stage {stage}"),
            Some(stage) => format!("keeps no model of stage {stage}, only of {kept}"),
            None => "keeps no model".to_owned(),
        };
        let keep = if stage.is_some() { "--save-model=every" } else { "--save-model" };
        run.error(&format!("{what}; train it into another --out with {keep}"))
    })
}
