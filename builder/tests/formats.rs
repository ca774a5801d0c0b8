//! Files of columns read back what was written, whatever their scheme and layout. The real corpora, which are read from
//! `MKGC_DATA`, have the rows that they are known to have.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use mkgc_builder::bio::Tags;
use mkgc_builder::corpus::Annotation;
use mkgc_builder::corpus::format::{Parsed, Parts, RawFile, from_table};
use proptest::prelude::*;

fn parse(format: &str, options: &str, path: &Path, bytes: &[u8]) -> Parsed {
    let choice = from_table(format, toml::from_str(options).unwrap()).unwrap();
    choice.format.parse(&RawFile { path, bytes, classes: &[], none: choice.none.unwrap_or("none") }).unwrap()
}

/// A large file is read in parts, in which an array and blank lines must not get lost.
#[test]
fn parts_of_a_file_give_the_same_rows_as_its_bytes() {
    let spans = r#""subj_start": 0, "subj_end": 0, "obj_start": 1, "obj_end": 1"#;
    let line = format!("{{\"id\": \"e7\", \"token\": [\"a\", \"b\"], {spans}, \"relation\": \"r\"}}");
    let keys =
        "head = ['subj_start', 'subj_end']\ntail = ['obj_start', 'obj_end']\ntokens = 'token'\nspan_end = 'inclusive'";
    let mnre = "{'token': ['a', 'b'], 'h': {'name': 'a', 'pos': [0, 1]}, 't': {'name': 'b', 'pos': [1, 2]}, \
                'img_id': 'x.jpg', 'relation': 'r'}";
    let array = format!("[{line},\n{line}]\n");
    for (format, options, text) in [
        ("tacred", "", array.clone()),
        ("tacred", "", format!("{line}\n\n{line}")),
        ("jsonl-relations", keys, format!("\u{feff}{array}")),
        ("jsonl-relations", keys, format!("{line}\r\n{line}\r\n\n")),
        ("mnre", "", format!("{mnre}\n\n{mnre}\n \n")),
        ("mnre", "", "\n".to_owned()),
    ] {
        let choice = from_table(format, toml::from_str(options).unwrap()).unwrap();
        let file = |bytes| RawFile { path: Path::new("a"), bytes, classes: &[], none: "none" };
        let whole = choice.format.parse(&file(text.as_bytes())).unwrap();
        let parts = choice.format.parse_parts(&file(&[]), Parts::of(text.as_bytes())).unwrap().unwrap();
        assert_eq!(format!("{:?}", parts.records), format!("{:?}", whole.records), "{format}");
        assert_eq!(whole.records.iter().flatten().count(), if text == "\n" { 0 } else { 2 }, "{format}");
    }
}

/// A stretch of words with one entity type, or with none.
#[derive(Debug, Clone)]
struct Stretch {
    class: Option<&'static str>,
    words: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bio,
    Iob1,
    Bioes,
    Bilou,
    Io,
    Bare,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Bio => "bio",
            Self::Iob1 => "iob1",
            Self::Bioes => "bioes",
            Self::Bilou => "bilou",
            Self::Io | Self::Bare => "io",
        }
    }

    /// Returns the tag of word `i` of a stretch; `touches` says that the stretch before has the same type.
    fn tag(self, stretch: &Stretch, i: usize, touches: bool) -> String {
        let Some(class) = stretch.class else { return "O".to_owned() };
        let first = i == 0;
        let last = i + 1 == stretch.words;
        let prefix = match (self, first, last) {
            (Self::Bare, ..) => return class.to_owned(),
            (Self::Bioes, true, true) => "S",
            (Self::Bilou, true, true) => "U",
            (Self::Bioes, false, true) => "E",
            (Self::Bilou, false, true) => "L",
            (Self::Bio | Self::Bioes | Self::Bilou, true, _) => "B",
            (Self::Iob1, true, _) if touches => "B",
            _ => "I",
        };
        format!("{prefix}-{class}")
    }
}

