//! The corpora are reproducible, hold only known words, and carry the signal they promise.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Every file below `dir`, by relative path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn written(write: fn(&Path, u64) -> io::Result<()>, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), seed).unwrap();
    files(dir.path())
}

fn mnre_rows() -> Vec<mnre::SyntheticRow> {
    let streams = (0..).zip(&mnre::SPLITS);
    streams.flat_map(|(stream, &(split, n))| mnre::rows(split, n, &mut Dice::new(7, stream))).collect()
}

fn sentences() -> Vec<twitter2017::SyntheticSentence> {
    twitter2017::sentences("train", 250, &mut Dice::new(7, 16))
}

#[test]
fn a_seed_fixes_every_byte() {
    for write in [write_mnre, write_twitter2017] {
        let first = written(write, 1);
        assert_eq!(first, written(write, 1));
        let other = written(write, 2);
        assert!(first.keys().eq(other.keys()), "the same files");
        assert_ne!(first, other);
    }
}

#[test]
fn all_pictures_decode_and_none_is_missing() {
    let mnre = written(write_mnre, 3);
    let twitter = written(write_twitter2017, 3);
    let pictures: Vec<_> = mnre.iter().chain(&twitter).filter(|(path, _)| path.contains('/')).collect();
    assert_eq!(pictures.len(), 457 + 68 + 171 + 250 + 40 + 80);
    for (path, bytes) in pictures {
        let picture = image::load_from_memory(bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 32), "{path}");
    }
}

#[test]
fn every_word_is_in_the_vocabulary() {
    let vocabulary: BTreeSet<_> = words::all().into_iter().collect();
    let relation_words = mnre_rows().into_iter().flat_map(|row| row.tokens);
    let entity_words = sentences().into_iter().flat_map(|sentence| sentence.words).map(|(word, _)| word);
    for word in relation_words.chain(entity_words) {
        assert!(vocabulary.contains(word), "{word}");
    }
    assert!(vocabulary.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
}

#[test]
fn relations_have_their_rows_and_mentions_their_spans() {
    let mut counts = BTreeMap::new();
    for row in mnre_rows() {
        *counts.entry(row.relation).or_insert(0) += 1;
        assert!((8..=14).contains(&row.tokens.len()), "{row:?}");
        for mention in [&row.head, &row.tail] {
            assert_eq!(row.tokens[mention.start..mention.start + mention.words.len()], mention.words);
        }
    }
    assert_eq!(counts[&None], 137 + 20 + 51);
    assert!((0..8).all(|relation| counts[&Some(relation)] == 40 + 6 + 15));
}

#[test]
fn a_line_is_the_published_literal() {
    let row = mnre::SyntheticRow {
        tokens: vec!["anna", "smith", "joined", "acme"],
        head: mnre::MentionWords { words: vec!["anna", "smith"], start: 0 },
        tail: mnre::MentionWords { words: vec!["acme"], start: 3 },
        image: "x.png".to_owned(),
        relation: Some(0),
        scene: picture::Scene::mute(&mut Dice::new(0, 0)),
    };
    let expected = "{'token': ['anna', 'smith', 'joined', 'acme'], 'h': {'name': 'anna smith', 'pos': [0, 2]}, \
                    't': {'name': 'acme', 'pos': [3, 4]}, 'img_id': 'x.png', 'relation': '/per/org/member_of'}\n";
    assert_eq!(row.line(), expected);
}

#[test]
fn only_the_picture_tells_ambiguous_rows_apart() {
    let rows = mnre_rows();
    let ambiguous: Vec<_> = rows
        .iter()
        .filter(|row| {
            let shared = row.relation.map_or(&[][..], |relation| words::AMBIGUOUS[relation % 4]);
            row.tokens.iter().any(|token| shared.contains(token))
        })
        .collect();
    assert_eq!(ambiguous.len(), 8 * (8 + 1 + 3));
    for row in ambiguous {
        let relation = row.relation.unwrap();
        assert!(row.tokens.iter().all(|token| !words::TRIGGERS[relation].contains(token)), "{row:?}");
        assert_eq!(row.scene.colour, picture::COLOURS[relation]);
        assert_eq!(row.scene.pattern, picture::PATTERNS[relation % 4]);
    }
}

#[test]
fn later_types_come_with_people() {
    let mut with_person = 0;
    for sentence in sentences() {
        let tags: BTreeSet<&str> = sentence.words.iter().map(|(_, tag)| tag.as_str()).collect();
        let later = ["B-LOC", "B-ORG", "B-MISC"].iter().filter(|tag| tags.contains(*tag)).count();
        assert!(later <= 1, "{sentence:?}");
        with_person += usize::from(later == 1 && tags.contains("B-PER"));
        assert!((8..=14).contains(&sentence.words.len()), "{sentence:?}");
    }
    assert!((100..160).contains(&with_person), "{with_person} of about 180");
}
