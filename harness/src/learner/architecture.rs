//! The kinds of networks that methods train: BERT alone, two streams side by side, or MKGformer.

/// Which network a method has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// BERT alone, which sees no pictures.
    Text,
    /// BERT and CLIP side by side, joined in the head; LMC's shared keys where the settings ask for them.
    Dual,
    /// MKGformer: the streams read each other in their upper layers.
    Mkgformer,
}

impl Architecture {
    /// Returns the keys of the settings that every method with this network reads because of it.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Text => &[],
            Self::Dual => &["visual"],
            Self::Mkgformer => &["visual", "interaction_layers", "mask_text_padding"],
        }
    }
}
