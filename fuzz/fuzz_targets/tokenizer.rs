//! `tokenizer.json` of encoders, with sentences that are split by it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::guarded::guarded;
use mkgc_fuzz::{file, seed};
use mkgc_models::text::WordTokenizer;

const WORDPIECE: &str = r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5}}}"###;
const BPE: &str = r###"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}, "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}, "added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "a"}]}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}, "post_processor": null, "decoder": null, "model": {"type": "BPE", "dropout": null, "unk_token": "[UNK]", "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "ab": 6}, "merges": ["a b"]}}"###;

fuzz_target!(init: seed([WORDPIECE, BPE]), |data: &[u8]| {
    // The library panics at odd files and patterns, for which the harness calls it like this.
    let path = file("tokenizer.json", data);
    let Some(Ok(tokenizer)) = guarded(|| WordTokenizer::from_file(&path)) else { return };
    let words = ["Ab", "aab", "", "é", "中"].map(str::to_owned);
    guarded(|| drop(tokenizer.relation(&words, (0, 1), (2, 4), 12).map_err(|error| error.to_string())));
    guarded(|| drop(tokenizer.sentence(&words, 12).map_err(|error| error.to_string())));
    assert!(tokenizer.base_size() <= tokenizer.vocab_size());
});
