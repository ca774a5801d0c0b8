//! Builds a benchmark from rows that a program makes in memory.
//!
//! ```sh
//! cargo run --example rows_in_memory
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use mkgc_builder::bio::Tags;
use mkgc_builder::build::{BuildOptions, CorpusSource, build};
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Words};

/// Makes a row without a picture; its place in the split is its number.
fn sentence(words: &[&str], tags: &[&str]) -> Result<Instance, String> {
    let annotation = Annotation::Entities(Tags::new(tags)?);
    Ok(Instance { row: 0, line: 0, id: None, tokens: words.iter().collect::<Words>(), image: None, annotation })
}

const PROTOCOL: &str = r#"
name = "greetings-2"
corpus = "greetings"
n_tasks = 2
"#;

fn main() -> anyhow::Result<()> {
    // Splits that hold the same rows would stop the build.
    let rows = |name: &str| -> Result<Vec<Instance>, String> {
        Ok(vec![
            sentence(&[name, "Lee", "met", "Bob", "."], &["B-PER", "I-PER", "O", "B-PER", "O"])?,
            sentence(&[name, "likes", "Rome", "."], &["B-PER", "O", "B-LOC", "O"])?,
        ])
    };
    let made = |name: &str| rows(name).map_err(anyhow::Error::msg);
    let corpus = Corpus::from_rows("greetings", Extraction::Entities, [made("Ann")?, made("Cid")?, made("Eve")?]);

    let folder = tempfile::tempdir()?;
    let protocol = folder.path().join("greetings-2.toml");
    fs_err::write(&protocol, PROTOCOL)?;
    let options = BuildOptions::new(protocol.to_string_lossy(), folder.path(), folder.path().join("built"));
    print!("{}", build(&BuildOptions { corpus: CorpusSource::Rows(Box::new(corpus)), ..options })?);
    Ok(())
}
