#![allow(clippy::unwrap_used)]
use std::io::Write;
use std::path::PathBuf;

use fs_err as fs;
use mkgc_builder::build::{BuildOptions, build, build_viewed};
use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::IMAGES_FILE;
use tempfile::TempDir;

use super::*;

const PROTOCOL: &str = "name = \"small\"\ncorpus = \"mnre\"\n\n[[tasks]]\nclasses = [\"/per/per/peer\"]\n";

/// A corpus of four rows per split with plain pictures of one shade, and options to build it.
struct PictureCase {
    dir: TempDir,
    options: BuildOptions,
}

impl PictureCase {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("raw");
        for split in ["train", "val", "test"] {
            let line = |row: usize| {
                format!(
                    "{{'token': ['Ann', 'met', 'Bob'], 'h': {{'name': 'Ann', 'pos': [0, 1]}}, 't': {{'name': 'Bob', \
                     'pos': [2, 3]}}, 'img_id': '{split}_{row}.png', 'relation': '/per/per/peer'}}\n"
                )
            };
            for row in 0..4 {
                picture(&raw.join(format!("img_org/{split}/{split}_{row}.png")), 50 * row as u8);
            }
            fs::write(raw.join(format!("mnre_{split}.txt")), (0..4).map(line).collect::<String>()).unwrap();
        }
        let protocol = dir.path().join("small.toml");
        fs::write(&protocol, PROTOCOL).unwrap();
        let options = BuildOptions::new(protocol.to_string_lossy(), raw, dir.path().join("out"));
        Self { dir, options }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn raw(&self, path: &str) -> PathBuf {
        self.options.raw.join(path)
    }

    fn open(&self, visual: VisualSetting) -> Result<Pictures> {
        build(&self.options)?;
        self.reopen(visual)
    }

    /// Of what is built already.
    fn reopen(&self, visual: VisualSetting) -> Result<Pictures> {
        let config = Config { visual, ..Config::shared(Extraction::Relations) };
        Pictures::open(&Benchmark::open(&self.options.out, 32)?, &config, 8, &self.cache())
    }
}

fn picture(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(11, 7, image::Rgb([shade; 3])).save(path).unwrap();
}

/// The smallest pickle of `{key: [names]}`, zipped as `torch.save` does.
fn dictionary(path: &Path, entries: &[(&str, &[&str])]) {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, names) in entries {
        let key = key.parse::<u8>().map_or_else(|_| text(key), |row| vec![b'K', row]);
        pickle.extend([&key[..], b"](", &names.iter().flat_map(|name| text(name)).collect::<Vec<_>>(), b"e"].concat());
    }
    pickle.extend(b"u.");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // A zip archive of one stored file: local header, content, central directory, end.
    let name = b"a/data.pkl";
    let mut crc = !0u32;
    for byte in &pickle {
        crc = (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)));
    }
    let size = (pickle.len() as u32).to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &(!crc).to_le_bytes(), &size, &size, &[10, 0, 0, 0]].concat();
    let local = [b"PK\x03\x04", &common[..], name, &pickle].concat();
    let central = [b"PK\x01\x02\x14\0", &common[..], &[0; 14], name].concat();
    let sizes = [(central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &sizes[..], &[0, 0]].concat();
    fs::File::create(path).unwrap().write_all(&[local, central, end].concat()).unwrap();
}

fn example(id: &str) -> Example {
    let id = id.to_owned();
    let image = None;
    let crops = vec![];
    Example { id, ids: vec![], anchors: vec![], gold: vec![], original: vec![], words: 0, owner: None, image, crops }
}

/// Normalised red of a shade.
fn red(shade: u8) -> f32 {
    normalise(&[shade, 0, 0])[0]
}

