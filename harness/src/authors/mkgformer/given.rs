//! What a case of MKGformer gives, in our terms: names of variables, shapes, weights, rows.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::encoders::{BertConfig, ClipVisionConfig};
use serde_json::Value;

use crate::authors::{AuthorsCase, example, integer};
use crate::data::Example;

/// The name here of one of the authors' variables. Both tables of crop positions are parts of one.
pub fn renamed(theirs: &str) -> String {
    let name = theirs.strip_suffix(".blocks").unwrap_or(theirs);
    let name = name.strip_prefix("model.").unwrap_or(name);
    if name.ends_with("aux_position_embedding.weight") || name.ends_with("rcnn_position_embedding.weight") {
        return "vision.crop_positions.weight".to_owned();
    }
    if let Some((layer, part)) =
        name.strip_prefix("encoder.text_layer.").and_then(|rest| rest.split_once(".intermediate.fusion_dense."))
    {
        return format!("text.fusion.{layer}.{part}");
    }
    let families = [
        ("encoder.text_layer.", "encoder.layer."),
        ("encoder.vision_layers.", "vision_model.encoder.layers."),
        ("text_embeddings.", "embeddings."),
        ("vision_embeddings.", "vision_model.embeddings."),
        ("vision_", "vision_model."),
        ("classifier.", "head.classifier."),
        ("fc.", "head.emission."),
        ("crf.", "head.crf."),
    ];
    let family = families.iter().find_map(|(theirs, ours)| Some((ours, name.strip_prefix(theirs)?)));
    let (ours, rest) = family.unwrap_or_else(|| panic!("`{theirs}` is of no known part of the network"));
    format!("{ours}{rest}")
}

/// A number of a description.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The rate of the head: that of the group with the CRF; 0 where the head is in no group.
pub fn head_rate(case: &AuthorsCase) -> f64 {
    let groups = case.json["parameter_groups"].as_array().unwrap();
    let of_head = |group: &&Value| group["members"].as_str().unwrap().contains("crf.");
    groups.iter().find(of_head).map_or(0.0, |group| number(&group["initial lr"]))
}

/// Shapes of both streams, with this many layers.
pub fn shapes(case: &AuthorsCase, layers: usize) -> (BertConfig, Option<ClipVisionConfig>) {
    let config = &case.json["config"];
    let act = |key: &str| config[key].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let types = case.tensor("w.model.text_embeddings.token_type_embeddings.weight").dim(0).unwrap();
    let text = BertConfig {
        vocab_size: case.size("vocab"),
        hidden_size: case.size("hidden"),
        num_hidden_layers: layers,
        num_attention_heads: case.size("heads"),
        intermediate_size: case.size("text_intermediate"),
        hidden_act: act("text_act"),
        hidden_dropout_prob: number(&config["dropout"]),
        attention_probs_dropout_prob: number(&config["dropout"]),
        max_position_embeddings: case.size("max_position_embeddings"),
        type_vocab_size: types,
        layer_norm_eps: number(&config["text_layer_norm_eps"]),
        ..BertConfig::default()
    };
    let vision = ClipVisionConfig {
        hidden_size: case.size("hidden"),
        intermediate_size: case.size("vision_intermediate"),
        num_hidden_layers: layers,
        num_attention_heads: case.size("heads"),
        patch_size: case.size("patch"),
        hidden_act: act("vision_act"),
        layer_norm_eps: number(&config["vision_layer_norm_eps"]),
        ..ClipVisionConfig::default()
    };
    (text, Some(vision))
}

/// The authors' weights by our names.
pub fn weights(case: &AuthorsCase) -> BTreeMap<String, Tensor> {
    let mut values: BTreeMap<String, Tensor> = BTreeMap::new();
    // In the order of names, so the positions of grounding crops (`aux`) come before those of detected ones (`rcnn`).
    for (name, value) in case.below("w.") {
        let value = if name.ends_with(".blocks") { case.unblocked(value) } else { value.clone() };
        let value = match values.remove(&renamed(name)) {
            Some(before) => Tensor::cat(&[before, value], 0).unwrap(),
            None => value,
        };
        values.insert(renamed(name), value);
    }
    values
}

/// The pool's rows: relations with their opening markers as anchors, sentences with every piece as one.
pub fn pool(case: &AuthorsCase, kind: Extraction) -> Vec<Example> {
    let table = |name: &str| case.tensor(name).to_dtype(DType::U32).unwrap();
    let ids = table("in.ids").to_vec2::<u32>().unwrap();
    let mask = table("in.mask").to_vec2::<u32>().unwrap();
    let row = |(row, (ids, mask)): (usize, (Vec<u32>, Vec<u32>))| {
        let ids: Vec<u32> = ids[..mask.iter().sum::<u32>() as usize].to_vec();
        let labels = table("in.labels").get(row).unwrap().flatten_all().unwrap().to_vec1::<u32>().unwrap();
        let marker = |key: &str| {
            ids.iter().position(|id| *id as usize == integer(&case.json["config"][key], key)).unwrap() as u32
        };
        let anchors = match kind {
            Extraction::Relations => vec![marker("head_marker_id"), marker("tail_marker_id")],
            Extraction::Entities => (0..ids.len() as u32).collect(),
        };
        let gold = if kind == Extraction::Relations { labels } else { labels[..ids.len()].to_vec() };
        example(row, ids, anchors, gold)
    };
    ids.into_iter().zip(mask).enumerate().map(row).collect()
}