/// Returns the tags of a sentence. In schemes that cannot tell neighbours of one type apart, they are one entity.
fn tags(sentence: &[Stretch], scheme: Scheme) -> Vec<String> {
    let touches = |k: usize| k > 0 && sentence[k - 1].class == sentence[k].class;
    let stretch = |(k, stretch): (usize, &Stretch)| {
        (0..stretch.words).map(|i| scheme.tag(stretch, i, touches(k))).collect::<Vec<_>>()
    };
    sentence.iter().enumerate().flat_map(stretch).collect()
}

fn joined(sentence: &[Stretch]) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::new();
    for stretch in sentence {
        match joined.last_mut().filter(|last| last.class == stretch.class) {
            Some(last) => last.words += stretch.words,
            None => joined.push(stretch.clone()),
        }
    }
    joined
}

/// How a file is written.
#[derive(Debug, Clone)]
struct Style {
    scheme: Scheme,
    columns: usize,
    token: usize,
    tag: usize,
    separator: &'static str,
    ending: &'static str,
    mark: bool,
    comments: bool,
    pictures: bool,
    stated: bool,
}

fn style() -> impl Strategy<Value = Style> {
    let scheme =
        prop::sample::select(vec![Scheme::Bio, Scheme::Iob1, Scheme::Bioes, Scheme::Bilou, Scheme::Io, Scheme::Bare]);
    let columns = (2..6_usize).prop_flat_map(|n| (Just(n), 0..n, 1..n));
    let separator = prop::sample::select(vec!["\t", " ", "   "]);
    let flags = prop::array::uniform5(any::<bool>());
    (scheme, columns, separator, flags).prop_map(|(scheme, (columns, token, step), separator, flags)| {
        let [crlf, mark, comments, pictures, stated] = flags;
        let tag = (token + step) % columns;
        let ending = if crlf { "\r\n" } else { "\n" };
        Style { scheme, columns, token, tag, separator, ending, mark, comments, pictures, stated }
    })
}

fn sentences() -> impl Strategy<Value = Vec<Vec<Stretch>>> {
    let class = prop::sample::select(vec![None, Some("PER"), Some("geo-loc")]);
    let stretch = (class, 1..4_usize).prop_map(|(class, words)| Stretch { class, words });
    prop::collection::vec(prop::collection::vec(stretch, 1..6), 1..6)
}

/// Words that could be taken for something else.
const WORDS: [&str; 7] = ["Ann", "#", "O", "B-PER", "it's", "😀", "-"];

fn words(tags: &[String]) -> Vec<&'static str> {
    (0..tags.len()).map(|i| WORDS[i % WORDS.len()]).collect()
}

fn written(sentences: &[Vec<Stretch>], style: &Style) -> String {
    let mut lines = Vec::new();
    for (number, sentence) in sentences.iter().enumerate() {
        if style.comments {
            lines.push(format!("# sentence {number} of this file, with more columns than any word"));
        }
        if style.pictures {
            lines.push(format!("IMGID:{number}"));
        }
        let tags = tags(sentence, style.scheme);
        for (word, tag) in words(&tags).into_iter().zip(&tags) {
            let mut columns = vec!["_"; style.columns];
            columns[style.token] = word;
            columns[style.tag] = tag;
            lines.push(columns.join(style.separator));
        }
        lines.push(String::new());
    }
    let mark = if style.mark { "\u{feff}" } else { "" };
    mark.to_owned() + &lines.into_iter().map(|line| line + style.ending).collect::<String>()
}

