"""The networks of every method: BERT and CLIP layers of transformers and how the streams join; heads are in heads.py.

Names of parameters are those of the variables of mkgc, so a strict `load_state_dict` proves that every variable of a
file is used and every parameter is filled. Shapes: B rows, T word pieces, V visual tokens, W words (NER), H hidden
size, h heads, d head size, L labels.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

from heads import Class, Entity, JointEntity, JointMarker, JointRelation, Marker, Relation

TEXT_METHODS = ("vanilla", "emr", "joint", "emar-bert", "rp-cre", "ewc", "fea", "seq-star")
DUAL_METHODS = ("concat", "concat-replay", "lmc", "lmc-released", "lmc-replay", "joint-multimodal")
MKGFORMER_METHODS = ("mkgformer", "mkgformer-replay")


@dataclass
class Batch:
    """Rows padded to the longest one. `gold` is `[B]` for RE and `[B, W]` for NER, -1 where a tag is unknown."""

    ids: torch.Tensor  # [B, T]
    real: torch.Tensor  # [B, T] bool
    anchors: torch.Tensor  # [B, 2] opening markers (RE), [B, W] first pieces (NER)
    words: torch.Tensor | None  # [B, W] bool (NER)
    gold: torch.Tensor
    pixels: torch.Tensor | None  # [B, 3, S, S]

    def items(self):
        """Where an item has a known label: rows (RE) or words (NER)."""
        return self.gold >= 0 if self.words is None else (self.gold >= 0) & self.words


def collate(rows, kind, pad, image):
    """`image(row)` gives the pixels of a row, or `image` is None."""

    def padded(key, value):
        return pad_sequence([torch.tensor(row[key]) for row in rows], batch_first=True, padding_value=value)

    ids, anchors, gold = padded("ids", pad), padded("anchors", 0), padded("gold", -1)
    lengths = torch.tensor([len(row["ids"]) for row in rows])
    words = None
    if kind == "ner":
        assert all(len(row["gold"]) == len(row["anchors"]) for row in rows)
        words = torch.arange(anchors.shape[1]) < torch.tensor([len(row["anchors"]) for row in rows])[:, None]
    return Batch(
        ids=ids,
        real=torch.arange(ids.shape[1]) < lengths[:, None],
        anchors=anchors,
        words=words,
        gold=gold[:, 0] if kind == "re" else gold,
        pixels=torch.stack([image(row) for row in rows]) if image else None,
    )


@dataclass
class Encoded:
    """Last states, and the attention logits (with position bias, without mask) of the layers joined by `lmc`."""

    text: torch.Tensor  # [B, T, H]
    vision: torch.Tensor | None = None  # [B, H]: class token as the layers leave it
    positions: torch.Tensor | None = None  # [P, H]: the text's own position embeddings
    text_maps: tuple = ()  # of [B, h, T, T]
    vision_maps: tuple = ()  # of [B, h, V, V]


def attention(module, query, key, value, mask, scaling, dropout=0.0, **_):
    """Attention of one layer, for transformers' layers; keeps the logits, keys and values for the other stream.

    `bias`: (B, inside) of a layer with a shared key, `q kᵀ/√d + B`, or `(q kᵀ + B)/√d` if inside. `prefix`: keys and
    values of MKGformer's text layer, put before the layer's own, and their additive mask.
    """
    module.keys, module.values = key, value
    prefix = getattr(module, "prefix", None)
    if prefix:
        key, value = torch.cat([prefix[0], key], 2), torch.cat([prefix[1], value], 2)
        own = torch.zeros(len(query), 1, 1, query.shape[2], dtype=query.dtype)
        mask = torch.cat([prefix[2], own], 3)
    logits = query @ key.transpose(2, 3)
    if hasattr(module, "bias"):
        parameter, inside = module.bias
        bias = parameter[0][:, : query.shape[2], : query.shape[2]]
        logits = (logits + bias) * scaling if inside else logits * scaling + bias
    else:
        logits = logits * scaling
    module.logits = logits
    weights = torch.softmax(logits if mask is None else logits + mask, -1)
    return (functional.dropout(weights, dropout) @ value).transpose(1, 2), weights


AttentionInterface.register("logits", attention)


def keep_logits(layers, count):
    """Lets the last `count` attention modules of a stream keep their logits; the others use SDPA."""
    for n, layer in enumerate(layers):
        layer.config = copy.copy(layer.config)
        layer.config._attn_implementation = "logits" if n >= len(layers) - count else "sdpa"


class SharedKey(nn.Module):
    """Stands where a layer's key projection stood: the key does not depend on the states.

    Matrix `[h, N, d]`: the first rows, one per position. Vector `[h, d]`: the same one at every position.
    """

    def __init__(self, parameter):
        super().__init__()
        self.parameter = [parameter]  # in a list, so that it is registered once, as `shared.key.N`

    def forward(self, states):
        rows, length, _ = states.shape
        key = self.parameter[0]
        by_position = key[:, :length].transpose(0, 1) if key.dim() == 3 else key.expand(length, *key.shape)
        return by_position.flatten(1).expand(rows, -1, -1)


class Parameters(nn.Module):
    """A named place for parameters and modules."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


