//! Which picture a row gets, how it is stored, and what is said of pictures that cannot be used.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{RawCorpus, mnre_line, write_picture};
use mkgc_builder::build::{CorpusSource, OnBadCrops, OnBadImage, build, build_family, build_viewed};
use mkgc_builder::corpus::format::mnre::Mnre;
use mkgc_builder::corpus::format::{ContainedPictures, Format, Parsed, RawFile};
use mkgc_builder::corpus::{self, CorpusSpec, PictureFolders, Split};
use mkgc_builder::dataset::{BenchmarkFolder, CROPS_FILE, IMAGES_FILE, StoredPicture};
use mkgc_builder::{Result, verify};

const PROTOCOL: &str = "name = \"small\"\ncorpus = \"mnre\"\n\n[[tasks]]\nclasses = [\"/per/per/peer\"]\n";

/// Writes the texts of an MNRE corpus whose splits all name the same pictures, one a row.
fn write_texts(raw: &Path, names: &[&str]) {
    for split in ["train", "val", "test"] {
        let line = |name: &&str| mnre_line(name, "/per/per/peer").replace("'met'", &format!("'{split}'"));
        let text: String = names.iter().map(line).collect();
        fs::write(raw.join(format!("mnre_{split}.txt")), text).unwrap();
    }
}

/// A corpus of the pictures `a.png` and `b.png`, each of another shade and width in every split.
fn same_names() -> RawCorpus {
    RawCorpus::new(PROTOCOL, |raw| {
        write_texts(raw, &["a.png", "b.png"]);
        for (n, split) in ["train", "val", "test"].into_iter().enumerate() {
            let n = n as u8;
            write_picture(&raw.join(format!("img_org/{split}/a.png")), 4 + u32::from(n), 3, [10 + n, 0, 0]);
            write_picture(&raw.join(format!("img_org/{split}/b.png")), 9, 3, [20 + n, 0, 0]);
        }
    })
}

impl RawCorpus {
    fn build(&self) -> BenchmarkFolder {
        build(&self.options).unwrap();
        let checks = verify::verify(&self.options.out).unwrap();
        assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
        BenchmarkFolder::open(&self.options.out).unwrap()
    }
}

/// Returns the key of every stored picture with the red of its first pixel; `None` for a placeholder.
fn shades(benchmark: &BenchmarkFolder) -> Vec<(String, Option<u8>)> {
    let mut found = Vec::new();
    let red = |picture: &StoredPicture| image::load_from_memory(&picture.bytes).unwrap().to_rgb8()[(0, 0)][0];
    let collect = |batch: Vec<StoredPicture>| -> Result<()> {
        found.extend(batch.iter().map(|picture| (picture.key(), (!picture.stand_in).then(|| red(picture)))));
        Ok(())
    };
    benchmark.pictures(collect).unwrap();
    found
}

fn expected(pictures: &[(&str, u8)]) -> Vec<(String, Option<u8>)> {
    pictures.iter().map(|(key, shade)| ((*key).to_owned(), Some(*shade))).collect()
}

#[test]
fn a_name_in_two_splits_is_two_pictures() {
    let mut raw = same_names();
    let seen = Mutex::new(BTreeMap::new());
    let view = |key: &str, picture: &image::RgbImage| {
        assert!(seen.lock().unwrap().insert(key.to_owned(), picture[(0, 0)][0]).is_none());
        Ok(())
    };
    build_viewed(&raw.options, &view).unwrap();
    let benchmark = BenchmarkFolder::open(&raw.options.out).unwrap();
    let all = [
        ("train/a.png", 10),
        ("train/b.png", 20),
        ("validation/a.png", 11),
        ("validation/b.png", 21),
        ("test/a.png", 12),
        ("test/b.png", 22),
    ];
    assert_eq!(shades(&benchmark), expected(&all));
    assert!(benchmark.manifest().images_by_split && raw.built("manifest.json").contains("\"images_by_split\": true"));
    assert_eq!(seen.into_inner().unwrap(), all.map(|(key, shade)| (key.to_owned(), shade)).into());
    assert_eq!(raw.stats().images.unwrap().named, 6);
    assert!(raw.built("README.md").contains("the row's split") && raw.built("croissant.json").contains("images/split"));
    raw.options.out = raw.dir.path().join("embedded");
    raw.options.embed_images = true;
    assert_eq!(shades(&raw.build()), expected(&all));
}