proptest! {
    #[test]
    fn columns_read_back_what_was_written(sentences in sentences(), style in style()) {
        let text = written(&sentences, &style);
        let mut options = format!("token_column = {}\ntag_column = {}\n", style.token, style.tag as i64 - style.columns as i64);
        if style.comments {
            options += "comment = '# '\n";
        }
        // In a file without an entity, nothing shows the scheme, and nothing depends on it.
        if style.stated {
            options += &format!("scheme = '{}'\n", style.scheme.name());
        }
        let parsed = parse("conll", &options, Path::new("a.conll"), text.as_bytes());
        prop_assert_eq!(parsed.records.len(), sentences.len());
        for (number, (row, sentence)) in parsed.records.into_iter().zip(&sentences).enumerate() {
            let row = row.unwrap();
            let one = matches!(style.scheme, Scheme::Io | Scheme::Bare);
            let expected = if one { tags(&joined(sentence), Scheme::Bio) } else { tags(sentence, Scheme::Bio) };
            prop_assert_eq!(row.row, number);
            prop_assert_eq!(row.tokens.to_vec(), words(&expected));
            prop_assert_eq!(row.annotation, Annotation::Entities(Tags::new(expected).unwrap()));
            prop_assert_eq!(row.image.map(String::from), style.pictures.then(|| format!("{number}.jpg")));
        }
    }
}

fn data(path: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("MKGC_DATA") else {
        // Not eprintln!, whose output a passing test hides.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: MKGC_DATA, the folder with twitter2015/ and fewrel/, is not set").unwrap();
        return None;
    };
    let path = PathBuf::from(root).join(path);
    assert!(path.is_file(), "MKGC_DATA is set, but {} is not a file", path.display());
    Some(path)
}

fn parse_file(format: &str, path: &Path) -> Parsed {
    parse(format, "", path, &std::fs::read(path).unwrap())
}

#[test]
fn twitter2015_is_the_same_as_columns_and_as_tweets() {
    // Counted with a program of its own: tags `I-T` whose word before has another type, or none.
    for (file, sentences, apart) in [("train.txt", 4000, 186), ("valid.txt", 1000, 53), ("test.txt", 3257, 135)] {
        let Some(path) = data(&format!("twitter2015/{file}")) else { return };
        let rows = |format: &str| -> Vec<_> {
            let parsed = parse_file(format, &path);
            let note = format!("{apart} tags `I-` that continue no entity were read as the first word of one");
            assert_eq!(parsed.notes, [note]);
            parsed.records.into_iter().map(Result::unwrap).collect()
        };
        let tweets = rows("twitter");
        assert_eq!(tweets.len(), sentences, "{file}");
        assert_eq!(tweets, rows("conll"));
    }
}

#[test]
fn fewrel_has_80_relations_of_equal_size() {
    for (file, each) in [("train", 420), ("val", 140), ("test", 140)] {
        let Some(path) = data(&format!("fewrel/fewrel_{file}.json")) else { return };
        let parsed = parse_file("fewrel", &path);
        assert_eq!(parsed.classes.len(), 80);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in parsed.records {
            let Annotation::Relation(relation) = row.unwrap().annotation else { panic!() };
            *counts.entry(relation.relation.as_deref().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(counts.len(), 80);
        assert!(counts.values().all(|count| *count == each), "{counts:?}");
    }
}

#[test]
fn the_official_file_of_fewrel_is_read() {
    let Some(path) = data("fewrel/val_wiki.json") else { return };
    let parsed = parse_file("fewrel", &path);
    assert_eq!(parsed.classes.len(), 16);
    assert_eq!(parsed.records.len(), 16 * 700);
    assert!(parsed.records.iter().all(Result::is_ok));
}

#[test]
fn every_row_of_mnre_is_intact() {
    for (file, rows) in [("mnre_train.txt", 12_247), ("mnre_val .txt", 1_624), ("mnre_test.txt", 1_614)] {
        let Some(path) = data(&format!("mnre/{file}")) else { return };
        let records = parse_file("mnre", &path).records;
        assert_eq!(records.len(), rows);
        assert!(records.iter().all(Result::is_ok));
    }
}
