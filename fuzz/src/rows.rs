//! Parses corpus files and checks what every row must have.

use std::path::Path;

use mkgc_builder::corpus::format::{RawFile, from_table};
use mkgc_builder::corpus::{Annotation, Instance};

/// Parses a file of a format whose keys are one of `options`, chosen by the first byte if there are several.
pub fn parse(format: &str, options: &[&str], data: &[u8]) {
    let (way, bytes) = match options {
        [_] => (0, data),
        _ => match crate::choose(data, options.len()) {
            Some(chosen) => chosen,
            None => return,
        },
    };
    let choice = from_table(format, toml::from_str(options[way]).unwrap()).unwrap();
    let classes = ["PER", "/per/per/peer"].map(str::to_owned);
    for known in [&[][..], &classes] {
        let none = choice.none.unwrap_or("none");
        let file = RawFile { path: Path::new("a.txt"), bytes, classes: known, none };
        match choice.format.parse(&file) {
            Ok(parsed) => {
                parsed.records.iter().filter_map(|record| record.as_ref().ok()).for_each(check);
                parsed.records.iter().filter_map(|record| record.as_ref().err()).take(3).for_each(|error| {
                    assert!(error.to_string().starts_with("a.txt:"), "{error}");
                });
            }
            Err(error) => assert!(error.to_string().starts_with("a.txt"), "{error}"),
        }
    }
}

/// Checks that spans lie in the sentence and that there is a tag for each word.
fn check(row: &Instance) {
    let words = row.tokens.len();
    match &row.annotation {
        Annotation::Relation(relation) => {
            for mention in [&relation.head, &relation.tail] {
                assert!(mention.start < mention.end && mention.end <= words, "{mention:?} of {words} words");
            }
        }
        Annotation::Entities(tags) => assert_eq!(tags.len(), words),
    }
}