fn image(pictures: &Pictures, ids: &[&str]) -> Tensor {
    let rows: Vec<Example> = ids.iter().map(|id| example(id)).collect();
    match pictures.pixels(&rows.iter().collect::<Vec<_>>(), &Device::Cpu).unwrap() {
        Pixels::Image(pixels) => pixels,
        Pixels::Crops { .. } => panic!("wanted an image"),
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn rows_see_their_pictures_whether_embedded_or_apart() {
    let mut case = PictureCase::new();
    fs::remove_file(case.raw("img_org/train/train_2.png")).unwrap();
    let apart = case.open(VisualSetting::Image).unwrap();
    assert_eq!((apart.real(), apart.stand_ins()), (11, 1));
    let ids = ["test-000003", "train-000001", "train-000002"];
    let pixels = image(&apart, &ids);
    assert_eq!(pixels.dims(), [3, 3, 8, 8]);
    for (row, shade) in [(0, 150), (1, 50)] {
        assert!(values(&pixels.get(row).unwrap().get(0).unwrap()).iter().all(|value| *value == red(shade)));
    }
    // Not the grey picture that fills the file, but one that depends on its name.
    let expected = normalise(&stand_in("train/train_2.png", 8));
    assert_eq!(values(&pixels.get(2).unwrap()), expected);
    case.options.embed_images = true;
    case.options.force = true;
    let embedded = case.open(VisualSetting::Image).unwrap();
    assert_eq!((embedded.real(), embedded.stand_ins()), (11, 1));
    assert_eq!(values(&image(&embedded, &ids)), values(&pixels));
}

#[test]
fn a_benchmark_without_pictures_shows_stand_ins_that_differ() {
    let case = PictureCase::new();
    fs::remove_dir_all(case.raw("img_org")).unwrap();
    let pictures = case.open(VisualSetting::Image).unwrap();
    assert_eq!((pictures.real(), pictures.stand_ins()), (0, 12));
    let pixels = image(&pictures, &["train-000000", "train-000001", "train-000000"]);
    let row = |n: usize| values(&pixels.get(n).unwrap());
    assert!(row(0) == row(2) && row(0) != row(1));
    let distinct: BTreeSet<u32> = row(0)[..64].iter().map(|value| value.to_bits()).collect();
    assert!((8..=16).contains(&distinct.len()), "{} colours", distinct.len());
    let unknown = example("train-000009");
    let Err(error) = pictures.pixels(&[&unknown], &Device::Cpu) else { panic!("an unknown row") };
    assert!(error.to_string().contains("row train-000009 is not in this benchmark"));
}

/// Whether they are in one file, in shards or in the rows, and prepared by the build or by the run.
#[test]
fn a_row_sees_the_picture_of_its_own_split() {
    let mut case = PictureCase::new();
    for (n, split) in ["train", "val", "test"].into_iter().enumerate() {
        let path = case.raw(&format!("mnre_{split}.txt"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace(&format!("{split}_0.png"), "same.png")).unwrap();
        picture(&case.raw(&format!("img_org/{split}/same.png")), 30 + n as u8);
    }
    case.options.force = true;
    let whole = case.options.shard_bytes;
    for (shard_bytes, embed_images) in [(whole, false), (9 << 10, false), (whole, true)] {
        case.options.shard_bytes = shard_bytes;
        case.options.embed_images = embed_images;
        let pictures = case.open(VisualSetting::Image).unwrap();
        let pixels = image(&pictures, &["train-000000", "validation-000000", "test-000000", "test-000001"]);
        let shades: Vec<f32> = (0..4).map(|row| values(&pixels.get(row).unwrap())[0]).collect();
        assert_eq!(shades, [30, 31, 32, 50].map(red));
        assert_eq!((pictures.real(), pictures.stand_ins()), (12, 0));
    }
    assert_eq!(fs::read_dir(case.cache()).unwrap().count(), 3);
    let side = 8;
    let writer = PixelWriter::create(&case.dir.path().join("built"), side).unwrap();
    let view = |key: &str, picture: &image::RgbImage| writer.add(key, picture).map_err(|error| error.to_string());
    case.options.embed_images = false;
    build_viewed(&case.options, &view).unwrap();
    let benchmark = BenchmarkFolder::open(&case.options.out).unwrap();
    let built = images(&case.dir.path().join("built"), &benchmark, side);
    writer.finish(&built).unwrap();
    let made = images(&case.cache(), &benchmark, side);
    let prepared = PixelFile::open_or_make(&built, side, |_| panic!("it is there")).unwrap();
    let again = PixelFile::open_or_make(&made, side, |_| panic!("it is there")).unwrap();
    for key in ["train/same.png", "validation/same.png", "test/same.png", "test/test_1.png"] {
        assert!(prepared.get(key).is_some() && prepared.get(key) == again.get(key), "{key}");
    }
}

#[test]
fn crops_fill_their_slots_and_the_others_are_zero() {
    let case = PictureCase::new();
    dictionary(&case.raw("mre_train_dict.pth"), &[("0", &["a.png", "b.png", "gone.png", "d.png"]), ("1", &["e.png"])]);
    dictionary(&case.raw("train_img2crop.pth"), &[("train_0", &["w.png", "x.png", "y.png", "z.png"])]);
    for (n, name) in ["a", "b", "d", "e"].into_iter().enumerate() {
        picture(&case.raw(&format!("img_vg/train/crops/{name}.png")), 10 + n as u8);
    }
    for (n, name) in ["w", "x", "y", "z"].into_iter().enumerate() {
        picture(&case.raw(&format!("img_detect/train/{name}.png")), 20 + n as u8);
    }
    let pictures = case.open(VisualSetting::Crops).unwrap();
    assert_eq!((pictures.real(), pictures.stand_ins()), (3 + 3, 1));
    let rows = [example("train-000000"), example("train-000001"), example("test-000000")];
    let pixels = pictures.pixels(&rows.iter().collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let Pixels::Crops { grounding, detected } = pixels else { panic!("wanted crops") };
    assert_eq!((grounding.dims(), detected.dims()), (&[3, 3, 3, 128, 128][..], &[3, 3, 3, 64, 64][..]));
    let first = |tensor: &Tensor, row: usize, slot: usize| values(&tensor.get(row).unwrap().get(slot).unwrap())[0];
    let gone = normalise(&stand_in("train/gone.png", 128));
    assert_eq!([0, 1, 2].map(|slot| first(&grounding, 0, slot)), [red(10), red(11), gone[0]]);
    assert_eq!([0, 1, 2].map(|slot| first(&grounding, 1, slot)), [red(13), 0.0, 0.0]);
    assert_eq!([0, 1, 2].map(|slot| first(&detected, 0, slot)), [20, 21, 22].map(red));
    let rest = [grounding.get(2).unwrap(), detected.get(1).unwrap(), detected.get(2).unwrap()];
    assert!(rest.iter().flat_map(values).all(|value| value == 0.0));
}

#[test]
fn crops_where_there_are_none_and_broken_pictures_are_errors_with_a_remedy() {
    let case = PictureCase::new();
    let error = case.open(VisualSetting::Crops).err().unwrap().to_string();
    assert!(error.contains("no row has a crop") && error.contains("visual"), "{error}");
    // A file that was good when it was built and is not now.
    let path = case.options.out.join(IMAGES_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"IHDR").expect("a stored PNG");
    bytes[at + 4] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let error = case.reopen(VisualSetting::Image).err().unwrap().to_string();
    assert!(error.contains("train_0.png") && error.contains("mkgc verify"), "{error}");
}

/// What is prepared is found again, also by a benchmark of other tasks with the same pictures, and never decoded twice.
#[test]
fn prepared_pictures_are_not_decoded_again() {
    let mut case = PictureCase::new();
    let first = values(&image(&case.open(VisualSetting::Image).unwrap(), &["train-000003"]));
    let damage = |out: &Path| {
        let path = out.join(IMAGES_FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    };
    let prepared = |case: &PictureCase| case.reopen(VisualSetting::Image);
    damage(&case.options.out);
    assert_eq!(values(&image(&prepared(&case).unwrap(), &["train-000003"])), first);
    let protocol = fs::read_to_string(case.dir.path().join("small.toml")).unwrap();
    fs::write(case.dir.path().join("small.toml"), protocol.replace("small", "other")).unwrap();
    case.options.out = case.dir.path().join("other");
    build(&case.options).unwrap();
    damage(&case.options.out);
    assert_eq!(values(&image(&prepared(&case).unwrap(), &["train-000003"])), first);
    assert_eq!(fs::read_dir(case.cache()).unwrap().count(), 1);
    // Another picture is another file.
    picture(&case.raw("img_org/train/train_3.png"), 7);
    case.options.force = true;
    assert_eq!(values(&image(&case.open(VisualSetting::Image).unwrap(), &["train-000003"]))[0], red(7));
    assert_eq!(fs::read_dir(case.cache()).unwrap().count(), 2);
}

/// Crops of the first row of the training split alone.
fn with_crops() -> PictureCase {
    let case = PictureCase::new();
    dictionary(&case.raw("mre_train_dict.pth"), &[("0", &["a.png"])]);
    dictionary(&case.raw("train_img2crop.pth"), &[]);
    picture(&case.raw("img_vg/train/crops/a.png"), 10);
    case
}

#[test]
fn crops_are_picked_where_there_are_some() {
    for (mut case, form) in [(PictureCase::new(), Visual::Image), (with_crops(), Visual::Crops)] {
        case.options.force = true;
        for visual in [VisualSetting::Auto, VisualSetting::Blank, VisualSetting::Shuffled] {
            assert_eq!(case.open(visual).unwrap().form(), form, "{visual:?}");
        }
    }
    // Named, but no file came with the corpus: pictures are better than stand-ins of crops.
    let case = with_crops();
    fs::remove_dir_all(case.raw("img_vg")).unwrap();
    assert_eq!(case.open(VisualSetting::Auto).unwrap().form(), Visual::Image);
}

#[test]
fn blank_pictures_are_zeros_and_nothing_is_decoded_for_them() {
    let rows = ["train-000000", "test-000001"].map(example);
    let rows = [&rows[0], &rows[1]];
    for case in [PictureCase::new(), with_crops()] {
        let pictures = case.open(VisualSetting::Blank).unwrap();
        assert_eq!((pictures.real(), pictures.stand_ins(), pictures.stand_in_rows()), (0, 0, 0));
        let (shown, shapes) = match pictures.pixels(&rows, &Device::Cpu).unwrap() {
            Pixels::Image(image) => (values(&image), vec![image.dims().to_vec()]),
            Pixels::Crops { grounding, detected } => {
                let shapes = vec![grounding.dims().to_vec(), detected.dims().to_vec()];
                ([values(&grounding), values(&detected)].concat(), shapes)
            }
        };
        let wanted = match pictures.form() {
            Visual::Image => vec![vec![2, 3, 8, 8]],
            Visual::Crops => vec![vec![2, 3, 3, 128, 128], vec![2, 3, 3, 64, 64]],
        };
        assert_eq!(shapes, wanted);
        assert!(shown.iter().all(|value| *value == 0.0));
        assert!(!case.cache().exists(), "pictures nobody looks at were decoded");
    }
}

#[test]
fn shuffled_rows_see_another_picture_of_their_split_out_of_the_same_cache() {
    let mut case = PictureCase::new();
    fs::remove_file(case.raw("img_org/train/train_2.png")).unwrap();
    case.options.force = true;
    let own = case.open(VisualSetting::Image).unwrap();
    let shuffled = case.reopen(VisualSetting::Shuffled).unwrap();
    assert_eq!((shuffled.real(), shuffled.stand_ins(), shuffled.stand_in_rows()), (11, 1, 1));
    assert_eq!(fs::read_dir(case.cache()).unwrap().count(), 1);
    for split in Split::ALL.map(Split::name) {
        let ids = [0, 1, 2, 3].map(|row| format!("{split}-00000{row}"));
        let ids = [0, 1, 2, 3].map(|row| ids[row].as_str());
        let shown = |pictures: &Pictures| [0, 1, 2, 3].map(|row| values(&image(pictures, &ids).get(row).unwrap()));
        let own = shown(&own);
        let other = shown(&shuffled);
        assert!(own.iter().zip(&other).all(|(own, other)| own != other), "{split}: a row sees its own picture");
        assert!(own.iter().all(|picture| other.contains(picture)), "{split}: a picture is shown to nobody");
    }
    assert_eq!(image(&shuffled, &["train-000001"]).dims(), [1, 3, 8, 8]);
}

#[test]
fn shuffled_rows_take_both_kinds_of_crops_from_one_row() {
    let case = with_crops();
    dictionary(&case.raw("train_img2crop.pth"), &[("train_0", &["w.png"])]);
    picture(&case.raw("img_detect/train/w.png"), 20);
    let pictures = case.open(VisualSetting::Shuffled).unwrap();
    let rows = [0, 1, 2, 3].map(|row| example(&format!("train-00000{row}")));
    let pixels = pictures.pixels(&rows.iter().collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let Pixels::Crops { grounding, detected } = pixels else { panic!("wanted crops") };
    let sees = |tensor: &Tensor, row: usize| values(&tensor.get(row).unwrap()).iter().any(|value| *value != 0.0);
    let looking: Vec<usize> = (0..4).filter(|row| sees(&grounding, *row)).collect();
    assert!(looking.len() == 1 && looking[0] != 0, "{looking:?} see the crop of row 0");
    assert!((0..4).all(|row| sees(&detected, row) == sees(&grounding, row)));
}

/// Runs of all versions see the same stand-ins.
#[test]
fn a_stand_in_has_squares_of_colours_that_follow_from_its_name() {
    for side in [1, 8, 32, 100, 224] {
        let planes = stand_in("train/a.png", side);
        let mut random = ChaCha8Rng::from_seed(Sha256::digest("train/a.png").into());
        let colours: Vec<u8> = (0..3 * SQUARES * SQUARES).map(|_| random.next_u32() as u8).collect();
        let square = |at: usize| at * SQUARES / side;
        for (at, byte) in planes.iter().enumerate() {
            let (channel, line, across) = (at / side / side, at / side % side, at % side);
            assert_eq!(*byte, colours[(channel * SQUARES + square(line)) * SQUARES + square(across)]);
        }
        assert_eq!(planes.len(), 3 * side * side);
    }
}

/// A GPU gets bytes; here the CPU takes them.
#[test]
fn pixels_normalised_on_the_device_are_the_same() {
    let case = with_crops();
    dictionary(&case.raw("mre_train_dict.pth"), &[("0", &["a.png", "gone.png"])]);
    let pictures = case.open(VisualSetting::Crops).unwrap();
    for album in pictures.albums() {
        let ids = ["train-000000", "test-000000"];
        let (here, there) =
            (album.pixels(&ids, &Device::Cpu).unwrap(), album.pixels_there(&ids, &Device::Cpu).unwrap());
        assert_eq!(here.dims(), there.dims());
        assert!(values(&here).iter().zip(values(&there)).all(|(here, there)| (here - there).abs() < 1e-6));
    }
}