/// A picture that is missing in one split is not taken from another one, nor are rows of the other split dropped.
#[test]
fn a_picture_is_missing_in_its_own_split_only() {
    let mut raw = same_names();
    fs::remove_file(raw.raw("img_org/test/a.png")).unwrap();
    for embed in [false, true] {
        raw.options.embed_images = embed;
        raw.options.force = true;
        let benchmark = raw.build();
        let stored = shades(&benchmark);
        assert_eq!(stored[0], ("train/a.png".to_owned(), Some(10)));
        assert_eq!(stored[4], ("test/a.png".to_owned(), None));
        let images = raw.stats().images.unwrap();
        assert_eq!(images.bad, [("test/a.png".to_owned(), "missing".to_owned())].into());
        assert_eq!((images.named, images.usable, images.missing()), (6, 5, 1));
        assert_eq!(images.looked_in, ["img_org/train", "img_org/val", "img_org/test"]);
    }
    raw.options.on_bad_image = OnBadImage::Drop;
    raw.build();
    assert_eq!(raw.stats().rows_dropped_for_images, [0, 0, 1]);
    let summary = {
        raw.options.on_bad_image = OnBadImage::Placeholder;
        build(&raw.options).unwrap().to_string()
    };
    assert!(
        summary.contains("1 images are in none of these folders: img_org/train, img_org/val, img_org/test"),
        "{summary}"
    );
    raw.options.on_bad_image = OnBadImage::Error;
    let error = build(&raw.options).unwrap_err().to_string();
    assert!(error.contains("a.png: missing; --on-bad-image") && error.contains("img_org/test"), "{error}");
}

/// One folder for all splits: the file is as it was before splits could have pictures of their own.
#[test]
fn splits_that_share_a_folder_share_its_pictures() {
    let mut raw = RawCorpus::new(PROTOCOL, |raw| write_texts(raw, &["a.png", "b.png"]));
    let pictures = raw.dir.path().join("pictures");
    write_picture(&pictures.join("a.png"), 4, 3, [10, 0, 0]);
    write_picture(&pictures.join("b.png"), 4, 3, [20, 0, 0]);
    raw.options.images = Some(pictures);
    let benchmark = raw.build();
    assert_eq!(shades(&benchmark), expected(&[("a.png", 10), ("b.png", 20)]));
    assert!(
        !raw.built("manifest.json").contains("images_by_split")
            && !raw.built("croissant.json").contains("images/split")
    );
    let stats = raw.built("stats.json");
    assert!(!stats.contains("renamed") && !stats.contains("looked_in") && !stats.contains("crops_dropped"), "{stats}");
    raw.options.out = raw.dir.path().join("embedded");
    raw.options.embed_images = true;
    assert_eq!(shades(&raw.build()), expected(&[("a.png", 10), ("b.png", 20)]));
}

#[test]
fn different_files_of_one_name_in_several_folders_are_counted() {
    let mut raw = RawCorpus::new(PROTOCOL, |raw| write_texts(raw, &["a.png", "b.png"]));
    let pictures = raw.dir.path().join("pictures");
    for (name, shade) in [("a.png", 10), ("b.png", 20), ("img_org/train/a.png", 11), ("img_org/train/b.png", 20)] {
        write_picture(&pictures.join(name), 4, 3, [shade, 0, 0]);
    }
    raw.options.images = Some(pictures);
    assert_eq!(shades(&raw.build())[..2], [("train/a.png".to_owned(), Some(11)), ("train/b.png".to_owned(), Some(20))]);
    let images = raw.stats().images.unwrap();
    assert_eq!((images.usable, images.ambiguous), (6, 1), "b.png is the same file twice");
    raw.options.force = true;
    let summary = build(&raw.options).unwrap().to_string();
    assert!(summary.contains("1 images are different files in several folders"), "{summary}");
}

