//! The distillation (`distill.TEACHER.TYPE.PART`) for teachers whose keys and position biases differ from the student's.

use candle_core::Tensor;
use mkgc_models::inputs::Stream;
use mkgc_models::mode::Mode;

use super::{AuthorsLmc, names, pooling, shared_layers};
use crate::authors::{Errors, FORWARD};
use crate::config::Config;
use crate::data::Batch;
use crate::learner::Learner;
use crate::methods::lmc::Teacher;

pub fn check(lmc: &AuthorsLmc<'_>, errors: &mut Errors) {
    let student = lmc.learner();
    let batch = lmc.forward_batch();
    let forward = student.forward(&batch, &mut Mode::Eval).unwrap();
    let scores = student.scores(&forward.features).unwrap();
    let loss = scalar(&student.task_loss(&scores, &batch, &lmc.allowed()).unwrap());
    for (name, theirs) in lmc.case.below("distill.") {
        let [teacher, kind, part] = name.split('.').collect::<Vec<_>>()[..] else {
            panic!("distill.{name} is not known")
        };
        let teacher = show(&named(lmc, teacher), &lmc.config_with(kind), &[&batch]);
        let term = |stream| scalar(&teacher.term(stream, &forward, &batch).unwrap());
        let ours = match part {
            "text" => term(Stream::Text),
            "vision" => term(Stream::Vision),
            "total" => loss + lmc.config.lambda * (term(Stream::Text) + term(Stream::Vision)),
            _ => panic!("distill.{name} is not known"),
        };
        errors.number(
            &format!("distill.{name}"),
            ours,
            scalar(&theirs.flatten_all().unwrap().get(0).unwrap()),
            FORWARD,
        );
    }
}

impl AuthorsLmc<'_> {
    fn config_with(&self, kind: &str) -> Config {
        Config { pooling: pooling(kind), ..self.config.clone() }
    }
}

pub fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().unwrap())
}

/// A teacher that was shown these batches; padding counts, as the authors have it.
pub fn show(learner: &Learner, config: &Config, batches: &[&Batch<'_>]) -> Teacher {
    let mut teacher = Teacher::unshown(config);
    teacher.padding = true;
    for batch in batches {
        teacher.show(learner, batch).unwrap();
    }
    teacher
}

/// The network of a named teacher: `lowered` as the description of the cases defines it, others by their tensors.
fn named(lmc: &AuthorsLmc<'_>, name: &str) -> Learner {
    let learner = lmc.learner();
    let mut values = names::values(lmc.case, lmc.kind);
    for layer in shared_layers(lmc.case) {
        let [key, text, vision] =
            ["shared.key", "text.position_bias", "vision.position_bias"].map(|part| format!("{part}.{layer}"));
        let stored = |teacher: &str, part: &str| lmc.case.tensor(&format!("teacher.{teacher}.{part}.{layer}")).clone();
        if name == "lowered" {
            let shift = if lowered(lmc).contains(&layer) { -1.0 } else { 1.0 };
            let first = (values[&vision].narrow(0, 0, 1).unwrap() - 0.5).unwrap();
            let others = stored("perturbed", "vision_bias");
            let others = others.narrow(0, 1, others.dim(0).unwrap() - 1).unwrap();
            values.insert(vision, Tensor::cat(&[first, others], 0).unwrap());
            values.insert(text.clone(), (&values[&text] + shift).unwrap());
        } else {
            values.insert(key, stored(name, "key").squeeze(3).unwrap().squeeze(0).unwrap());
            values.insert(text, stored(name, "text_bias"));
            values.insert(vision, stored(name, "vision_bias"));
        }
    }
    learner.params().load(&values).unwrap();
    learner
}

/// Layers in which `lowered` has a smaller text bias; a larger one in the others.
fn lowered(lmc: &AuthorsLmc<'_>) -> Vec<usize> {
    let guide = lmc.case.json["how_to_read"]["teacher.perturbed.*"].as_str().unwrap();
    let (_, after) = guide.split_once("- 1 in layer").unwrap();
    let named = after.trim_start_matches('s').split(['+', ';']).next().unwrap();
    let numbers = named.split(|character: char| !character.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}
