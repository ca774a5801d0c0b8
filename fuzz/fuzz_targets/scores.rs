//! Metrics of stored predictions with any label ids and scores.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{folder, place, seed};
use mkgc_harness::metrics::score::score_run;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{PredictionRow, read, write};

fn label(data: &mut Unstructured<'_>) -> Result<u32> {
    // Most ids are those of labels.
    Ok(if data.ratio(1, 16)? { data.arbitrary()? } else { data.int_in_range(0..=5)? })
}

fn labels(data: &mut Unstructured<'_>) -> Result<Vec<u32>> {
    (0..data.int_in_range(0..=3)?).map(|_| label(data)).collect()
}

fn row(data: &mut Unstructured<'_>) -> Result<PredictionRow> {
    Ok(PredictionRow {
        id: data.int_in_range(0..=3)?.to_string(),
        owner: if data.arbitrary()? { Some(data.int_in_range(0..=3)?) } else { None },
        gold: labels(data)?,
        predicted: labels(data)?,
        scores: (0..data.int_in_range(0..=4)?).map(|_| data.arbitrary()).collect::<Result<_>>()?,
        text: if data.ratio(1, 4)? { labels(data)? } else { Vec::new() },
        vision: if data.ratio(1, 4)? { labels(data)? } else { Vec::new() },
    })
}

fuzz_target!(init: {
    place::run(false);
    place::run(true);
    seed([[0_u8, 1, 2, 3].repeat(40), [7_u8, 1, 0, 9, 200].repeat(50)]);
}, |data: &[u8]| {
    let mut data = Unstructured::new(data);
    for name in ["run-relations", "run-entities"] {
        let run = RunFolder::new(&folder().join(name));
        let rows: Result<Vec<PredictionRow>> = (0..data.int_in_range(0..=4).unwrap_or(0)).map(|_| row(&mut data)).collect();
        let Ok(rows) = rows else { return };
        write(&run.predictions(1), &rows).unwrap();
        assert_eq!(read(&run.predictions(1)).unwrap().len(), rows.len());
        let _ = score_run(&run).map_err(|error| error.to_string());
    }
});
