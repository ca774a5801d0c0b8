//! Reads the files of a corpus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{check_folder, decompressed, find_files};
use super::format::{Parsed, Parts, RawFile, Records};
use super::spec::CorpusSpec;
use super::types::{Instance, Split};
use crate::damage::{Damage, Damages};
use crate::error::{Error, Result};
use crate::files::{sha256_file, sha256_hex};
use crate::plain;
use crate::sources::{self, Source};

/// What to do with a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Stop with an error that names file and line.
    Fail,
    /// Leave the record out and list it in [`Corpus::skipped`].
    Skip,
}

/// A corpus file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFile {
    /// Path below the folder of the corpus.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub sha256: String,
    /// Bytes that the file has on disk, compressed or not.
    pub bytes: u64,
    /// Whether the file is as published; absent if no published file of this name is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
}

/// Counts of the records in the files of a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Number of records in the files, with the damaged ones.
    pub read: usize,
    /// Number of damaged records among them that were left out.
    pub skipped: usize,
}

/// A record left out under [`OnError::Skip`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Path of the corpus file below the corpus folder.
    pub file: String,
    /// Number of the line at fault, from 1.
    pub line: usize,
    /// The message that [`OnError::Fail`] would have stopped with.
    pub reason: String,
}

/// The files of a corpus, parsed.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// What is known of the corpus.
    pub spec: CorpusSpec,
    /// Every class that rows may have, in the order of the corpus's label ids.
    pub classes: Vec<String>,
    /// Training rows in file order.
    pub train: Vec<Instance>,
    /// Validation rows in file order.
    pub validation: Vec<Instance>,
    /// Test rows in file order.
    pub test: Vec<Instance>,
    /// What formats changed on the way and how often, as sentences that begin with the file.
    pub notes: Vec<String>,
    /// The files read, in the order of [`Split::ALL`].
    pub sources: Vec<SourceFile>,
    /// Records left out, in file order.
    pub skipped: Vec<Skipped>,
    /// Counts of the records in the files, in the order of [`Split::ALL`].
    pub records: [RecordCounts; 3],
    /// Classes whose records are all damaged and left out, as far as damaged records can be read.
    pub lost: Vec<String>,
}

impl Corpus {
    /// Returns the rows of one split.
    pub fn split(&self, split: Split) -> &[Instance] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// Returns the rows of one split, to be changed.
    pub fn split_mut(&mut self, split: Split) -> &mut Vec<Instance> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }

    /// Lists the classes that rows have: in the order of `declared`, then those that it lacks, sorted by name.
    pub(super) fn classes_in_use(&self, declared: &[String]) -> Vec<String> {
        let rows = Split::ALL.into_iter().flat_map(|split| self.split(split));
        let used: BTreeSet<&str> = rows.flat_map(|row| row.annotation.classes()).collect();
        let in_order = declared.iter().filter(|class| used.contains(class.as_str())).cloned();
        let rest = used.iter().filter(|class| !declared.iter().any(|known| known == *class));
        in_order.chain(rest.map(|class| (*class).to_owned())).collect()
    }

    /// Returns whether no row names a picture.
    pub fn text_only(&self) -> bool {
        Split::ALL.into_iter().flat_map(|split| self.split(split)).all(|row| row.image.is_none())
    }
}

/// Reads the files of a corpus from the folder `dir`.
///
/// # Errors
/// A file is missing, empty or, under [`OnError::Fail`], damaged; or the files are of another version of the corpus.
/// Messages name the files and the lines; the damages of all files are in one error.
pub fn read(spec: &CorpusSpec, dir: &Path, on_error: OnError) -> Result<Corpus> {
    check_folder(dir)?;
    let source = sources::find(&spec.name)?;
    let [train, validation, test] =
        Split::ALL.map(|split| find_files(dir, split, &spec.files[split as usize], source.as_ref()));
    let files = [train?, validation?, test?];
    let corpus = Corpus {
        spec: spec.clone(),
        classes: classes(spec, dir)?,
        train: Vec::new(),
        validation: Vec::new(),
        test: Vec::new(),
        notes: Vec::new(),
        sources: Vec::new(),
        skipped: Vec::new(),
        records: [RecordCounts::default(); 3],
        lost: Vec::new(),
    };
    let mut reader = Reader {
        dir,
        on_error,
        source,
        corpus,
        declared: Vec::new(),
        damages: Damages::default(),
        at_risk: BTreeSet::new(),
    };
    for split in Split::ALL {
        let rows = reader.read_split(split, &files[split as usize])?;
        *reader.corpus.split_mut(split) = rows;
    }
    reader.finish()
}

