//! Dictionaries of crops: zip archives of a pickle.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use mkgc_builder::images::Crops;
use mkgc_fuzz::{choose, chosen, file, seed};
use zip::CompressionMethod::Stored;
use zip::write::SimpleFileOptions;

/// Puts a pickle into an archive, so that its checksum is right.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("archive/data.pkl", SimpleFileOptions::default().compression_method(Stored)).unwrap();
    zip.write_all(pickle).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Pickles as protocol 2 writes them: `{3: ['a.png']}` and `{'x.jpg': ['a.png', 'b.png']}`.
const PICKLES: [&[u8]; 2] = [
    b"\x80\x02}q\x00K\x03]q\x01X\x05\x00\x00\x00a.pngq\x02as.",
    b"\x80\x02}q\x00X\x05\x00\x00\x00x.jpgq\x01]q\x02(X\x05\x00\x00\x00a.pngq\x03X\x05\x00\x00\x00b.pngq\x04es.",
];

fn seeds() -> Vec<Vec<u8>> {
    PICKLES.iter().flat_map(|pickle| [chosen(1, pickle), chosen(0, archive(pickle))]).collect()
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 2) else { return };
    let path = if way == 0 { file("a.pth", bytes) } else { file("a.pth", &archive(bytes)) };
    match Crops::read(&path, 8) {
        Ok(crops) => drop((0..8).map(|row| crops.names(row, "x.jpg").len()).sum::<usize>()),
        Err(error) => assert!(error.to_string().contains("a.pth"), "{error}"),
    }
});
