//! Messages of methods to `mkgc stream`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::seed;
use mkgc_harness::stream::message::ClientRequest;

const SEEDS: [&str; 4] = [
    r#"{"type": "next"}"#,
    r#"{"type": "remember", "rows": ["train-1", {"id": "train-2", "task": 0}], "replace": true}"#,
    r#"{"type": "test"}"#,
    r#"{"type": "predict", "predictions": ["a", 1, ["O", "B-A"]], "scores": [[0.5, null], null]}"#,
];

fuzz_target!(init: seed(SEEDS), |data: &[u8]| {
    let Ok(line) = std::str::from_utf8(data) else { return };
    if let Err(message) = ClientRequest::parse(line) {
        // The message goes back to the method as one line, so it must not repeat a long one.
        assert!(message.len() < 2000, "{message}");
    }
});