#[test]
fn a_file_of_another_extension_is_found_and_counted() {
    let raw = RawCorpus::new(PROTOCOL, |raw| write_texts(raw, &["x.jpg", "y.jpg", "z.jpg", "deep/w.jpg", "v"]));
    for split in ["train", "val", "test"] {
        let folder = raw.raw(&format!("img_org/{split}"));
        for (name, shade) in [("x.png", 10), ("y.PNG", 20), ("z.jpg", 30), ("deep/w.png", 40), ("v.png", 50)] {
            write_picture(&folder.join("picture.png"), 4, 3, [shade, 0, 0]);
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::rename(folder.join("picture.png"), path).unwrap();
        }
    }
    let benchmark = raw.build();
    let train: Vec<_> = shades(&benchmark).into_iter().take(5).map(|(_, shade)| shade).collect();
    assert_eq!(train, [10, 20, 30, 40, 50].map(Some));
    assert_eq!(benchmark.rows(0, Split::Train).unwrap()[0].image_id.as_deref(), Some("x.jpg"));
    let images = raw.stats().images.unwrap();
    assert_eq!((images.usable, images.renamed), (15, 12));
}

/// The first bytes of `torch.save({}, path, _use_new_zipfile_serialization=False)`.
const OLD_DICTIONARY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.";

#[test]
fn a_dictionary_in_the_old_format_stops_the_build_unless_crops_are_dropped() {
    let mut raw = same_names();
    fs::write(raw.raw("mre_dev_dict.pth"), OLD_DICTIONARY).unwrap();
    write_picture(&raw.raw("img_vg/train/crops/0.png"), 4, 4, [1, 2, 3]);
    let error = build(&raw.options).unwrap_err().to_string();
    for part in
        ["mre_dev_dict.pth", "torch.save(torch.load('mre_dev_dict.pth'), 'mre_dev_dict.pth')", "--on-bad-crops drop"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    raw.options.on_bad_crops = OnBadCrops::Drop;
    let summary = build(&raw.options).unwrap().to_string();
    assert!(summary.contains("no crops: mre_dev_dict.pth: written in the format"), "{summary}");
    let images = raw.stats().images.unwrap();
    assert!(images.crops.is_none() && images.rows_with_crops == 0);
    assert!(images.crops_dropped.unwrap().starts_with("mre_dev_dict.pth: "), "the same wherever the corpus is");
}

/// MNRE's lines, with pictures of four pixels inside the file: their red is ten times the split plus their place.
#[derive(Debug)]
struct WithPictures;

/// A name that leads from the folder of a split's pictures, `.mkgc-build-x/new/contained/train`, to the one
/// in which the benchmark is built.
const ESCAPED: &str = "../../../../escaped.png";

fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(2, 2, image::Rgb([shade, 0, 0]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

impl Format for WithPictures {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        Mnre.parse(file)
    }

    fn pictures(&self, path: &Path) -> Result<Option<ContainedPictures>> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let shade = ["mnre_train.txt", "mnre_val.txt", "mnre_test.txt"].iter().position(|file| *file == name).unwrap();
        let names = ["a.png", "sub/b.png", ESCAPED].into_iter().enumerate();
        Ok(Some(Box::new(names.map(move |(n, name)| Ok((name.to_owned(), png((10 * shade + n) as u8)))))))
    }
}

#[test]
fn pictures_inside_corpus_files_are_found_and_nothing_else_is_left() {
    let mut raw = RawCorpus::new(&PROTOCOL.replace("mnre", "own"), |raw| write_texts(raw, &["a.png", "sub/b.png"]));
    raw.options.corpus = CorpusSource::Files(Box::new(CorpusSpec {
        name: "own".to_owned(),
        format: Arc::new(WithPictures),
        pictures: PictureFolders::default(),
        ..corpus::find("mnre").unwrap()
    }));
    let benchmark = raw.build();
    let all = [
        ("train/a.png", 0),
        ("train/sub/b.png", 1),
        ("validation/a.png", 10),
        ("validation/sub/b.png", 11),
        ("test/a.png", 20),
        ("test/sub/b.png", 21),
    ];
    assert_eq!(shades(&benchmark), expected(&all));
    let left: Vec<_> = fs::read_dir(raw.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "raw, protocol and benchmark: {left:?}");
    // A folder of pictures that is given must be there all the same.
    raw.options.images = Some(raw.dir.path().join("nowhere"));
    raw.options.force = true;
    let error = build(&raw.options).unwrap_err().to_string();
    assert!(error.contains("no such folder, so no image folder"), "{error}");
}

/// MNRE's lines, of which the first has no picture.
#[derive(Debug)]
struct FirstWithout;

impl Format for FirstWithout {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        let mut parsed = Mnre.parse(file)?;
        if let Some(Ok(row)) = parsed.records.first_mut() {
            row.image = None;
        }
        Ok(parsed)
    }
}

