//! Columns: the word is the first of each line, and further columns are not read. They stand between tabs if the line has
//! one, else between blanks. `IMGID:<name>` before the words names the picture `<name>.jpg`, as in the Twitter corpora, and
//! `-DOCSTART-` ends a sentence, as a blank line does.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::predict::{Place, Sentence};

/// Begins the line that names a sentence's picture.
const HEADER: &str = "IMGID:";
/// Begins a line between documents.
const DOCUMENT: &str = "-DOCSTART-";

pub(super) fn read(file: &Path, text: &str) -> Result<Vec<Sentence>> {
    let mut sentences = Vec::new();
    let mut open: Option<Sentence> = None;
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() || content.starts_with(DOCUMENT) {
            sentences.extend(open.take());
            continue;
        }
        let place = Place { file: file.to_owned(), line };
        let start =
            || Sentence { id: line.to_string(), place: place.clone(), tokens: Vec::new(), mentions: None, image: None };
        let sentence = open.get_or_insert_with(start);
        match content.strip_prefix(HEADER) {
            Some(name) if sentence.tokens.is_empty() && sentence.image.is_none() => {
                sentence.image = Some(PathBuf::from(format!("{}.jpg", name.trim())));
            }
            Some(_) => return Err(place.error("`IMGID:` inside a sentence; end the one before with a blank line")),
            None => {
                let empty = || place.error("the first column, the word, is empty");
                sentence.tokens.push(word(content).ok_or_else(empty)?);
            }
        }
    }
    sentences.extend(open);
    Ok(sentences)
}

/// Returns the word of a line; none if its column is empty.
fn word(line: &str) -> Option<String> {
    let first =
        if line.contains('\t') { line.split('\t').next() } else { line.split(' ').find(|part| !part.is_empty()) };
    first.filter(|word| !word.is_empty()).map(str::to_owned)
}
