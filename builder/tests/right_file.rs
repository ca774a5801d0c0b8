//! Whether corpus files are the right ones: published sums, other versions, all damage at once, and what stops a build
//! unless it is allowed by name.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{RawCorpus, mnre_line, write_picture};
use mkgc_builder::build::{Allowed, CorpusSource, OnBadImage, Stats, build};
use mkgc_builder::corpus::format::twitter::Twitter;
use mkgc_builder::corpus::{self, CorpusReference, CorpusSpec, OnError, PictureFolders, RecordCounts, SplitFiles};

const PROTOCOL: &str = r#"
name = "small"
corpus = "mnre"
tasks = [{ classes = ["/per/per/peer"] }, { classes = ["/per/org/member_of"] }]
"#;

const RELATIONS: [&str; 3] = ["/per/per/peer", "None", "/per/org/member_of"];

fn mnre(rows: usize) -> RawCorpus {
    RawCorpus::new(PROTOCOL, |raw| {
        for split in ["train", "val", "test"] {
            let line = |row: usize| mnre_line(&format!("{split}_{row}.png"), RELATIONS[row % 3]);
            fs::write(raw.join(format!("mnre_{split}.txt")), (0..rows).map(line).collect::<String>()).unwrap();
        }
    })
}

impl RawCorpus {
    /// Replaces a text in a file of the corpus, at most `count` times.
    fn change(&self, file: &str, from: &str, to: &str, count: usize) {
        let text = fs::read_to_string(self.raw(file)).unwrap();
        let changed = text.replacen(from, to, count);
        assert_ne!(changed, text);
        fs::write(self.raw(file), changed).unwrap();
    }

    fn skipping(mut self, allow: &[Allowed]) -> Self {
        self.options.on_error = OnError::Skip;
        self.options.allow = allow.to_vec();
        self.options.force = true;
        self
    }

    fn error(&self) -> String {
        build(&self.options).unwrap_err().to_string()
    }

    fn summary(&self) -> String {
        build(&self.options).unwrap().to_string()
    }
}

fn published(case: &RawCorpus) -> Vec<Option<bool>> {
    let manifest: serde_json::Value = serde_json::from_str(&case.built("manifest.json")).unwrap();
    manifest["sources"].as_array().unwrap().iter().map(|file| file["published"].as_bool()).collect()
}

#[test]
fn files_with_other_sums_than_the_published_ones_are_named() {
    let case = mnre(9);
    let sentence = "These corpus files are not as published: mnre_train.txt, mnre_val.txt, mnre_test.txt";
    assert!(case.summary().contains(sentence));
    assert!(case.built("README.md").contains(&format!("- {sentence}.\n")));
    assert_eq!(published(&case), [Some(false); 3]);
}

#[test]
fn published_files_are_said_to_be_so() {
    let Some(data) = std::env::var_os("MKGC_DATA") else { return };
    let mut case = RawCorpus::new("", |_| ());
    case.options.protocol = "twitter2017-plom".to_owned();
    case.options.raw = Path::new(&data).join("twitter2017");
    assert!(case.summary().contains("The corpus files are as published\n"));
    assert!(case.built("README.md").contains("- The corpus files are as published.\n"));
    assert_eq!(published(&case), [Some(true); 3]);
    let copy = case.dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["train.txt", "valid.txt", "test.txt"] {
        fs::copy(case.options.raw.join(name), copy.join(name)).unwrap();
    }
    fs::write(copy.join("valid.txt"), fs::read_to_string(copy.join("valid.txt")).unwrap().replace('\n', "\r\n"))
        .unwrap();
    case.options.raw = copy;
    case.options.force = true;
    assert!(case.summary().contains("These corpus files are not as published: valid.txt\n"));
    assert_eq!(published(&case), [Some(true), Some(false), Some(true)]);
}

