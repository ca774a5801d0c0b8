//! Predictions for a tiny benchmark, and the files that they may come in.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::data::Benchmark;
use mkgc_harness::external::{PredictionFile, ScoreRequest, Scored, score};
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{self, PredictionRow};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::common::{Place, train};

/// Predictions for a benchmark of two tasks, and a folder for files of them.
pub struct Submission {
    pub place: Place,
    folder: tempfile::TempDir,
    pub labels: Vec<String>,
    /// By stage.
    rows: Vec<(usize, PredictionRow)>,
}

impl Submission {
    /// Trains a run in the folder `own` and takes its predictions.
    pub fn trained(kind: Extraction) -> (Self, RunResult) {
        let mut submission = Self::perfect(kind);
        let own = submission.path("own");
        let result = train(submission.place.request("emr", "epochs = 2", &own)).unwrap();
        let read = |stage| predictions::read(&RunFolder::new(&own).predictions(stage)).unwrap();
        submission.rows = (0..2).flat_map(|stage| read(stage).into_iter().map(move |row| (stage, row))).collect();
        (submission, result)
    }

    /// Predicts what is right, with the highest score for it.
    pub fn perfect(kind: Extraction) -> Self {
        let place = Place::new(kind);
        let benchmark = Benchmark::open(&place.built(), 24).unwrap();
        let labels = benchmark.manifest().labels.clone();
        let mut rows = Vec::new();
        for stage in 0..2 {
            let seen = benchmark.seen(stage);
            for row in benchmark.test_rows(stage).unwrap() {
                let gold = seen.gold(&row);
                let score = |label: usize| match seen.allowed[label] {
                    true if label == gold[0] as usize => 2.0,
                    true => 0.25 * label as f32,
                    false => f32::NEG_INFINITY,
                };
                let scores =
                    if kind == Extraction::Relations { (0..labels.len()).map(score).collect() } else { vec![] };
                let predicted = gold.clone();
                let stored =
                    PredictionRow { id: row.id, owner: row.owner_task, gold, predicted, scores, ..Default::default() };
                rows.push((stage, stored));
            }
        }
        Self { place, folder: tempfile::tempdir().unwrap(), labels, rows }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the rows of both stages.
    pub fn rows(&self) -> &[(usize, PredictionRow)] {
        &self.rows
    }

    pub fn names(&self, row: &PredictionRow) -> Vec<&str> {
        row.predicted.iter().map(|label| self.labels[*label as usize].as_str()).collect()
    }

    /// Returns the rows as JSON, with null for a score that is not finite.
    pub fn json(&self) -> Vec<Value> {
        let scores = |row: &PredictionRow| -> Vec<Option<f32>> {
            row.scores.iter().map(|score| score.is_finite().then_some(*score)).collect()
        };
        let line = |(stage, row): &(usize, PredictionRow)| {
            let names = self.names(row);
            let prediction = if self.place.kind() == Extraction::Relations { json!(names[0]) } else { json!(names) };
            json!({"stage": stage, "id": row.id, "prediction": prediction, "scores": scores(row)})
        };
        self.rows.iter().map(line).collect()
    }

    /// Writes a file and returns its path as an argument.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs_err::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    pub fn jsonl(&self, name: &str, lines: &[Value]) -> String {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.file(name, text)
    }

    /// Writes a CSV in which `prediction` and `scores` make the field of a row.
    pub fn csv_of(
        &self,
        name: &str,
        prediction: impl Fn(&[&str]) -> String,
        scores: impl Fn(&[f32]) -> String,
    ) -> String {
        let mut text = "stage,id,prediction,scores\n".to_owned();
        for (stage, row) in &self.rows {
            text += &format!("{stage},{},{},{}\n", row.id, prediction(&self.names(row)), scores(&row.scores));
        }
        self.file(name, text)
    }

    pub fn csv(&self, name: &str) -> String {
        let spaced = |scores: &[f32]| scores.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
        self.csv_of(name, |names| names.join(" "), spaced)
    }

    /// Writes the rows of a stage without their scores: relations as ids, tags as lists of names.
    pub fn parquet(&self, name: &str, stage: usize) -> String {
        let rows: Vec<&PredictionRow> = self.rows.iter().filter(|(own, _)| *own == stage).map(|(_, row)| row).collect();
        let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.id.as_str())).collect::<StringArray>());
        let prediction: ArrayRef = if self.place.kind() == Extraction::Relations {
            Arc::new(rows.iter().map(|row| Some(i64::from(row.predicted[0]))).collect::<Int64Array>())
        } else {
            let mut list = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|row| list.append_value(self.names(row).into_iter().map(Some)));
            Arc::new(list.finish())
        };
        self.parquet_of(name, vec![("id", ids), ("prediction", prediction)])
    }

    /// Writes columns as Python's writers do unless told otherwise.
    pub fn parquet_of(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> String {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), Some(snappy)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.file(name, bytes)
    }

    pub fn request(&self, predictions: &[String], out: &str) -> ScoreRequest {
        ScoreRequest {
            benchmark: self.place.built(),
            predictions: predictions.iter().map(|source| source.parse::<PredictionFile>().unwrap()).collect(),
            name: "My model".to_owned(),
            description: None,
            url: None,
            train_seed: 7,
            out: self.path(out),
        }
    }

    pub fn score(&self, file: &str, out: &str) -> Scored {
        score(&self.request(&[file.to_owned()], out)).unwrap()
    }

    /// Returns the predictions that were stored for both stages.
    pub fn stored(&self, out: &str) -> Vec<PredictionRow> {
        let folder = RunFolder::new(&self.path(out));
        (0..2).flat_map(|stage| predictions::read(&folder.predictions(stage)).unwrap()).collect()
    }

    /// Scores a file of the perfect predictions and checks that these are stored, and returns the warnings.
    pub fn check_perfect(&self, file: &str) -> Vec<String> {
        let out = format!("{}-scored", PathBuf::from(file).file_name().unwrap().display());
        let Scored { result, warnings } = self.score(file, &out);
        assert_eq!(self.stored(&out), self.rows.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(), "{file}");
        assert_eq!(result.stages[1].micro_f1.number(), Some(1.0), "{file}");
        warnings
    }

    /// Returns the message about files that cannot be scored.
    pub fn error_of(&self, files: &[String]) -> String {
        let error = score(&self.request(files, "wrong")).unwrap_err().to_string();
        assert!(!self.path("wrong").exists(), "nothing is written");
        for words in
            ["polars", "invalid type", "expected value", "EOF while", "Utf8", "ParseFloatError", "ParseIntError"]
        {
            assert!(!error.contains(words), "a library speaks: {error}");
        }
        error
    }

    pub fn error(&self, lines: &[Value]) -> String {
        self.error_of(&[self.jsonl("wrong.jsonl", lines)])
    }
}