#[test]
fn rows_without_a_picture_may_stand_among_others() {
    let mut raw = same_names();
    let spec = CorpusSpec { format: Arc::new(FirstWithout), ..corpus::find("mnre").unwrap() };
    raw.options.corpus = CorpusSource::Files(Box::new(spec));
    for embed in [false, true] {
        raw.options.embed_images = embed;
        raw.options.force = true;
        let benchmark = raw.build();
        let rows = benchmark.rows(0, Split::Test).unwrap();
        let names: Vec<Option<&str>> = rows.iter().map(|row| row.image_id.as_deref()).collect();
        assert_eq!(names, [None, Some("b.png")]);
        assert_eq!(shades(&benchmark), expected(&[("train/b.png", 20), ("validation/b.png", 21), ("test/b.png", 22)]));
    }
}

const FAMILY: &str = r#"
name = "small"
corpus = "mnre"
drop = []
orders = [[["/per/per/peer"], ["/per/org/member_of"]], [["/per/org/member_of"], ["/per/per/peer"]]]
"#;

#[test]
fn the_orders_of_a_family_share_their_pictures() {
    let mut raw = RawCorpus::new(FAMILY, |raw| {
        for split in ["train", "val", "test"] {
            let line = |name: &str, relation: &str| mnre_line(name, relation).replace("'met'", &format!("'{split}'"));
            let text =
                line("a.png", "/per/per/peer") + &line("b.png", "/per/org/member_of") + &line("c.png", "/per/per/peer");
            fs::write(raw.join(format!("mnre_{split}.txt")), text).unwrap();
            write_picture(&raw.join(format!("img_org/{split}/a.png")), 4, 3, [10, 0, 0]);
            write_picture(&raw.join(format!("img_org/{split}/b.png")), 4, 3, [20, 0, 0]);
        }
    });
    raw.options.on_bad_image = OnBadImage::Drop;
    let built = build_family(&raw.options).unwrap();
    assert_eq!(built.len(), 2);
    assert_eq!(built[0].stats.images, built[1].stats.images);
    assert_eq!(built[1].stats.rows_dropped_for_images, [1; 3]);
    let paths = [0, 1].map(|k| built[k].out.join(IMAGES_FILE));
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let [first, second] = paths.each_ref().map(|path| fs::metadata(path).unwrap().ino());
        assert_eq!(first, second, "the second file is a link to the first");
    }
    for summary in &built {
        let checks = verify::verify(&summary.out).unwrap();
        assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
    }
}

