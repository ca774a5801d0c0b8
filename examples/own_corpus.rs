//! Builds a benchmark from a corpus of one's own, without a change to the crates.
//!
//! The corpus has one sentence per line, in which `Ann/PER` marks an entity of one word.
//!
//! ```sh
//! cargo run --example own_corpus
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;

use mkgc_builder::bio::{OUTSIDE, Tags};
use mkgc_builder::build::{BuildOptions, CorpusSource, build};
use mkgc_builder::corpus::format::{Format, Parsed, RawFile, Records};
use mkgc_builder::corpus::{Annotation, CorpusReference, CorpusSpec, Extraction, Instance, PictureFolders, SplitFiles};
use mkgc_builder::error::{Error, Result};

fn spec() -> CorpusSpec {
    CorpusSpec {
        name: "slashes".into(),
        about: "Sentences with entities of one word.".into(),
        task: Extraction::Entities,
        files: ["train.txt", "val.txt", "test.txt"].map(|name| SplitFiles::All(vec![name.into()])),
        format: Arc::new(Slashes),
        classes: ["PER", "LOC"].map(str::to_owned).to_vec(),
        class_ids: None,
        none: Some(OUTSIDE.into()),
        pictures: PictureFolders::default(),
        reference: CorpusReference {
            origin: "written for this example".into(),
            homepage: "https://example.org".into(),
            citation: "None.".into(),
            license: Some("CC0-1.0".into()),
            language: "en".into(),
            version: None,
            published: None,
        },
    }
}

#[derive(Debug)]
struct Slashes;

impl Format for Slashes {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        let text = String::from_utf8_lossy(file.bytes);
        let records: Records = text.lines().enumerate().map(|(row, line)| sentence(file, row, line)).collect();
        Ok(records.into())
    }
}

fn sentence(file: &RawFile<'_>, row: usize, text: &str) -> Result<Instance> {
    let mut tokens = Vec::new();
    let mut tags = Vec::new();
    for word in text.split_whitespace() {
        let (token, class) = word.split_once('/').map_or((word, None), |(token, class)| (token, Some(class)));
        if let Some(unknown) = class.filter(|class| !file.accepts(class)) {
            return Err(Error::corpus(file.path, row + 1, format!("unknown entity type `{unknown}`")));
        }
        tokens.push(token.to_owned());
        tags.push(class.map_or_else(|| OUTSIDE.to_owned(), |class| format!("B-{class}")));
    }
    let tags = Tags::new(tags).map_err(|reason| Error::corpus(file.path, row + 1, reason))?;
    let annotation = Annotation::Entities(tags);
    Ok(Instance { id: None, row, line: row + 1, tokens: tokens.into(), image: None, annotation })
}

const PROTOCOL: &str = r#"
name = "slashes-2"
corpus = "slashes"
priority = ["LOC", "PER"]
n_tasks = 2
"#;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (split, name) in [("train", "Ann"), ("val", "Cid"), ("test", "Eve")] {
        let text = format!("{name}/PER met Bob/PER .\n{name}/PER likes Rome/LOC .\n");
        fs_err::write(folder.path().join(format!("{split}.txt")), text)?;
    }
    let protocol = folder.path().join("slashes-2.toml");
    fs_err::write(&protocol, PROTOCOL)?;
    let options = BuildOptions::new(protocol.to_string_lossy(), folder.path(), folder.path().join("built"));
    print!("{}", build(&BuildOptions { corpus: CorpusSource::Files(Box::new(spec())), ..options })?);
    Ok(())
}
