//! Inputs that took a parser down, or would have taken hours or all memory: each is an error, or is read.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;
use mkgc_builder::corpus::format::{Parsed, RawFile, from_table};
use mkgc_builder::corpus::{OnError, read};
use mkgc_builder::protocol::Protocol;
use parquet::arrow::ArrowWriter;

fn parse(format: &str, options: &str, bytes: &[u8]) -> mkgc_builder::Result<Parsed> {
    let choice = from_table(format, toml::from_str(options).unwrap()).unwrap();
    choice.format.parse(&RawFile { path: Path::new("a"), bytes, classes: &[], none: "none" })
}

/// Finding each word of the mention from the start would take hours.
#[test]
fn a_mention_may_have_any_number_of_words() {
    let words = 1_000_000;
    let tokens = vec!["\"x\""; words].join(",");
    let record = format!(r#"{{"tokens": [{tokens}], "head": [0, {words}], "tail": [1, {words}], "relation": "r"}}"#);
    let parsed = parse("jsonl-relations", "span_end = 'exclusive'", record.as_bytes()).unwrap();
    let row = parsed.records[0].as_ref().unwrap();
    assert_eq!(row.annotation.relation().unwrap().tail.name.len(), 2 * (words - 1) - 1);
}

/// Comparing each key with all before it would take minutes.
#[test]
fn a_record_may_have_any_number_of_keys() {
    let keys: Vec<String> = (0..300_000).map(|key| format!("\"{key}\": 0")).collect();
    let few = "missing key `tokens`; the record has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 299990 more";
    for (format, options, wrong) in
        [("jsonl-relations", "span_end = 'exclusive'", few), ("mnre", "", "unknown key `0`")]
    {
        for (last, message) in [("", wrong), (", \"7\": 1", "key `7` is given twice")] {
            let record = format!("{{{}{last}}}", keys.join(", "));
            let error = parse(format, options, record.as_bytes()).unwrap().records.remove(0).unwrap_err().to_string();
            assert!(error.starts_with("a:1: ") && error.contains(message), "{error}");
        }
    }
}

/// A few kilobytes of gzip can hold gigabytes.
#[test]
fn a_compressed_file_that_would_fill_the_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let protocol = "name = 'p'\nn_tasks = 1\n[corpus]\nname = 'c'\nformat = 'conll'\ntrain = 'a.gz'\n";
    let spec = Protocol::parse(protocol).unwrap().corpus.spec().unwrap();
    let read = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        fs_err::write(folder.path().join("a.gz"), encoder.finish().unwrap()).unwrap();
        read(&spec, folder.path(), OnError::Fail)
    };
    assert_eq!(read(&b"Ann B-PER\n\n".repeat(1000)).unwrap().train.len(), 1000);
    let error = read(&vec![b'\n'; 40 << 20]).unwrap_err().to_string();
    assert!(error.contains("a.gz: unpacks to more than 16777216 bytes"), "{error}");
}

/// The Parquet reader panics at a column of negative length, and at other damage.
#[test]
fn no_damaged_byte_of_a_parquet_file_ends_the_program() {
    let mut words = ListBuilder::new(StringBuilder::new());
    words.append_value([Some("B-PER"), Some("O")]);
    let words: ArrayRef = Arc::new(words.finish());
    let batch = RecordBatch::try_from_iter([("tokens", Arc::clone(&words)), ("tags", words)]).unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let parse = |bytes: &[u8]| parse("parquet", "tags = 'tags'", bytes).map(|parsed| parsed.records.len());
    assert_eq!(parse(&file).unwrap(), 1);
    let mut refused = 0;
    for at in 0..file.len() {
        for damage in [0x01, 0x40, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= damage;
            refused += usize::from(parse(&damaged).is_err());
        }
    }
    assert!(refused > file.len() / 4, "{refused} of {}", 3 * file.len());
}

/// Found by fuzzing: it states another orientation after its headers than in them.
#[test]
fn the_size_of_a_checked_picture_is_that_of_the_decoded_one() {
    let picture = include_bytes!("fixtures/orientation-between-scans.jpg");
    let decoded = mkgc_builder::images::decode(picture).map(|picture| picture.dimensions());
    assert!(decoded.is_ok());
    assert_eq!(mkgc_builder::images::check(picture), decoded);
}
