//! Plain text: a sentence per line, its words between blanks. Lines of blanks are passed over.

use std::path::Path;

use crate::predict::{Place, Sentence};

pub(super) fn read(file: &Path, text: &str) -> Vec<Sentence> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let sentence = |(line, words): (usize, &str)| Sentence {
        id: line.to_string(),
        place: Place { file: file.to_owned(), line },
        tokens: words.split_whitespace().map(str::to_owned).collect(),
        mentions: None,
        image: None,
    };
    lines.map(sentence).collect()
}
