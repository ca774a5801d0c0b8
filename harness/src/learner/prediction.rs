//! What a network predicts for one row.

/// What the network predicts for one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// RE one relation id; NER one tag id per anchor.
    pub labels: Vec<u32>,
    /// RE one logit per label, minus infinity for labels not seen; NER empty (a CRF scores paths, not tags).
    pub scores: Vec<f32>,
}

/// What the network predicts for one row and, with two streams, what each half of its head predicts alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Prediction of the whole head.
    pub joint: Prediction,
    /// Labels that the text half predicts, as in [`Prediction::labels`]; empty for networks of one stream.
    pub text: Vec<u32>,
    /// Labels that the vision half predicts, as in [`Prediction::labels`]; empty for networks of one stream.
    pub vision: Vec<u32>,
}

impl From<Prediction> for Answer {
    fn from(joint: Prediction) -> Self {
        Self { joint, text: Vec::new(), vision: Vec::new() }
    }
}
