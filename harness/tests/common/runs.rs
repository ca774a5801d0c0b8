//! Finished runs with made-up predictions, for reports.

use std::path::PathBuf;

use mkgc_harness::error::Result;
use mkgc_harness::metrics::score::score_run;
use mkgc_harness::report;
use mkgc_harness::report::board::{Board, Entry};
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{self, PredictionRow};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of runs on 200 rows, two tasks of one relation each.
pub struct Runs(TempDir);

/// Rows of each test.
pub const ROWS: usize = 200;

impl Runs {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A finished run that is right on all rows but every `wrong`th of the last test; `change` edits its run.json.
    pub fn run(&self, name: &str, method: &str, seed: u64, wrong: usize, change: impl Fn(&mut Value)) -> PathBuf {
        self.predicted(name, method, seed, |stage| (0..ROWS).map(|index| row(stage, index, wrong)).collect(), change)
    }

    /// A finished run with the predictions that `rows` makes of a stage; `change` edits its run.json.
    pub fn predicted(
        &self,
        name: &str,
        method: &str,
        seed: u64,
        rows: impl Fn(usize) -> Vec<PredictionRow>,
        change: impl Fn(&mut Value),
    ) -> PathBuf {
        let folder = RunFolder::new(&self.path(name));
        let fixture = include_str!("../fixtures/run-version-4.json");
        let mut record: Value = serde_json::from_str(fixture).unwrap();
        record["method"] = method.into();
        record["config"]["train_seed"] = seed.into();
        record["dataset"]["task"] = "re".into();
        record["dataset"]["labels"] = json!(["None", "a", "b"]);
        record["dataset"]["tasks"] = json!([{"name": "a", "classes": ["a"]}, {"name": "b", "classes": ["b"]}]);
        change(&mut record);
        fs_err::create_dir_all(folder.dir()).unwrap();
        fs_err::write(folder.dir().join("run.json"), record.to_string()).unwrap();
        for stage in 0..2 {
            predictions::write(&folder.predictions(stage), &rows(stage)).unwrap();
        }
        // Of damaged predictions there is no result.
        let result = score_run(&folder).map_or_else(|_| "{}".to_owned(), |result| json!(result).to_string());
        fs_err::write(folder.result(), result).unwrap();
        folder.dir().to_owned()
    }

    pub fn plain(&self, name: &str, method: &str, seed: u64, wrong: usize) -> PathBuf {
        self.run(name, method, seed, wrong, |_| ())
    }

    pub fn boards(&self) -> Result<Vec<Board>> {
        report::boards(report::load(&[self.0.path()])?)
    }

    pub fn board(&self) -> Board {
        self.boards().unwrap().remove(0)
    }
}

/// A row of the last test is of either relation in turn, and every `wrong`th is predicted as the other.
pub fn row(stage: usize, index: usize, wrong: usize) -> PredictionRow {
    let gold = if stage == 0 { 1 } else { 1 + (index % 2) as u32 };
    let predicted = if stage == 1 && index.is_multiple_of(wrong) { 3 - gold } else { gold };
    let (id, owner) = (index.to_string(), Some(gold as usize - 1));
    PredictionRow { id, owner, gold: vec![gold], predicted: vec![predicted], ..PredictionRow::default() }
}

/// The entry of a label, ranked or not.
pub fn entry<'a>(board: &'a Board, label: &str) -> &'a Entry {
    board.all().find(|entry| entry.label == label).unwrap()
}