#[test]
fn version_1_of_mnre_is_recognised_by_its_relations_and_by_the_names_of_its_files() {
    let mut case = mnre(9);
    case.change("mnre_val.txt", "'/per/per/peer'", "'/per/per/colleague'", 1);
    for on_error in [OnError::Fail, OnError::Skip] {
        case.options.on_error = on_error;
        let error = case.error();
        assert!(
            error.contains("mnre_val.txt: looks like MNRE version 1, not MNRE version 2 (thecharm/MNRE)"),
            "{error}"
        );
        assert!(error.contains("`'/per/per/colleague'`") && error.contains("mkgc fetch mnre"), "{error}");
    }
    fs::rename(case.raw("mnre_val.txt"), case.raw("mnre_org_val.txt")).unwrap();
    let error = case.error();
    assert!(error.contains("no validation file; expected one of: mnre_val.txt"), "{error}");
    assert!(error.contains("mnre_org_val.txt is of MNRE version 1: "), "{error}");
}

#[test]
fn all_damage_of_all_files_is_shown_at_once() {
    let case = mnre(30);
    case.change("mnre_train.txt", "'pos': [2, 3]", "'pos': [2, 9]", 15);
    case.change("mnre_val.txt", "'token'", "'tokens'", 3);
    case.change("mnre_test.txt", "/per/per/peer", "/per/per/pear", 4);
    let error = case.error();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "22 damages in the corpus files");
    assert!(
        lines[1].contains("mnre_train.txt:1: span [2, 9] of `t.pos` is out of range: the sentence has 3 words ("),
        "{error}"
    );
    assert!(
        lines[16].contains("mnre_val.txt:1: ") && lines[19].contains("mnre_test.txt:1: unknown relation"),
        "{error}"
    );
    assert_eq!(lines[21], "  and 2 more");
    assert!(
        lines[22].starts_with("by kind: 15 x span [N, N] of `…` is out of range; 4 x unknown relation `…`; 3 x "),
        "{error}"
    );
    assert!(lines[23].contains("--on-error skip"), "{error}");
    assert!(!case.options.out.exists());
}

#[test]
fn more_than_a_hundredth_of_skipped_records_stops_the_build_unless_it_is_allowed() {
    let case = mnre(100).skipping(&[]);
    case.change("mnre_val.txt", "'pos': [2, 3]", "'pos': [2, 9]", 1);
    build(&case.options).unwrap();
    assert_eq!(case.stats().warnings, ["1 of 100 validation records (1.00 %) are damaged and left out"]);
    case.change("mnre_val.txt", "'pos': [2, 3]", "'pos': [2, 9]", 1);
    let error = case.error();
    assert!(error.contains("2 of 100 validation records (2.00 %) are damaged and left out; "), "{error}");
    assert!(error.ends_with("or build all the same with --allow skipped"), "{error}");
    let case = case.skipping(&[Allowed::Skipped]);
    build(&case.options).unwrap();
    let sentence = "2 of 100 validation records (2.00 %) are damaged and left out";
    assert_eq!(case.stats().warnings, [sentence]);
    assert_eq!(case.stats().records[1].skipped, 2);
    assert!(case.built("README.md").contains(&format!("- {sentence}.\n")));
}

#[test]
fn a_class_whose_records_are_all_damaged_stops_the_build_unless_it_is_allowed() {
    let case = mnre(9).skipping(&[Allowed::Skipped]);
    for split in ["train", "val", "test"] {
        let file = format!("mnre_{split}.txt");
        let damaged = "'pos': [2, 9]}, 'img_id': 'x.png', 'relation': '/per/misc/awarded'";
        let text = fs::read_to_string(case.raw(&file)).unwrap();
        let line = text.lines().next().unwrap();
        let cut = line.find("'pos': [2, 3]").unwrap();
        fs::write(case.raw(&file), format!("{text}{}{damaged}}}\n", &line[..cut])).unwrap();
    }
    let error = case.error();
    assert!(error.contains("no row of class `/per/misc/awarded` is left: every record of it is damaged; "), "{error}");
    assert!(error.ends_with("or build all the same with --allow lost-class"), "{error}");
    let case = case.skipping(&[Allowed::Skipped, Allowed::LostClass]);
    build(&case.options).unwrap();
    assert_eq!(case.stats().lost_classes, ["/per/misc/awarded"]);
    assert!(case.built("README.md").contains("- No row is left of these classes: /per/misc/awarded.\n"));
}

