//! Small raw corpora for tests, in temporary folders.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of this")]

use std::fs;
use std::path::{Path, PathBuf};

use mkgc_builder::build::{Allowed, BuildOptions, Stats};
use mkgc_builder::corpus::Mention;
use mkgc_builder::corpus::format::mnre::format_line;
use tempfile::TempDir;

/// A protocol of two tasks with a relation each.
pub const THREE_ROWS: &str = r#"
name = "small"
corpus = "mnre"

[[tasks]]
classes = ["/per/per/peer"]

[[tasks]]
classes = ["/per/org/member_of"]
"#;

/// A folder with a raw corpus and a protocol, and options to build it.
pub struct RawCorpus {
    pub dir: TempDir,
    pub options: BuildOptions,
}

impl RawCorpus {
    /// Stores the text of a protocol, and what `write` puts into the folder of the raw corpus.
    pub fn new(protocol: &str, write: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("raw");
        fs::create_dir(&raw).unwrap();
        write(&raw);
        let path = dir.path().join("small.toml");
        fs::write(&path, protocol).unwrap();
        let options = BuildOptions::new(path.to_string_lossy(), raw, dir.path().join("out"));
        Self { dir, options }
    }

    /// Returns the path of a file of the raw corpus.
    pub fn raw(&self, path: &str) -> PathBuf {
        self.options.raw.join(path)
    }

    /// Reads the text of a file of the benchmark.
    pub fn built(&self, path: &str) -> String {
        fs::read_to_string(self.options.out.join(path)).unwrap()
    }

    /// Reads the statistics of the benchmark.
    pub fn stats(&self) -> Stats {
        serde_json::from_str(&self.built("stats.json")).unwrap()
    }
}

/// Returns a line of an MNRE file: the sentence "Ann met Bob" with a picture and a relation.
pub fn mnre_line(image: &str, relation: &str) -> String {
    let mention = |name: &str, start| Mention { name: name.into(), start, end: start + 1 };
    let tokens = ["Ann", "met", "Bob"].map(str::to_owned);
    format_line(&tokens, &mention("Ann", 0), &mention("Bob", 2), image, relation) + "\n"
}

/// Writes a picture of one colour, and its folder if necessary.
pub fn write_picture(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(width, height, image::Rgb(colour)).save(path).unwrap();
}

/// Writes an MNRE corpus of three rows per split, `None` among them, that show one picture, and a protocol of two tasks.
pub fn three_rows() -> RawCorpus {
    let relations = ["/per/per/peer", "None", "/per/org/member_of"];
    let mut corpus = RawCorpus::new(THREE_ROWS, |raw| {
        for split in ["train", "val", "test"] {
            let rows = relations.map(|relation| mnre_line("x.png", relation));
            fs::write(raw.join(format!("mnre_{split}.txt")), rows.concat()).unwrap();
            write_picture(&raw.join(format!("img_org/{split}/x.png")), 4, 4, [9; 3]);
        }
    });
    // The splits have the same rows.
    corpus.options.allow = vec![Allowed::EqualSplits];
    corpus
}

/// Replaces a part of a text file, which must have it.
pub fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    let edited = text.replacen(from, to, 1);
    assert_ne!(text, edited, "{from} is not in {}", path.display());
    fs::write(path, edited).unwrap();
}