/// Reads the files of a corpus one after the other.
struct Reader<'a> {
    dir: &'a Path,
    on_error: OnError,
    /// What is known of the published files, if the corpus is a known one.
    source: Option<Source>,
    /// The corpus as far as it has been read.
    corpus: Corpus,
    /// The classes that the first file with such a list declares.
    declared: Vec<String>,
    /// What stops the reading in the end.
    damages: Damages,
    /// The classes that files with left-out records name.
    at_risk: BTreeSet<String>,
}

impl Reader<'_> {
    /// Reads the files of a split and joins them.
    fn read_split(&mut self, split: Split, files: &[PathBuf]) -> Result<Vec<Instance>> {
        let mut rows = Vec::new();
        for path in files {
            let name = path.strip_prefix(self.dir).unwrap_or(path).to_string_lossy().into_owned();
            let parsed = match self.parse(&name, path)? {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.add_damage(error, Damages::push)?;
                    continue;
                }
            };
            let first = self.corpus.records[split as usize].read;
            self.corpus.records[split as usize].read += parsed.records.len();
            if self.declared.is_empty() {
                self.declared = parsed.classes;
            }
            self.corpus.notes.extend(parsed.notes.into_iter().map(|note| format!("{name}: {note}")));
            if parsed.records.iter().any(Result::is_err) {
                let bytes = fs_err::read(path)?;
                let text = decompressed(path, &bytes)?;
                self.check_version(path, &text)?;
                self.note_classes(&text);
                self.at_risk.extend(parsed.damaged_classes);
            }
            let nothing = if parsed.records.is_empty() { "holds no record" } else { "holds no intact record" };
            let intact = self.keep_intact(parsed.records, &name, split)?;
            // Records that are damages already are not reported a second time.
            if intact.is_empty() && (self.on_error == OnError::Skip || nothing == "holds no record") {
                let first = self.corpus.skipped.iter().find(|skipped| skipped.file == name);
                let first = first.map_or_else(String::new, |first| format!("; line {}: {}", first.line, first.reason));
                let reason = format!("{nothing}; expected {split} rows of the corpus{first}");
                self.add_damage(Error::corpus(path, 1, reason), Damages::push)?;
            }
            if first == 0 {
                rows = intact;
            } else {
                rows.extend(intact.into_iter().map(|row| Instance { row: row.row + first, ..row }));
            }
        }
        Ok(rows)
    }

    /// Parses a file, in parts if its format can: its rows have copies of what they need, and a large file would take memory
    /// beside them.
    ///
    /// # Errors
    /// The file cannot be read, or changes meanwhile; the inner error is about its content.
    fn parse(&mut self, name: &str, path: &Path) -> Result<Result<Parsed>> {
        let none = self.corpus.spec.none.clone().unwrap_or_default();
        let format = Arc::clone(&self.corpus.spec.format);
        let file = |bytes| RawFile { path, bytes, classes: &self.corpus.classes, none: &none };
        if path.extension().is_none_or(|extension| extension != "gz") {
            let stamp = || Ok::<_, Error>(fs_err::metadata(path).map(|now| (now.len(), now.modified().ok()))?);
            let before = stamp()?;
            if let Some(parsed) = format.parse_parts(&file(&[]), Parts::open(path)?) {
                let sha256 = sha256_file(path)?;
                if stamp()? != before {
                    return Err(Error::dataset(path, "has changed while it was read; build again"));
                }
                self.add_source(name, sha256, before.0)?;
                return Ok(parsed);
            }
        }
        let bytes = fs_err::read(path)?;
        let parsed = format.parse(&file(&decompressed(path, &bytes)?));
        self.add_source(name, sha256_hex(&bytes), bytes.len() as u64)?;
        Ok(parsed)
    }

    /// Returns the corpus, or what is wrong with its files.
    fn finish(self) -> Result<Corpus> {
        let mut corpus = self.corpus;
        if self.damages.total() > 0 {
            return Err(self.damages.into());
        }
        let used = corpus.classes_in_use(&self.declared);
        corpus.lost = self.at_risk.into_iter().filter(|class| !used.contains(class)).collect();
        if corpus.classes.is_empty() {
            corpus.classes = used;
        }
        Ok(corpus)
    }

    fn add_source(&mut self, name: &str, sha256: String, bytes: u64) -> Result<()> {
        let file_name = name.rsplit('/').next().unwrap_or(name);
        let published = sources::is_published(&self.corpus.spec.name, file_name, &sha256)?;
        self.corpus.sources.push(SourceFile { name: name.to_owned(), sha256, bytes, published });
        Ok(())
    }

    /// Keeps a damage for the end of the reading.
    ///
    /// # Errors
    /// The error is not about the content of a corpus file, so reading stops.
    fn add_damage(&mut self, error: Error, push: fn(&mut Damages, Damage)) -> Result<()> {
        match error {
            Error::Corpus { file, line, reason } => {
                push(&mut self.damages, Damage { file, line, reason });
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Checks that a file with damaged records is not one of another version of the corpus.
    fn check_version(&self, path: &Path, text: &[u8]) -> Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        match source.others.iter().find_map(|other| Some((other, other.mark_in(text)?))) {
            Some((other, mark)) => {
                let reason =
                    format!("looks like {}, not {}: it contains `{mark}`; {}", other.title, source.title, other.remedy);
                Err(Error::dataset(path, reason))
            }
            None => Ok(()),
        }
    }

    /// Adds the classes whose names are in a file with damaged records to those that may be lost with them.
    fn note_classes(&mut self, text: &[u8]) {
        let classes = self.corpus.classes.iter().chain(&self.declared);
        let named: Vec<String> = classes.filter(|class| contains_word(text, class)).cloned().collect();
        self.at_risk.extend(named);
    }

    /// Returns the intact records of a file. The others are listed as skipped under [`OnError::Skip`], and as damages
    /// otherwise.
    fn keep_intact(&mut self, records: Records, file: &str, split: Split) -> Result<Vec<Instance>> {
        // The rows take the memory of the records: a million of them are not held twice.
        let intact = records.into_iter().filter_map(|record| match record {
            Ok(instance) => Some(Ok(instance)),
            Err(Error::Corpus { line, reason, .. }) if self.on_error == OnError::Skip => {
                self.corpus.skipped.push(Skipped { file: file.to_owned(), line, reason });
                self.corpus.records[split as usize].skipped += 1;
                None
            }
            Err(error) => self.add_damage(error, Damages::push_record).err().map(Err),
        });
        intact.collect()
    }
}

/// Returns whether a text contains a word that is not part of a longer one.
fn contains_word(text: &[u8], word: &str) -> bool {
    let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    memchr::memmem::find_iter(text, word.as_bytes())
        .any(|at| !inside(at.checked_sub(1).and_then(|before| text.get(before))) && !inside(text.get(at + word.len())))
}

/// Returns the classes of a corpus in the order of their ids: from the file of ids in `dir`, or as published if there is
/// none.
fn classes(spec: &CorpusSpec, dir: &Path) -> Result<Vec<String>> {
    let Some(path) = spec.class_ids.as_ref().map(|name| dir.join(name)) else { return Ok(spec.classes.clone()) };
    if !path.is_file() {
        let missing = || Error::dataset(&path, "no such file; it holds the ids of the classes");
        return if spec.classes.is_empty() { Err(missing()) } else { Ok(spec.classes.clone()) };
    }
    let misread = |misread: plain::Misread| {
        let reason = format!("{}; the file holds one JSON object of class names with their ids", misread.reason);
        Error::corpus(&path, misread.line.unwrap_or(1), reason)
    };
    let ids: serde_json::Map<String, serde_json::Value> = plain::json(&fs_err::read(&path)?).map_err(misread)?;
    let mut classes: Vec<(u64, String)> = Vec::with_capacity(ids.len());
    for (name, id) in ids {
        let id = id.as_u64().ok_or_else(|| Error::corpus(&path, 1, format!("id of `{name}` is not a whole number")))?;
        classes.push((id, name));
    }
    classes.sort();
    Ok(classes.into_iter().map(|(_, name)| name).filter(|name| Some(name) != spec.none.as_ref()).collect())
}
