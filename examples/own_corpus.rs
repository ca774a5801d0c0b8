//! Builds a benchmark from a corpus of one's own, without a change to the crates.
//!
//! The corpus has one sentence per line, in which `Ann/PER` marks an entity of one word.
//!
//! ```sh
//! cargo run --example own_corpus
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use mkgc_builder::bio::OUTSIDE;
use mkgc_builder::build::{BuildOptions, build};
use mkgc_builder::corpus::format::{RawFile, Records};
use mkgc_builder::corpus::{Annotation, CorpusReference, CorpusSpec, Extraction, Instance, PictureFolders};
use mkgc_builder::error::{Error, Result};

fn spec() -> CorpusSpec {
    CorpusSpec {
        name: "slashes".into(),
        about: "Sentences with entities of one word.".into(),
        task: Extraction::Entities,
        files: ["train.txt", "val.txt", "test.txt"].map(|name| vec![name.into()]),
        parse,
        classes: ["PER", "LOC"].map(str::to_owned).to_vec(),
        class_ids: None,
        none: OUTSIDE.into(),
        pictures: PictureFolders::default(),
        reference: CorpusReference {
            origin: "written for this example".into(),
            homepage: "https://example.org".into(),
            citation: "None.".into(),
            license: Some("CC0-1.0".into()),
        },
    }
}

fn parse(file: &RawFile<'_>) -> Records {
    let text = String::from_utf8_lossy(file.bytes);
    text.lines().enumerate().map(|(row, line)| sentence(file, row, line)).collect()
}

fn sentence(file: &RawFile<'_>, row: usize, text: &str) -> Result<Instance> {
    let mut tokens = Vec::new();
    let mut tags = Vec::new();
    for word in text.split_whitespace() {
        let (token, class) = word.split_once('/').map_or((word, None), |(token, class)| (token, Some(class)));
        if let Some(unknown) = class.filter(|class| !file.classes.iter().any(|known| known == class)) {
            return Err(Error::corpus(file.path, row + 1, format!("unknown entity type `{unknown}`")));
        }
        tokens.push(token.to_owned());
        tags.push(class.map_or_else(|| OUTSIDE.to_owned(), |class| format!("B-{class}")));
    }
    Ok(Instance { row, line: row + 1, tokens, image: format!("{row}.jpg"), annotation: Annotation::Entities { tags } })
}

const PROTOCOL: &str = r#"
name = "slashes-2"
corpus = "slashes"
priority = ["LOC", "PER"]
n_tasks = 2
"#;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for split in ["train", "val", "test"] {
        fs_err::write(folder.path().join(format!("{split}.txt")), "Ann/PER met Bob/PER .\nBob/PER likes Rome/LOC .\n")?;
    }
    let protocol = folder.path().join("slashes-2.toml");
    fs_err::write(&protocol, PROTOCOL)?;
    let options = BuildOptions::new(protocol.to_string_lossy(), folder.path(), folder.path().join("built"));
    print!("{}", build(&BuildOptions { corpus: Some(spec()), ..options })?);
    Ok(())
}
