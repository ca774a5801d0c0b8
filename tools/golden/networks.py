"""Golden vectors for models/tests/golden_vision.rs: values and gradients of two-stream networks and their heads.

    pip install -r tools/golden/models-requirements.txt
    python tools/golden/networks.py models/tests/golden

Ordinary layers are those of transformers (BertModel, CLIPVisionModel); what LMC (arXiv 2305.08698) and MKGformer (SIGIR
2022) change in a layer is written out here from their formulas. A tensor `grad.X` is the gradient of the loss by the
variable X, `weight.X` what the loss multiplies the output X by. Inputs are f32, sums run in f64, results are stored as
f32. Pixels of crops are `pattern`, which the test repeats.
"""

import math
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

from heads import class_head, joint_entity_head, joint_marker_head, joint_relation_head, marker_head, normal
from models import fill


def pattern(*shape):
    """Numbers in [-1, 1] that any language computes exactly: ((3 n² + 29 n) mod 257) / 128 - 1 of the flat index n."""
    n = torch.arange(math.prod(shape))
    return (((3 * n * n + 29 * n) % 257).double() / 128 - 1).reshape(shape)


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).movedim(-2, 1)


class Pair(nn.Module):
    """Both streams and the variables that they have beyond transformers'."""

    def __init__(self, generator, text, vision, crops=False, extra=(), dropped=()):
        super().__init__()
        text = BertConfig(vocab_size=20, max_position_embeddings=16, attn_implementation="eager", **text)
        self.text = BertModel(text, add_pooling_layer=False)
        self.vision = CLIPVisionModel(CLIPVisionConfig(attn_implementation="eager", **vision))
        self.crops, self.dropped = crops, dropped
        self.eval()
        fill(self.text, generator)
        fill(self.vision, generator)
        with torch.no_grad():
            for name, parameter in self.vision.named_parameters():
                if name.endswith(("layer_norm1.weight", "layer_norm2.weight")):
                    parameter.add_(1.0)
            self.vision.embeddings.patch_embedding.weight.mul_(0.25)
            # Softmax that is neither flat nor all on one key, also MKGformer's, which is not scaled.
            for name, parameter in self.named_parameters():
                if name.endswith(("query.weight", "q_proj.weight")):
                    parameter.mul_(0.25)
                if name.endswith(("self.value.weight", "out_proj.weight", "mlp.fc2.weight")):
                    parameter.mul_(0.3)
        self.double()
        # Every patch of a crop has a position; the class token has none.
        crop_positions = [("vision.crop_positions.weight", (60, vision["hidden_size"]))] if crops else []
        shapes = [*extra, *crop_positions]
        self.extra = {name: nn.Parameter(0.5 * normal(generator, *shape)) for name, shape in shapes}

    def variables(self):
        """Every variable of the network by its name; `dropped` ones have no counterpart."""
        named = dict(self.text.named_parameters()) | self.extra
        named |= {f"vision_model.{name}": parameter for name, parameter in self.vision.named_parameters()}
        if self.crops:
            del named["vision_model.embeddings.position_embedding.weight"]
        return {name: parameter for name, parameter in named.items() if name not in self.dropped}

    def embed_pixels(self, pixels):
        if not self.crops:
            tokens = self.vision.embeddings(pixels)
        else:
            # Every crop through the convolution on its own, its patches row by row.
            weight = self.vision.embeddings.patch_embedding.weight
            convolved = [functional.conv2d(crop, weight, stride=32) for kind in pixels for crop in kind.unbind(1)]
            patches = torch.cat([grid.flatten(2).mT for grid in convolved], 1)
            class_token = self.vision.embeddings.class_embedding.expand(len(pixels[0]), 1, -1)
            tokens = torch.cat([class_token, patches + self.extra["vision.crop_positions.weight"]], 1)
        return self.vision.pre_layrnorm(tokens)


