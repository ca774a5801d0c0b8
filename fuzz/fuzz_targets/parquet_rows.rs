//! Parquet files of a corpus, with the pictures that they contain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::format::from_table;
use mkgc_fuzz::{chosen, file, place, rows, seed};

const OPTIONS: [&str; 2] = [
    "relation = 'original'\nhead = ['head_start', 'head_end']\ntail = ['tail_start', 'tail_end']\nspan_end = 'exclusive'\nid = 'id'\nimage = 'image_id'",
    "tags = 'tags'\nimage = 'image'",
];

/// Returns the task files of two benchmarks, which are Parquet.
fn seeds() -> Vec<Vec<u8>> {
    let bytes = |entities: bool| std::fs::read(place::benchmark(entities).join("tasks/task_00_test.parquet")).unwrap();
    vec![chosen(0, bytes(false)), chosen(1, bytes(true))]
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    rows::parse("parquet", &OPTIONS, data);
    let path = file("a.parquet", data.get(1..).unwrap_or_default());
    let choice = from_table("parquet", toml::from_str(OPTIONS[1]).unwrap()).unwrap();
    if let Ok(Some(pictures)) = choice.format.pictures(&path) {
        // A file that cannot be read on says so for ever.
        pictures.take(1000).take_while(Result::is_ok).for_each(drop);
    }
});