/// Twenty pictures of about a kilobyte a split, and a limit that two of them need a file for.
#[test]
fn many_pictures_are_written_in_shards_that_are_read_as_one_file() {
    let names: Vec<String> = (0..20).map(|n| format!("{n}.bmp")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut raw = RawCorpus::new(PROTOCOL, |raw| {
        write_texts(raw, &names);
        for (split, shade) in [("train", 0), ("val", 100), ("test", 200)] {
            for (n, name) in names.iter().enumerate() {
                write_picture(&raw.join(format!("img_org/{split}/{name}")), 20, 20, [shade + n as u8, 0, 0]);
            }
        }
    });
    let whole = raw.build();
    let stored = shades(&whole);
    raw.options.out = raw.dir.path().join("shards");
    raw.options.shard_bytes = 48 << 10;
    let sharded = raw.build();
    assert_eq!(shades(&sharded), stored);
    let parts: Vec<_> = sharded.manifest().parts(IMAGES_FILE).collect();
    let paths: Vec<&str> = parts.iter().map(|part| part.path.as_str()).collect();
    let wanted = [0, 1, 2].map(|n| format!("images/images-0000{n}-of-00003.parquet"));
    assert_eq!(paths, wanted);
    assert_eq!(parts.iter().filter_map(|part| part.rows).sum::<usize>(), 60);
    assert!(parts.iter().all(|part| part.bytes <= raw.options.shard_bytes), "{parts:?}");
    let files = fs::read_dir(raw.options.out.join("images")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(files.count(), 3, "only shards are left");
    assert_eq!(sharded.manifest().fingerprint, whole.manifest().fingerprint);
    let manifest = raw.built("manifest.json").replace("images-00001-of-00003", "images-00002-of-00003");
    let lacking = raw.dir.path().join("lacking");
    fs::create_dir(&lacking).unwrap();
    let two = manifest.replacen("images/images-00002-of-00003.parquet", "elsewhere.parquet", 1);
    fs::write(lacking.join("manifest.json"), two).unwrap();
    let checks = verify::verify(&lacking).unwrap();
    let own = checks.iter().find(|check| check.path == "manifest.json").unwrap();
    assert_eq!(own.problem.as_deref(), Some("lists 2 of the 3 parts of images/images.parquet"));
    assert!(raw.built("README.md").contains("path: images/images-*.parquet\n"));
    assert!(raw.built("README.md").contains("num_examples: 60"));
    let croissant: serde_json::Value = serde_json::from_str(&raw.built("croissant.json")).unwrap();
    let files = croissant["distribution"].as_array().unwrap();
    assert_eq!(files.iter().filter(|file| file["@type"] == "cr:FileObject").count(), 3 + 3);
    let set = files.iter().find(|file| file["@type"] == "cr:FileSet").unwrap();
    assert_eq!(
        (set["@id"].as_str(), set["includes"].as_str()),
        (Some("images-files"), Some("images/images-*.parquet"))
    );
    let images: Vec<_> =
        croissant["recordSet"].as_array().unwrap().iter().filter(|set| set["@id"] == "images").collect();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0]["field"][0]["source"]["fileSet"]["@id"], "images-files");
    // A damaged shard is named.
    let path = raw.options.out.join(&wanted[1]);
    fs::write(&path, &fs::read(&path).unwrap()[1..]).unwrap();
    let checks = verify::verify(&raw.options.out).unwrap();
    let damaged: Vec<&str> =
        checks.iter().filter(|check| check.problem.is_some()).map(|check| check.path.as_str()).collect();
    assert_eq!(damaged, [wanted[1].as_str()]);
    assert_eq!(sharded.manifest().parts(CROPS_FILE).count(), 0);
}

#[test]
fn a_name_of_two_pictures_is_nobodys_where_rows_are_dealt_anew() {
    let mut raw = same_names();
    write_picture(&raw.raw("img_org/train/b.png"), 9, 3, [7, 0, 0]);
    for split in ["val", "test"] {
        fs::copy(raw.raw("img_org/train/b.png"), raw.raw(&format!("img_org/{split}/b.png"))).unwrap();
    }
    fs::write(&raw.options.protocol, format!("{PROTOCOL}\n[split]\ntest = 2\n")).unwrap();
    let benchmark = raw.build();
    // Each b.png is the same picture; which a.png a row shows, nobody can tell.
    let stored = shades(&benchmark);
    assert_eq!(stored, [("a.png".to_owned(), None), ("b.png".to_owned(), Some(7))]);
    assert!(raw.stats().images.unwrap().bad["a.png"].contains("different pictures of this name"));
    raw.options.on_bad_image = OnBadImage::Error;
    raw.options.out = raw.dir.path().join("stopped");
    assert!(build(&raw.options).unwrap_err().to_string().contains("give each picture a name of its own"));
}
