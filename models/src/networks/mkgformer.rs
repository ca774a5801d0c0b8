//! MKGformer (Chen et al., SIGIR 2022): text (BERT) and vision (CLIP) interact in their last `interaction_layers`
//! layers.
//!
//! In interacting layer l, the vision stream runs first:
//! - prefix-guided interaction: keys and values of text layer l-1 go before those of the vision layer, per head:
//!   `softmax(Qᵛ [Kᵗ; Kᵛ]ᵀ/√d) [Vᵗ; Vᵛ]`;
//! - correlation-aware fusion: with T the context of the text's attention (heads merged, before its output projection)
//!   and V the states of vision layer l, `F = softmax(T Vᵀ) V` (not scaled), and the feed-forward part of the text
//!   layer becomes `W₂ act(W₁ x + b₁ + W₃ F + b₃) + b₂`.
//!
//! Forward values, gradients and steps equal those of the released code (zjunlp/MKGformer). That code differs from its
//! paper or from other programs in five ways; this module follows it in all but the first:
//! - Vision attends to the padding of the text. Here this is a setting, `mask_text_padding`, and the padding is masked
//!   by default, because otherwise a row's prediction depends on the length of the other rows in its batch (in the
//!   released code, on `max_seq`).
//! - Word embeddings have `padding_idx` 0, so the padding row gets no gradient, only weight decay. BERT in transformers
//!   does the same ([`BertConfig::pad_token_id`]).
//! - Fusion scores are not scaled by 1/√H. The paper's formula has no factor either.
//! - Fusion reads all visual tokens, including those of absent (zero) crops.
//! - The vision states are read before `post_layernorm`, so this network has no such norm.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::encoded::Encoded;
use crate::encoders::{Bert, BertConfig, ClipVision, ClipVisionConfig, states_at};
use crate::init::normal_linear;
use crate::inputs::{Inputs, Visual};
use crate::mode::Mode;
use crate::ops::{self, Linear};

/// The shape of a [`Mkgformer`].
#[derive(Debug, Clone)]
pub struct MkgformerConfig {
    /// Shape of the text stream.
    pub text: BertConfig,
    /// Shape of the vision stream, with as many layers and heads as the text, and states of the same size.
    pub vision: ClipVisionConfig,
    /// What the vision stream sees.
    pub visual: Visual,
    /// Number of layers at the end of the streams that interact.
    pub interaction_layers: usize,
    /// Whether vision ignores the padding of the text, which the published code does not do.
    pub mask_text_padding: bool,
}

impl MkgformerConfig {
    fn check(&self) -> Result<()> {
        let text = &self.text;
        let vision = &self.vision;
        let sizes = [
            ("num_hidden_layers", text.num_hidden_layers, vision.num_hidden_layers),
            ("num_attention_heads", text.num_attention_heads, vision.num_attention_heads),
            ("hidden_size", text.hidden_size, vision.hidden_size),
        ];
        if let Some((name, text, vision)) = sizes.into_iter().find(|(_, text, vision)| text != vision) {
            candle_core::bail!("MKGformer needs streams of the same {name}; text has {text}, vision {vision}");
        }
        // The first interacting vision layer reads the text layer below it.
        let count = self.interaction_layers;
        let layers = text.num_hidden_layers;
        if count >= layers {
            candle_core::bail!(
                "interaction_layers is {count}, but must be below num_hidden_layers, {layers}: lower it"
            );
        }
        Ok(())
    }
}

/// The map W₃ of an interacting layer.
struct Fusion(Linear);

impl Fusion {
    /// Returns `W₃ F + b₃` `[B, T, intermediate]` from `context` `[B, T, H]` and `vision` `[B, V, H]`.
    fn forward(&self, context: &Tensor, vision: &Tensor) -> Result<Tensor> {
        let similarity = ops::softmax(&context.matmul(&vision.transpose(1, 2)?.contiguous()?)?)?;
        self.0.forward(&similarity.matmul(vision)?)
    }
}

