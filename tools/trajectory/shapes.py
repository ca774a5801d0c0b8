"""Names and shapes of the variables of the small cases (cases.py).

Written out by hand, not taken from the twin's networks, so that loading the files checks those.
"""

HIDDEN, HEADS, LAYERS, INNER, VOCABULARY, LENGTH, KEY_SIZE = 16, 2, 2, 24, 30, 12, 6
IMAGE, PATCH, TOKENS = 8, 4, 5


def linear(name, inputs, outputs, bias=True):
    return {f"{name}.weight": [outputs, inputs]} | ({f"{name}.bias": [outputs]} if bias else {})


def norm(name, *shape):
    return {f"{name}.weight": list(shape), f"{name}.bias": list(shape)}


def layer_shapes(text, vision, shared):
    """One layer of both streams; a layer with a shared key has no key projection."""
    shapes = {}
    for name in ("query", "value") if shared else ("query", "key", "value"):
        shapes |= linear(f"{text}.attention.self.{name}", HIDDEN, HIDDEN)
    shapes |= linear(f"{text}.attention.output.dense", HIDDEN, HIDDEN) | norm(
        f"{text}.attention.output.LayerNorm", HIDDEN
    )
    shapes |= linear(f"{text}.intermediate.dense", HIDDEN, INNER) | linear(f"{text}.output.dense", INNER, HIDDEN)
    shapes |= norm(f"{text}.output.LayerNorm", HIDDEN)
    if not vision:
        return shapes
    for name in ("q_proj", "v_proj", "out_proj") if shared else ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes |= linear(f"{vision}.self_attn.{name}", HIDDEN, HIDDEN)
    shapes |= norm(f"{vision}.layer_norm1", HIDDEN) | norm(f"{vision}.layer_norm2", HIDDEN)
    return shapes | linear(f"{vision}.mlp.fc1", HIDDEN, INNER) | linear(f"{vision}.mlp.fc2", INNER, HIDDEN)


def shared_shapes(n, key):
    size = HIDDEN // HEADS
    return {
        f"shared.key.{n}": [HEADS, max(LENGTH, TOKENS), size] if key == "matrix" else [HEADS, size],
        f"text.position_bias.{n}": [HEADS, LENGTH, LENGTH],
        f"vision.position_bias.{n}": [HEADS, TOKENS, TOKENS],
    }


def head_shapes(method, kind, labels, reads):
    joint = method.startswith(("concat", "lmc", "joint-multimodal"))
    if kind == "ner":
        shapes = linear("head.emission", (2 if joint else 1) * HIDDEN, labels)
        shapes |= {"head.crf.start_transitions": [labels], "head.crf.end_transitions": [labels]}
        return shapes | {"head.crf.transitions": [labels, labels]}
    own = "cls" if joint else "markers"
    if (reads or own) == "cls":
        return linear("head.classifier", (2 if joint else 1) * HIDDEN, labels)
    if method.startswith("mkgformer"):
        return linear("head.classifier", 2 * HIDDEN, labels)
    shapes = linear("head.dense", 2 * HIDDEN, HIDDEN) | norm("head.norm", HIDDEN)
    return shapes | linear("head.classifier", (2 if joint else 1) * HIDDEN, labels, bias=joint)


def network_shapes(method, kind, config, labels):
    visual = method.startswith(("concat", "lmc", "mkgformer", "joint-multimodal"))
    shapes = {
        "embeddings.word_embeddings.weight": [VOCABULARY, HIDDEN],
        "embeddings.position_embeddings.weight": [16, HIDDEN],
        "embeddings.token_type_embeddings.weight": [2, HIDDEN],
    } | norm("embeddings.LayerNorm", HIDDEN)
    if visual:
        shapes |= norm("vision_model.pre_layrnorm", HIDDEN)
        shapes |= {
            "vision_model.embeddings.class_embedding": [HIDDEN],
            "vision_model.embeddings.patch_embedding.weight": [HIDDEN, 3, PATCH, PATCH],
            "vision_model.embeddings.position_embedding.weight": [TOKENS, HIDDEN],
        }
    for n in range(LAYERS):
        shared = method.startswith("lmc") and config["key"] != "own" and n >= LAYERS - config["shared_layers"]
        shapes |= layer_shapes(f"encoder.layer.{n}", f"vision_model.encoder.layers.{n}" if visual else None, shared)
        shapes |= shared_shapes(n, config["key"]) if shared else {}
        if method.startswith("mkgformer") and n >= LAYERS - config["interaction_layers"]:
            shapes |= linear(f"text.fusion.{n}", HIDDEN, INNER)
    return shapes | head_shapes(method, kind, labels, config.get("head"))


def memory_network_shapes():
    names = {"query": KEY_SIZE, "key": KEY_SIZE, "value": HIDDEN}
    shapes = linear("memory_network.output", 4 * HIDDEN, HIDDEN) | linear("memory_network.dense", HIDDEN, HIDDEN)
    for name, size in names.items():
        shapes |= linear(f"memory_network.{name}", HIDDEN, 4 * size) | norm(f"memory_network.{name}_norm", 4, size)
    for name in ("inner", "attention", "output"):
        shapes |= norm(f"memory_network.{name}_norm", HIDDEN)
    return shapes