def text_end(layer, x, context, extra=0.0):
    """A BERT layer after its attention."""
    x = layer.attention.output(context.movedim(1, -2).flatten(-2), x)
    wide = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(x) + extra)
    return layer.output(wide, x)


def vision_end(layer, x, context):
    """A CLIP layer after its attention."""
    x = x + layer.self_attn.out_proj(context.movedim(1, -2).flatten(-2))
    return x + layer.mlp(layer.layer_norm2(x))


def mix(logits, keep, values):
    """Softmax over the keys that `keep` [B, 1, 1, S] allows."""
    if keep is not None:
        logits = logits.masked_fill(~keep, -torch.inf)
    return torch.einsum("bhqs,bhsd->bhqd", logits.softmax(-1), values)


def logits_of(pair, key, query, own_keys, key_name, bias_name):
    """Attention logits of an LMC layer, [B, heads, L, L]; `query` and `own_keys` are [B, heads, L, d]."""
    root, length = math.sqrt(query.shape[-1]), query.shape[-2]
    if key == "own":
        return torch.einsum("bhqd,bhsd->bhqs", query, own_keys) / root
    bias, learned = pair.extra[bias_name][:, :length, :length], pair.extra[key_name]
    if key == "matrix":
        return torch.einsum("bhqd,hsd->bhqs", query, learned[:, :length]) / root + bias
    product = torch.einsum("bhqd,hd->bhq", query, learned)[..., None]
    if key == "released" and bias_name.startswith("text."):
        return (product + bias) / root
    return product / root + bias


def dual(pair, key, shared, ids, mask, pixels):
    """LMC's network: both streams, with the keys of the last `shared` layers as `key` says; no norm after the last layer."""
    keep = mask.bool()[:, None, None, :]
    text, vision = pair.text.embeddings(ids), pair.embed_pixels(pixels)
    text_layers, vision_layers = pair.text.encoder.layer, pair.vision.encoder.layers
    text_maps, vision_maps = [], []
    for n, layer in enumerate(text_layers):
        if n < len(text_layers) - shared:
            text = layer(text, (1.0 - keep.double()) * torch.finfo(torch.float32).min)
            continue
        own, heads = layer.attention.self, pair.text.config.num_attention_heads
        query, keys, values = (heads_of(project(text), heads) for project in (own.query, own.key, own.value))
        text_maps.append(logits_of(pair, key, query, keys, f"shared.key.{n}", f"text.position_bias.{n}"))
        text = text_end(layer, text, mix(text_maps[-1], keep, values))
    for n, layer in enumerate(vision_layers):
        if n < len(vision_layers) - shared:
            vision = layer(vision, None)
            continue
        own, heads, normed = layer.self_attn, pair.vision.config.num_attention_heads, layer.layer_norm1(vision)
        query, keys, values = (heads_of(project(normed), heads) for project in (own.q_proj, own.k_proj, own.v_proj))
        key_name = f"shared.key.{n + len(text_layers) - len(vision_layers)}"
        vision_maps.append(logits_of(pair, key, query, keys, key_name, f"vision.position_bias.{n}"))
        vision = vision_end(layer, vision, mix(vision_maps[-1], None, values))
    return text, vision, text_maps, vision_maps