#[test]
fn a_class_that_only_damaged_records_name_is_lost_too() {
    let case = entities("mine", &[], ["PER", "GPE"]).skipping(&[Allowed::Skipped]);
    for file in ["a.txt", "b.txt", "c.txt"] {
        case.change(file, "B-GPE\n", "B-GPE\nword\n", 1);
    }
    let error = case.error();
    assert!(error.contains("no row of class `GPE` is left: every record of it is damaged; "), "{error}");
}

fn with_pictures(case: RawCorpus, rows: impl Fn(usize) -> bool) -> RawCorpus {
    for split in ["train", "val", "test"] {
        fs::create_dir_all(case.raw(&format!("img_org/{split}"))).unwrap();
        for row in (0..9).filter(|row| rows(*row)) {
            write_picture(&case.raw(&format!("img_org/{split}/{split}_{row}.png")), 4, 4, [9, 9, 9]);
        }
    }
    case
}

#[test]
fn a_class_whose_pictures_are_all_missing_stops_the_build_unless_it_is_kept_or_allowed() {
    let mut case = with_pictures(mnre(9), |row| row % 3 != 0);
    build(&case.options).unwrap();
    case.options.force = true;
    case.options.on_bad_image = OnBadImage::Drop;
    let error = case.error();
    assert!(error.contains("no row of class `/per/per/peer` is left: the pictures of all its rows"), "{error}");
    assert!(error.contains("--on-bad-image placeholder, or build all the same with --allow lost-class"), "{error}");
    // A class that is left in another split is only warned about.
    write_picture(&case.raw("img_org/train/train_0.png"), 4, 4, [9, 9, 9]);
    build(&case.options).unwrap();
    let warning =
        |split: &str| format!("no {split} row of class `/per/per/peer` is left without those of bad pictures");
    assert_eq!(case.stats().warnings, [warning("validation"), warning("test")]);
}

#[test]
fn no_picture_at_all_stops_the_build_unless_it_is_allowed() {
    let mut case = with_pictures(mnre(9), |_| false);
    let error = case.error();
    assert!(
        error.contains("none of the 27 pictures that rows name can be used (") && error.contains(": missing)"),
        "{error}"
    );
    assert!(error.ends_with("with --images, or build all the same with --allow no-pictures"), "{error}");
    case.options.allow = vec![Allowed::NoPictures];
    build(&case.options).unwrap();
    assert!(case.stats().warnings[0].starts_with("none of the 27 pictures"));
    assert!(case.built("README.md").contains("- 0 of the 27 pictures that rows name can be used.\n"));
}

#[test]
fn equal_splits_stop_the_build_unless_they_are_allowed() {
    let mut case = mnre(9);
    let reversed: String =
        fs::read_to_string(case.raw("mnre_test.txt")).unwrap().lines().rev().map(|line| format!("{line}\n")).collect();
    fs::write(case.raw("mnre_val.txt"), reversed).unwrap();
    let error = case.error();
    assert!(
        error.contains("validation and test hold the same 9 rows; give each split files of its own, or"),
        "{error}"
    );
    assert!(error.ends_with("--allow equal-splits"), "{error}");
    case.change("mnre_val.txt", "test_0.png", "other.png", 1);
    build(&case.options).unwrap();
    case.change("mnre_val.txt", "other.png", "test_0.png", 1);
    case.options.force = true;
    case.options.allow = vec![Allowed::EqualSplits];
    build(&case.options).unwrap();
    assert_eq!(case.stats().warnings, ["validation and test hold the same 9 rows"]);
}

