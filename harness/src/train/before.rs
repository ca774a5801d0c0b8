//! What is checked of a run before its folder is made, as far as it can be known without training.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::request::Request;
use crate::config::Config;
use crate::console::{counted, note};
use crate::data::{Benchmark, Pictures};
use crate::error::{Error, Result};
use crate::learner::{LearnerSpec, TINY};
use crate::methods::Session;
use crate::methods::journal::Journal;
use crate::methods::trace::Trace;
use crate::run::log::Log;

/// Most names of tensors that a warning lists.
const SHOWN: usize = 3;

/// Makes the method once, which finds settings that no network of this shape, no such method and no such benchmark can
/// have. Warns of what is given and not used.
///
/// # Errors
/// The settings cannot be used.
pub(super) fn check(request: &Request, benchmark: &Benchmark, spec: &Rc<LearnerSpec>) -> Result<()> {
    let config = &request.settings.config;
    let method = &request.method;
    if method.reads().contains(&"epochs") {
        check_length(config, spec)?;
    }
    if !method.multimodal() && request.vision != TINY {
        note(format_args!("warning: --vision {} is not used: {} reads the text alone", request.vision, method.name));
    }
    if let Some(pictures) = &spec.pictures {
        warn_of_stand_ins(pictures);
    }
    let mut log = Log::silent("", benchmark.tasks(), 0, config.lr_encoder);
    let mut trace = Trace::default();
    let mut journal = Journal::default();
    let made = (method.create)(&mut Session {
        spec: Rc::clone(spec),
        config,
        benchmark,
        log: &mut log,
        trace: &mut trace,
        journal: &mut journal,
    })?;
    if let Some(learner) = made.learner() {
        warn_of_unused(learner.params().unused());
    }
    Ok(())
}

/// Warns of rows that show generated pictures, because the numbers of such a run say nothing about a method that sees
/// pictures.
fn warn_of_stand_ins(pictures: &Pictures) {
    let rows = pictures.stand_in_rows();
    if rows > 0 {
        let have = if rows == 1 { "has" } else { "have" };
        note(format_args!(
            "warning: {} {have} no usable picture; generated ones stand in, and reports list the run apart from the ranked \
             ones",
            counted(rows, "row")
        ));
    }
}

fn check_length(config: &Config, spec: &LearnerSpec) -> Result<()> {
    let positions = spec.encoder.positions();
    if config.max_length <= positions {
        return Ok(());
    }
    let reason = format!("is {}, but the text encoder has {positions} positions; give at most that", config.max_length);
    Err(Error::Config { key: "max_length".to_owned(), reason })
}

/// First parts of the names of tensors that published models hold besides what any network here reads.
const ELSEWHERE: &[&str] = &["pooler.", "cls.", "text_model.", "text_projection.", "visual_projection.", "logit_scale"];

/// Parts of the names of tensors that some networks leave out: fixed positions, CLIP's last norm, and the key projections
/// in whose place LMC has shared keys.
const LEFT_OUT: &[&str] = &["position_ids", "post_layernorm.", ".attention.self.key.", ".self_attn.k_proj."];

/// Returns whether a tensor that no variable takes says that weights and network do not belong together.
fn is_strange(name: &str) -> bool {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    !ELSEWHERE.iter().any(|first| name.starts_with(first)) && !LEFT_OUT.iter().any(|part| name.contains(part))
}

/// Warns of tensors in the files of weights that no variable takes.
fn warn_of_unused(unused: Vec<(PathBuf, String)>) {
    let mut by_file: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (path, name) in unused.into_iter().filter(|(_, name)| is_strange(name)) {
        by_file.entry(path).or_default().push(name);
    }
    for (path, names) in by_file {
        let count = names.len();
        let more = if count > SHOWN { ", …" } else { "" };
        let shown = names[..count.min(SHOWN)].join(", ");
        let path = path.display();
        note(format_args!(
            "warning: {path}: the network does not use {count} of its tensors: {shown}{more}; does config.json belong to it?"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::is_strange;

    #[test]
    fn what_every_published_model_has_besides_is_not_strange() {
        for name in [
            "bert.pooler.dense.weight",
            "cls.predictions.bias",
            "embeddings.position_ids",
            "vision_model.post_layernorm.bias",
            "text_model.encoder.layers.0.mlp.fc1.bias",
            "logit_scale",
        ] {
            assert!(!is_strange(name), "{name}");
        }
        for name in ["encoder.layer.6.output.dense.weight", "bert.encoder.layer.11.intermediate.dense.bias", "extra"] {
            assert!(is_strange(name), "{name}");
        }
    }
}
