//! A file of predictions as the command names it.

use std::path::PathBuf;
use std::str::FromStr;

/// A file of predictions and the stage that it is given as: `FILE` or `STAGE=FILE` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionFile {
    /// 0-based stage of all rows; `None` if each row names its own.
    pub stage: Option<usize>,
    /// Path of the file: Parquet, JSON lines or CSV.
    pub path: PathBuf,
}

impl PredictionFile {
    /// Returns the path as messages show it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl FromStr for PredictionFile {
    type Err = String;

    /// Parses `FILE` or `STAGE=FILE`.
    ///
    /// # Errors
    /// What stands before `=` is a number but not the number of a stage.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((stage, path)) = text.split_once('=') else { return Ok(Self { stage: None, path: text.into() }) };
        match stage.parse() {
            Ok(stage) => Ok(Self { stage: Some(stage), path: path.into() }),
            Err(_) if stage.parse::<f64>().is_ok() => Err(format!(
                "stages are whole numbers from 0, which `{stage}` is not; write ./{text} if this is the name of a file"
            )),
            Err(_) => Ok(Self { stage: None, path: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_before_the_file_is_a_whole_number() {
        let file = |stage, path: &str| Ok(PredictionFile { stage, path: path.into() });
        assert_eq!("a.csv".parse(), file(None, "a.csv"));
        assert_eq!("3=a.csv".parse(), file(Some(3), "a.csv"));
        assert_eq!("0=k=3.csv".parse(), file(Some(0), "k=3.csv"));
        assert_eq!("k=3.csv".parse(), file(None, "k=3.csv"));
        assert_eq!("./1.5=a.csv".parse(), file(None, "./1.5=a.csv"));
        for wrong in ["0.7=a.csv", "-1=a.csv", "1.0=a.csv", "nan=a.csv"] {
            let error = wrong.parse::<PredictionFile>().map_err(|error| error.contains("whole numbers from 0"));
            assert_eq!(error, Err(true), "{wrong}");
        }
    }
}