def mkgformer(pair, interacting, mask_padding, ids, mask, pixels):
    """MKGformer: prefix-guided interaction and correlation-aware fusion in the last layers."""
    keep = mask.bool()[:, None, None, :]
    text, vision = pair.text.embeddings(ids), pair.embed_pixels(pixels)
    heads, layers = pair.text.config.num_attention_heads, len(pair.text.encoder.layer)
    scaled = lambda query, keys: torch.einsum("bhqd,bhsd->bhqs", query, keys) / math.sqrt(query.shape[-1])
    for n, (below, above) in enumerate(zip(pair.text.encoder.layer, pair.vision.encoder.layers)):
        meets = n >= layers - interacting
        own, normed = above.self_attn, above.layer_norm1(vision)
        query, keys, values = (heads_of(project(normed), heads) for project in (own.q_proj, own.k_proj, own.v_proj))
        seen = None
        if meets:
            keys, values = torch.cat([text_keys, keys], -2), torch.cat([text_values, values], -2)
            if mask_padding:
                seen = functional.pad(keep, (0, vision.shape[1]), value=True)
        vision = vision_end(above, vision, mix(scaled(query, keys), seen, values))
        own = below.attention.self
        query, text_keys, text_values = (heads_of(project(text), heads) for project in (own.query, own.key, own.value))
        context = mix(scaled(query, text_keys), keep, text_values)
        extra = 0.0
        if meets:
            merged = context.movedim(1, -2).flatten(-2)
            fused = torch.bmm(torch.bmm(merged, vision.mT).softmax(-1), vision)
            weight, bias = (pair.extra[f"text.fusion.{n}.{part}"] for part in ("weight", "bias"))
            extra = functional.linear(fused, weight, bias)
        text = text_end(below, text, context, extra)
    return text, vision