#[test]
fn everything_that_stops_the_build_is_said_at_once() {
    let case = mnre(9).skipping(&[]);
    fs::copy(case.raw("mnre_test.txt"), case.raw("mnre_val.txt")).unwrap();
    case.change("mnre_train.txt", "'pos': [2, 3]", "'pos': [2, 9]", 1);
    let error = case.error();
    assert!(error.contains("1 of 9 train records (11.11 %)") && error.contains("validation and test hold"), "{error}");
}

fn own(name: &str, classes: &[&str]) -> CorpusSpec {
    CorpusSpec {
        name: name.to_owned(),
        about: "Mine.".to_owned(),
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        files: ["a.txt", "b.txt", "c.txt"].map(|name| SplitFiles::All(vec![name.to_owned()])),
        format: Arc::new(Twitter),
        pictures: PictureFolders::default(),
        class_ids: None,
        reference: CorpusReference {
            origin: "My corpus".to_owned(),
            homepage: "https://example.org".to_owned(),
            citation: "Me (2024)".to_owned(),
            license: Some("CC-BY-4.0".to_owned()),
            language: "de".to_owned(),
            version: Some("1.2".to_owned()),
            published: Some("2024-05-06".to_owned()),
        },
        ..corpus::find("twitter2017").unwrap()
    }
}

/// Builds a corpus of sentences in which `first` and `second` are the two types.
fn entities(name: &str, classes: &[&str], [first, second]: [&str; 2]) -> RawCorpus {
    let protocol =
        format!("name = \"own\"\ncorpus = \"{name}\"\npriority = [\"{first}\", \"{second}\"]\nn_tasks = 2\n");
    let mut case = RawCorpus::new(&protocol, |raw| {
        for (file, word) in [("a.txt", "Ann"), ("b.txt", "Bob"), ("c.txt", "Cid")] {
            let text = format!("IMGID:1\n{word}\tB-{first}\nhi\tO\n\nIMGID:2\n{word}\tB-{second}\n\n");
            fs::write(raw.join(file), text).unwrap();
        }
    });
    case.options.corpus = CorpusSource::Files(Box::new(own(name, classes)));
    case
}

#[test]
fn a_class_that_looks_like_no_class_is_warned_about() {
    for (class, warned) in [("NA", true), ("none", true), ("Other", true), ("no_relation", true), ("ORG", false)] {
        let case = entities("mine", &[], ["PER", class]);
        build(&case.options).unwrap();
        let warnings = case.stats().warnings;
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        assert!(!warned || warnings[0].contains(&format!("write `drop = [\"{class}\"]`")), "{warnings:?}");
    }
}

#[test]
fn card_and_croissant_say_what_is_known_of_the_corpus() {
    let case = entities("mine", &["PER", "ORG"], ["PER", "ORG"]);
    build(&case.options).unwrap();
    let card = case.built("README.md");
    for line in [
        "pretty_name: \"own\"\nlanguage:\n- \"de\"\nlicense: cc-by-4.0\n",
        "task_categories:\n- token-classification\ntask_ids:\n- named-entity-recognition\n",
        "size_categories:\n- n<1K\n",
        "- multimodal\n",
        "## Citation\n\nCite the corpus if you use the benchmark: Me (2024)\n",
    ] {
        assert!(card.contains(line), "{line}\n{card}");
    }
    let croissant: serde_json::Value = serde_json::from_str(&case.built("croissant.json")).unwrap();
    for (key, value) in [
        ("license", "CC-BY-4.0"),
        ("citeAs", "Me (2024)"),
        ("version", "1.2.0"),
        ("datePublished", "2024-05-06"),
        ("url", "https://example.org"),
        ("inLanguage", "de"),
    ] {
        assert_eq!(croissant[key], value, "{key}");
    }
}

