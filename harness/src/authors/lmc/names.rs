//! The authors' names and layouts of parameters, and ours.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mkgc_builder::corpus::Extraction;

use crate::authors::AuthorsCase;

/// Tables of crop positions; ours is one after the other.
const CROPS: [&str; 2] =
    ["model.vision_embeddings.aux_position_embedding.weight", "model.vision_embeddings.rcnn_position_embedding.weight"];

/// Columns [vision | text]; ours are [text | vision].
const HEAD: &str = "model.cat_classifier.dense.weight";

/// Beginnings of names; the first that fits holds.
const BEGINNINGS: [(&str, &str); 9] = [
    ("model.vision_embeddings.", "vision_model.embeddings."),
    ("model.vision_", "vision_model."),
    ("model.text_embeddings.", "embeddings."),
    ("model.encoder.vision_layers.", "vision_model.encoder.layers."),
    ("model.encoder.text_layer.", "encoder.layer."),
    ("crf.", "head.crf."),
    ("share.key.", "shared.key."),
    ("share.text_bias.", "text.position_bias."),
    ("share.vision_bias.", "vision.position_bias."),
];

fn ours(name: &str, kind: Extraction) -> String {
    if CROPS.contains(&name) {
        return "vision.crop_positions.weight".to_owned();
    }
    if let Some(part) = name.strip_prefix("model.cat_classifier.dense.") {
        return format!("head.{}.{part}", if kind == Extraction::Relations { "classifier" } else { "emission" });
    }
    let renamed = |(theirs, ours): (&str, &str)| Some(format!("{ours}{}", name.strip_prefix(theirs)?));
    BEGINNINGS.into_iter().find_map(renamed).unwrap_or_else(|| panic!("`{name}` is not known"))
}

/// Either layout of the head's weight from the other.
fn swapped(weight: &Tensor) -> Tensor {
    let half = weight.dim(1).unwrap() / 2;
    Tensor::cat(&[weight.narrow(1, half, half).unwrap(), weight.narrow(1, 0, half).unwrap()], 1).unwrap()
}

/// A stored parameter, gradient or final value in full, by the parameter's name.
pub fn stored<'a>(case: &AuthorsCase, name: &'a str, tensor: &Tensor) -> (&'a str, Tensor) {
    match name.strip_suffix(".blocks") {
        Some(name) => (name, case.unblocked(tensor)),
        None => (name, tensor.clone()),
    }
}

/// All weights below `w.`, by our names and in our layout.
pub fn values(case: &AuthorsCase, kind: Extraction) -> BTreeMap<String, Tensor> {
    let mut values = BTreeMap::new();
    for (name, tensor) in case.below("w.") {
        let (name, tensor) = stored(case, name, tensor);
        if name.contains("post_layernorm") || CROPS.contains(&name) {
            continue;
        }
        let tensor = match name {
            HEAD => swapped(&tensor),
            _ if name.starts_with("share.key.") => tensor.squeeze(3).unwrap().squeeze(0).unwrap(),
            _ => tensor,
        };
        values.insert(ours(name, kind), tensor);
    }
    let crops = CROPS.map(|name| case.tensor(&format!("w.{name}")));
    values.insert(ours(CROPS[0], kind), Tensor::cat(&crops, 0).unwrap());
    values
}

/// What ours says of one of the authors' parameters, in their layout.
pub fn theirs(case: &AuthorsCase, kind: Extraction, name: &str, values: &BTreeMap<String, Tensor>) -> Tensor {
    let name_of_ours = ours(name, kind);
    let value = values.get(&name_of_ours).unwrap_or_else(|| panic!("no `{name_of_ours}`"));
    let first = || case.tensor(&format!("w.{}", CROPS[0])).dim(0).unwrap();
    match name {
        HEAD => swapped(value),
        _ if name == CROPS[0] => value.narrow(0, 0, first()).unwrap(),
        _ if name == CROPS[1] => value.narrow(0, first(), value.dim(0).unwrap() - first()).unwrap(),
        _ => value.clone(),
    }
}