class Network(nn.Module):
    """Text stream, vision stream if the method has one, and head. `joined`: how many upper layers share keys."""

    def __init__(self, case):
        super().__init__()
        method, config, kind = case["method"], case["config"], case["kind"]
        assert method in TEXT_METHODS + DUAL_METHODS + MKGFORMER_METHODS, f"unknown method {method}"
        self.joined, self.interacting = 0, 0
        bert = BertModel(_config(BertConfig, case["text"]), add_pooling_layer=False)
        self.embeddings, self.encoder = bert.embeddings, bert.encoder
        hidden, labels = bert.config.hidden_size, len(case["labels"])
        if method not in TEXT_METHODS:
            assert config.get("visual", "image") in ("auto", "image"), "only whole images, no crops"
            self.vision_model = CLIPVisionModel(_config(CLIPVisionConfig, case["vision"]))
            self.vision_model.post_layernorm = nn.Identity()
        if method in ("lmc", "lmc-released"):
            self._join(config)
        if method in MKGFORMER_METHODS:
            self._interact(config, bert.config)
        self.head = _head(method, kind, hidden, labels, config)
        self.eval()  # there is no dropout in a trajectory, whatever the encoder's configuration says

    def _pairs(self, count):
        """The last `count` layers of both streams: (index in text, text layer, index in vision, vision layer)."""
        text, vision = list(enumerate(self.encoder.layer)), list(enumerate(self.vision_model.encoder.layers))
        assert count <= min(len(text), len(vision))
        return [(*a, *b) for a, b in zip(text[len(text) - count :], vision[len(vision) - count :])]

    def _join(self, config):
        """LMC: shared keys and position biases in the last `shared_layers` layers, unless each stream keeps its own."""
        self.joined, form = config["shared_layers"], config["key"]
        assert form in ("own", "matrix", "vector", "released"), f"unknown key {form}"
        if form == "own":
            return
        shared, text_biases, vision_biases = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        text_length, vision_length = config["max_length"], self.vision_model.embeddings.num_positions
        for text_index, text_layer, vision_index, vision_layer in self._pairs(self.joined):
            text, vision = text_layer.attention.self, vision_layer.self_attn
            heads, size = text.num_attention_heads, text.attention_head_size
            positions = (max(text_length, vision_length),) if form == "matrix" else ()
            key = shared[str(text_index)] = nn.Parameter(torch.empty(heads, *positions, size))
            text.key, vision.k_proj = SharedKey(key), SharedKey(key)
            biases = [nn.Parameter(torch.empty(heads, n, n)) for n in (text_length, vision_length)]
            text_biases[str(text_index)], vision_biases[str(vision_index)] = biases
            text.bias, vision.bias = ([biases[0]], form == "released"), ([biases[1]], False)
        self.shared = Parameters(key=shared)
        self.text, self.vision = Parameters(position_bias=text_biases), Parameters(position_bias=vision_biases)

    def _interact(self, config, bert):
        """MKGformer: W3 for the last `interaction_layers` layers."""
        self.interacting, self.mask_prefix = config["interaction_layers"], config["mask_text_padding"]
        layers = len(self.encoder.layer)
        assert layers == len(self.vision_model.encoder.layers) and self.interacting < layers
        indices = range(layers - self.interacting, layers)
        fusion = nn.ModuleDict({str(n): nn.Linear(bert.hidden_size, bert.intermediate_size) for n in indices})
        self.text = Parameters(fusion=fusion)

    def forward(self, batch):
        text = self.embeddings(input_ids=batch.ids)
        mask = torch.zeros(batch.real.shape, dtype=text.dtype).masked_fill(~batch.real, torch.finfo(text.dtype).min)
        mask = mask[:, None, None]
        if not hasattr(self, "vision_model"):
            for layer in self.encoder.layer:
                text = layer(text, mask)
            return Encoded(text)
        vision = self.vision_model.pre_layrnorm(self.vision_model.embeddings(batch.pixels))
        if self.interacting:
            text, vision = self._interleaved(text, vision, mask)
        else:
            for layer in self.encoder.layer:
                text = layer(text, mask)
            for layer in self.vision_model.encoder.layers:
                vision = layer(vision, None)
        pairs = self._pairs(self.joined)
        return Encoded(
            text,
            self.vision_model.post_layernorm(vision[:, 0]),
            self.embeddings.position_embeddings.weight,
            tuple(layer.attention.self.logits for _, layer, _, _ in pairs),
            tuple(layer.self_attn.logits for _, _, _, layer in pairs),
        )

    def _interleaved(self, text, vision, mask):
        """MKGformer: vision layer n reads keys and values of text layer n-1; text layer n reads vision layer n."""
        text_layers, vision_layers = self.encoder.layer, self.vision_model.encoder.layers
        for n, (text_layer, vision_layer) in enumerate(zip(text_layers, vision_layers)):
            interacting = n >= len(text_layers) - self.interacting
            if interacting:
                below = text_layers[n - 1].attention.self
                prefix_mask = mask if self.mask_prefix else torch.zeros_like(mask)
                vision_layer.self_attn.prefix = (below.keys, below.values, prefix_mask)
            vision = vision_layer(vision, None)
            text = (
                fused(text_layer, self.text.fusion[str(n)], text, mask, vision)
                if interacting
                else text_layer(text, mask)
            )
        return text, vision


def fused(layer, linear, text, mask, vision):
    """A BERT layer that adds W₃F + b₃, F = softmax(context · visionᵀ) · vision, before the activation."""
    context, _ = layer.attention.self(text, mask)
    similar = torch.softmax(context @ vision.transpose(1, 2), -1) @ vision
    states = layer.attention.output(context, text)
    inner = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(states) + linear(similar))
    return layer.output(inner, states)


def _head(method, kind, hidden, labels, config):
    """The head for a kind of task; of relations, also for what `config["head"]` says that it reads."""
    joint = method in DUAL_METHODS
    if kind == "ner":
        return JointEntity(hidden, labels) if joint else Entity(hidden, labels)
    if config.get("head", "cls" if joint else "markers") == "cls":
        return JointRelation(hidden, labels) if joint else Class(hidden, labels)
    if joint:
        return JointMarker(hidden, labels)
    return Marker(hidden, labels) if method in MKGFORMER_METHODS else Relation(hidden, labels)


def _config(kind, values):
    config = kind.from_dict(values)
    config._attn_implementation = "logits"
    return config