/// A network of two streams that interact.
pub struct Mkgformer {
    text: Bert,
    vision: ClipVision,
    fusion: Vec<Fusion>,
    mask_text_padding: bool,
}

impl Mkgformer {
    /// Creates the variables of [`Bert`] and of [`ClipVision`] without its `post_layernorm`, and
    /// `text.fusion.N.{weight,bias}` (W₃ of layer N).
    ///
    /// # Errors
    /// The streams cannot be combined, or stored tensors have other shapes.
    pub fn new(config: &MkgformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        config.check()?;
        let text = &config.text;
        let fusion = |layer: usize| {
            let vb = vb.pp(format!("text.fusion.{layer}"));
            Ok(Fusion(normal_linear(text.hidden_size, text.intermediate_size, text.initializer_range, vb)?))
        };
        let layers = text.num_hidden_layers;
        Ok(Self {
            text: Bert::new(text, vb.clone())?,
            vision: ClipVision::with_keys(&config.vision, config.visual, &[], 0, vb.clone())?,
            fusion: (layers - config.interaction_layers..layers).map(fusion).collect::<Result<_>>()?,
            mask_text_padding: config.mask_text_padding,
        })
    }

    /// Encodes a batch, without attention maps.
    ///
    /// # Errors
    /// An id is outside the vocabulary, a sequence is longer than the positions, or pixels are missing or have another
    /// layout.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, None, mode)
    }

    /// Encodes a batch, for a head that reads the positions `read` alone if there are some.
    pub(crate) fn encode(&self, inputs: &Inputs<'_>, read: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Encoded> {
        let padding = inputs.padding()?;
        let mut text = self.text.embeddings.forward(inputs.ids, mode)?.to_dtype(inputs.dtype)?;
        let mut vision = self.vision.embed(inputs.pixels()?, inputs.dtype)?;
        let prefix_padding = self.prefix_padding(&padding, &vision)?;
        let first = self.text.layers.len() - self.fusion.len();
        let mut below = None;
        for (n, (text_layer, vision_layer)) in self.text.layers.iter().zip(&self.vision.layers).enumerate() {
            let fusion = n.checked_sub(first).map(|n| &self.fusion[n]);
            let prefix = below.take().filter(|_| fusion.is_some());
            let prefix_padding = prefix.as_ref().and(prefix_padding.as_ref());
            (vision, _) = vision_layer.forward(&vision, prefix.as_ref(), prefix_padding, None, mode)?;
            if n + 1 < first {
                (text, _) = text_layer.forward(&text, None, Some(&padding), None, mode)?;
                continue;
            }
            let (states, revealed) = text_layer.attend(&text, Some(&padding), mode)?;
            let read = read.filter(|_| n + 1 == self.text.layers.len());
            let at = |states: Tensor| read.map_or(Ok(states.clone()), |read| states_at(&states, read));
            let (states, context) = (at(states)?, at(revealed.get(2)?)?);
            let extra = fusion.map(|fusion| fusion.forward(&context, &vision)).transpose()?;
            text = text_layer.feed_forward(&states, extra.as_ref(), mode)?;
            below = Some(revealed.narrow(0, 0, 2)?);
        }
        Ok(Encoded { text, vision: Some(vision), positions: None, text_maps: Vec::new(), vision_maps: Vec::new() })
    }

    /// Returns the padding of `[text; vision]` as vision layers see it, `[B, 1, 1, T + V]`.
    fn prefix_padding(&self, padding: &Tensor, vision: &Tensor) -> Result<Option<Tensor>> {
        let (rows, tokens, _) = vision.dims3()?;
        let none = Tensor::zeros((rows, 1, 1, tokens), padding.dtype(), padding.device())?;
        self.mask_text_padding.then(|| Tensor::cat(&[padding, &none], 3)).transpose()
    }
}