#[test]
fn duplicates_are_counted_between_every_two_splits() {
    let case = mnre(9);
    let line = |words: &str, image: &str| mnre_line(image, "None").replace("'Ann', 'met', 'Bob'", words);
    fs::write(case.raw("mnre_val.txt"), line("'Ann', 'saw', 'Bob'", "v1") + &line("'Ann', 'rang', 'Bob'", "v2"))
        .unwrap();
    let test = [("'Ann', 'SAW', 'Bob'", "t1"), ("'Ann', 'rang', 'Bob'", "t2"), ("'Ann', 'met', 'Bob'", "t3")];
    fs::write(case.raw("mnre_test.txt"), test.map(|(words, image)| line(words, image)).concat()).unwrap();
    let corpus = corpus::read(&corpus::find("mnre").unwrap(), &case.options.raw, OnError::Fail).unwrap();
    let defects = mkgc_builder::build::count_defects(&corpus);
    assert_eq!(defects.pairs_shared_with_train, [0, 0, 1]);
    assert_eq!(defects.texts_shared_with_train, [0, 0, 1]);
    assert_eq!(defects.pairs_shared_with_validation, [0, 0, 1]);
    assert_eq!(defects.texts_shared_with_validation, [0, 0, 2]);
}

#[test]
fn statistics_of_earlier_versions_are_read() {
    let case = mnre(9);
    build(&case.options).unwrap();
    let mut stats: serde_json::Value = serde_json::from_str(&case.built("stats.json")).unwrap();
    stats.as_object_mut().unwrap().remove("records").unwrap();
    let defects = stats["defects"].as_object_mut().unwrap();
    defects.remove("pairs_shared_with_validation").unwrap();
    defects.remove("texts_shared_with_validation").unwrap();
    let stats: Stats = serde_json::from_value(stats).unwrap();
    assert_eq!(stats.records, [RecordCounts::default(); 3]);
    assert_eq!(stats.defects.rows, [9; 3]);
}

#[test]
fn a_byte_order_mark_is_accepted_in_every_file() {
    let case = mnre(9);
    for file in ["mnre_train.txt", "mnre_val.txt", "mnre_test.txt"] {
        let text = fs::read_to_string(case.raw(file)).unwrap();
        fs::write(case.raw(file), format!("\u{feff}{text}")).unwrap();
    }
    let ids = "\u{feff}{\"None\": 0, \"/per/per/peer\": 2, \"/per/org/member_of\": 1}";
    fs::write(case.raw("ours_rel2id.json"), ids).unwrap();
    // Cut by class ids, so that the order of the labels is that of the file of ids.
    let protocol = "\u{feff}name = \"small\"\ncorpus = \"mnre\"\nn_tasks = 2\n";
    fs::write(&case.options.protocol, protocol).unwrap();
    build(&case.options).unwrap();
    let manifest = case.built("manifest.json");
    assert!(manifest.find("\"/per/org/member_of\"") < manifest.find("\"/per/per/peer\""), "{manifest}");
}

#[test]
fn messages_name_place_and_remedy_in_plain_words() {
    let mut case = mnre(9);
    fs::write(case.raw("ours_rel2id.json"), "[1, 2]").unwrap();
    let error = case.error();
    assert!(error.contains("ours_rel2id.json:1: expected a table of keys and values, found a list"), "{error}");
    fs::write(case.raw("ours_rel2id.json"), "{\n\"None\": 0,,}").unwrap();
    let error = case.error();
    assert!(error.contains("ours_rel2id.json:2: is not JSON: see column 11"), "{error}");
    fs::remove_file(case.raw("ours_rel2id.json")).unwrap();
    fs::write(&case.options.protocol, PROTOCOL.replace("classes = [\"/per/per/peer\"]", "clases = [\"x\"]")).unwrap();
    let error = case.error();
    assert!(error.contains("line 4: unknown key `clases` (did you mean `classes`?)"), "{error}");
    assert!(error.ends_with("small.toml)"), "{error}");
    fs::write(&case.options.protocol, PROTOCOL).unwrap();
    case.options.raw = case.dir.path().join("nowhere");
    let error = case.error();
    assert!(error.contains("nowhere: ") && error.contains("no such folder") && error.contains("--raw"), "{error}");
    case.options.raw = case.options.protocol.clone().into();
    assert!(case.error().contains("small.toml: is "), "{}", case.error());
}
