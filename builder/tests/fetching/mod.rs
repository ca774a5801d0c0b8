//! What the tests of fetching share: a corpus of one file, a folder to fetch into, and a server.
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod server;

use std::fs;
use std::path::PathBuf;

use mkgc_builder::Result;
use mkgc_builder::fetch::{FetchOptions, Network, fetch};
use mkgc_builder::files::sha256_hex;
use mkgc_builder::sources::{PublishedFile, Source};
use tempfile::TempDir;

pub const SIZE: usize = 200_000;

/// Bytes that differ at each place, and from those of another seed.
pub fn content(seed: usize) -> Vec<u8> {
    (0..SIZE).map(|place| (((place + seed) * 2_654_435_761) >> 13) as u8).collect()
}

pub fn file(name: &str, bytes: &[u8], addresses: &[String]) -> PublishedFile {
    PublishedFile {
        name: name.into(),
        aliases: Vec::new(),
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
        addresses: addresses.to_vec(),
        made: None,
        optional: None,
        variants: Vec::new(),
    }
}

pub fn corpus(files: Vec<PublishedFile>) -> Source {
    Source {
        name: "news".into(),
        title: "News".into(),
        homepage: "https://news.invalid".into(),
        license: "MIT".into(),
        others: Vec::new(),
        elsewhere: vec!["the texts: https://archive.invalid".into()],
        by_hand: vec!["the pictures: https://drive.invalid".into()],
        files,
    }
}

/// A corpus of one file, `train.txt`, that is published at some addresses.
pub fn train(addresses: &[String]) -> Source {
    corpus(vec![file("train.txt", &content(0), addresses)])
}

/// A folder to fetch into.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn options(&self) -> FetchOptions {
        FetchOptions { network: Network::from_variables(|_| None), ..FetchOptions::new(self.0.path().into()) }
    }

    pub fn fetch(&self, source: &Source) -> Result<Vec<PathBuf>> {
        fetch(source, &self.options(), &|_| ())
    }

    /// Fetches from an address or a path instead.
    pub fn fetch_from(&self, source: &Source, from: &str) -> Result<Vec<PathBuf>> {
        fetch(source, &FetchOptions { from: Some(from.into()), ..self.options() }, &|_| ())
    }

    /// The message of a fetch that must fail.
    pub fn error(&self, source: &Source) -> String {
        self.fetch(source).unwrap_err().to_string()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[track_caller]
    pub fn assert_fetched(&self) {
        assert_eq!(self.names(), ["train.txt"]);
        assert!(fs::read(self.path("train.txt")).unwrap() == content(0));
    }
}

#[track_caller]
pub fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in:\n{message}");
    }
}