def batch(generator):
    ids = torch.randint(1, 20, (2, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return ids, mask, normal(generator, 2, 3, 32, 32)


def weighted(generator, tensor, keep=1.0):
    """A loss term that asks for every value in its own way, and the weights."""
    weight = normal(generator, *tensor.shape) * keep
    return (tensor * weight).sum(), weight


TEXT = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 36}
PATCHES = {"image_size": 32, "patch_size": 8}


def collect(pair):
    variables = pair.variables()
    for name, parameter in variables.items():
        assert parameter.grad is not None, f"{name} has no gradient"
    return {f"grad.{name}": parameter.grad.clone() for name, parameter in variables.items()}


def dual_case(key, seed, crops=False):
    """`max_text` 9 for texts of 7 pieces; Own with streams of different sizes."""
    generator = torch.Generator().manual_seed(seed)
    heads, size, longest, shared, tokens = 2, 12, 9, 2, 17
    text, vision = TEXT, VISION | PATCHES
    if crops:
        shared, tokens, text = 1, 61, TEXT | {"num_hidden_layers": 2}
        vision = VISION | {"num_hidden_layers": 1, "image_size": 64, "patch_size": 32}
    if key == "own":
        vision |= {"hidden_size": 36, "num_attention_heads": 3}
    learned = {"own": None, "matrix": (heads, max(longest, tokens), size)}.get(key, (heads, size))
    extra, dropped = [], {f"vision_model.post_layernorm.{part}" for part in ("weight", "bias")}
    if learned:
        for from_end in range(shared):
            text_layer, vision_layer = (each["num_hidden_layers"] - 1 - from_end for each in (text, vision))
            extra.append((f"shared.key.{text_layer}", learned))
            extra.append((f"text.position_bias.{text_layer}", (heads, longest, longest)))
            extra.append((f"vision.position_bias.{vision_layer}", (heads, tokens, tokens)))
            for part in ("weight", "bias"):
                dropped.add(f"encoder.layer.{text_layer}.attention.self.key.{part}")
                dropped.add(f"vision_model.encoder.layers.{vision_layer}.self_attn.k_proj.{part}")
    pair = Pair(generator, text, vision, crops, extra, dropped)
    ids, mask, pixels = batch(generator)
    if crops:
        pixels = pattern(2, 3, 3, 128, 128), pattern(2, 3, 3, 64, 64)
        # The last grounding crop of row 1 is absent.
        pixels[0][1, 2] = 0.0
    text, vision, text_maps, vision_maps = dual(pair, key, shared, ids, mask, pixels)
    if key == "own":
        expected = pair.text(ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(text, expected, atol=1e-5)
        assert torch.allclose(vision, pair.vision(pixels).last_hidden_state, atol=1e-5)
    loss, weights = 0.0, {}
    real = mask[:, :, None]
    terms = [("text", text, real), ("vision", vision, 1.0)]
    terms += [(f"text_maps.{n}", map, real[:, None] * mask[:, None, None, :]) for n, map in enumerate(text_maps)]
    terms += [(f"vision_maps.{n}", map, 1.0) for n, map in enumerate(vision_maps)]
    for name, tensor, keep in terms:
        term, weights[f"weight.{name}"] = weighted(generator, tensor, keep)
        loss = loss + term
    loss.backward()
    tensors = pair.variables() | collect(pair) | weights | {name: tensor for name, tensor, _ in terms}
    tensors |= {"ids": ids.to(torch.uint32), "mask": mask.to(torch.uint32)}
    return tensors if crops else tensors | {"pixels": pixels}


def mkgformer_case(seed):
    """Padding masked (`masked.`) and not (`open.`), on the same weights."""
    generator = torch.Generator().manual_seed(seed)
    parts = (("weight", (32, 24)), ("bias", (32,)))
    extra = [(f"text.fusion.{n}.{part}", shape) for n in (1, 2) for part, shape in parts]
    dropped = [f"vision_model.post_layernorm.{part}" for part, _ in parts]
    pair = Pair(generator, TEXT, VISION | PATCHES | {"num_hidden_layers": 3}, extra=extra, dropped=dropped)
    ids, mask, pixels = batch(generator)
    tensors = pair.variables() | {"pixels": pixels, "ids": ids.to(torch.uint32), "mask": mask.to(torch.uint32)}
    of_text, of_vision = normal(generator, 2, 7, 24) * mask[:, :, None], normal(generator, 2, 17, 24)
    for name, mask_padding in (("masked", True), ("open", False)):
        for parameter in pair.variables().values():
            parameter.grad = None
        text, vision = mkgformer(pair, 2, mask_padding, ids, mask, pixels)
        ((text * of_text).sum() + (vision * of_vision).sum()).backward()
        tensors |= {f"{name}.text": text, f"{name}.vision": vision}
        tensors |= {f"{name}.{key}": value for key, value in collect(pair).items()}
    return tensors | {"weight.text": of_text, "weight.vision": of_vision}


def clip_case(act, seed):
    generator = torch.Generator().manual_seed(seed)
    config = VISION | PATCHES | {"hidden_act": act, "num_hidden_layers": 2 if act == "quick_gelu" else 1}
    pair = Pair(generator, TEXT, config)
    pixels = batch(generator)[2]
    output = pair.vision(pixels, output_hidden_states=True, output_attentions=True)
    # The class state after post_layernorm as transformers has it, the others before it.
    pooled, pooled_weight = weighted(generator, output.pooler_output)
    states, states_weight = weighted(generator, output.last_hidden_state[:, 1:])
    (pooled + states).backward()
    tensors = {name: value for name, value in pair.variables().items() if name.startswith("vision_model.")}
    tensors |= {f"grad.{name}": value.grad for name, value in tensors.items()}
    tensors |= {f"hidden.{n}": value for n, value in enumerate(output.hidden_states)}
    tensors |= {f"attention.{n}": value for n, value in enumerate(output.attentions)}
    tensors |= {"pooled": output.pooler_output, "weight.pooled": pooled_weight, "weight.states": states_weight}
    return tensors | {"pixels": pixels}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    keys = ("own", "matrix", "vector", "released")
    cases = {f"dual_{key}": dual_case(key, seed) for seed, key in enumerate(keys, 20)}
    cases |= {"dual_crops": dual_case("matrix", 24, crops=True), "mkgformer": mkgformer_case(25)}
    cases |= {f"clip_{act}": clip_case(act, seed) for seed, act in ((26, "quick_gelu"), (27, "gelu"))}
    cases |= {"joint_relation_head": joint_relation_head(28), "joint_entity_head": joint_entity_head(29)}
    cases |= {"marker_head": marker_head(30), "class_head": class_head(31), "joint_marker_head": joint_marker_head(32)}
    for name, tensors in cases.items():
        stored = lambda value: (value.float() if value.is_floating_point() else value).detach().contiguous().clone()
        save_file({key: stored(value) for key, value in tensors.items()}, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
