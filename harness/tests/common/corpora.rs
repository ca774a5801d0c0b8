//! A raw corpus in a folder of its own, and the command run there.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A folder with a raw corpus of two relations and a protocol for it.
pub struct Corpora(TempDir);

/// Rows of a split.
pub fn rows(split: &str, n: usize) -> String {
    let row = |i: usize| {
        let relation = ["/per/per/peer", "None", "/per/org/member_of"][i % 3];
        format!(
            "{{'token': ['Ann', 'met', 'Bob', '{split}'], 'h': {{'name': 'Ann', 'pos': [0, 1]}}, \
             't': {{'name': 'Bob', 'pos': [2, 3]}}, 'img_id': 'x.jpg', 'relation': '{relation}'}}\n"
        )
    };
    (0..n).map(row).collect()
}

impl Corpora {
    /// Writes the corpus and `small.toml`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self(dir);
        for split in ["train", "val", "test"] {
            fs_err::write(place.path(&format!("mnre_{split}.txt")), rows(split, 12)).unwrap();
        }
        let tasks = "name = \"small\"\ncorpus = \"mnre\"\n[[tasks]]\nclasses = [\"/per/per/peer\"]\n[[tasks]]\nclasses = [\"/per/org/member_of\"]\n";
        fs_err::write(place.path("small.toml"), tasks).unwrap();
        place
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Prepares `mkgc` to run here.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
        command.env("HF_HUB_OFFLINE", "1").env("MKGC_CACHE", self.path("cache")).current_dir(self.0.path());
        command.args(line.split_whitespace());
        command
    }

    /// Runs `mkgc` here; exit code, stdout, stderr.
    pub fn mkgc(&self, line: &str) -> (i32, String, String) {
        let output = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Runs a line that must succeed, and returns what it prints.
    pub fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.mkgc(line);
        assert_eq!(code, 0, "{line}: {err}");
        out
    }

    /// The error of a line that must fail with exit code 2 and print nothing to stdout.
    pub fn error(&self, line: &str) -> String {
        let (code, out, err) = self.mkgc(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}: {err}");
        err
    }

    /// Builds the benchmark.
    pub fn build(&self) -> PathBuf {
        self.ok("build small.toml --raw . --out data");
        self.path("data")
    }
}
