"""Hand-written pieces of the twin against plain loops over rows, heads, positions and paths, in f64.

Each check takes small random inputs, computes the formula element by element and returns the largest difference.
"""

import itertools
import math

import torch
from torchcrf import CRF
from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

import methods


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gap(*pairs):
    return max((torch.as_tensor(a) - torch.as_tensor(b)).abs().max().item() for a, b in pairs)


def softmax(values):
    """Of a list of floats."""
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def layer_norm(values, module):
    """Over all axes of `values`, with the weights of a module."""
    scaled = (values - values.mean()) / ((values - values.mean()).pow(2).mean() + module.eps).sqrt()
    return scaled * module.weight + module.bias


def encoders(run, batch):
    """The twin's streams against the forward passes of transformers with its own eager attention and masks."""
    network, encoded = run.network, run.network(batch)
    bert = BertModel(
        BertConfig.from_dict(run.case["text"], attn_implementation="eager"), add_pooling_layer=False
    ).eval()
    bert.embeddings.load_state_dict(network.embeddings.state_dict())
    bert.encoder.load_state_dict(network.encoder.state_dict())
    text = bert(batch.ids, attention_mask=batch.real.long()).last_hidden_state
    pairs = [(text[batch.real], encoded.text[batch.real])]
    if encoded.vision is not None:
        config = CLIPVisionConfig.from_dict(run.case["vision"], attn_implementation="eager")
        clip = CLIPVisionModel(config).eval()
        missing = clip.load_state_dict(network.vision_model.state_dict(), strict=False).missing_keys
        assert all("post_layernorm" in name for name in missing), missing
        pairs.append((clip(batch.pixels).last_hidden_state[:, 0], encoded.vision))
    return gap(*pairs)


def relation(run, batch):
    """Cross-entropy over the allowed labels."""
    logits = run.network.head.scores(run.network.head.features(run.network(batch), batch))
    allowed, losses = [label for label, yes in enumerate(run.allowed) if yes], []
    for row, gold in zip(logits.tolist(), batch.gold.tolist(), strict=True):
        losses.append(-math.log(softmax([row[label] for label in allowed])[allowed.index(gold)]))
    return gap((losses, methods.relation_losses(logits, batch.gold, run.allowed)))


def crf():
    """log Z and likelihood by listing all 5^W paths; unknown tags; a forbidden tag."""
    tags, rows = 5, [[1, 2, 0], [-1, 2, -1, 1], [-1, -1], [0]]
    module, width = CRF(tags, batch_first=True), max(map(len, rows))
    emissions = random(len(rows), width, tags, seed=1)
    gold = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    words = torch.tensor([[n < len(row) for n in range(width)] for row in rows])
    allowed = torch.tensor([True, True, True, False, True])

    def score(row, path):
        total = module.start_transitions[path[0]] + module.end_transitions[path[-1]]
        total = total + sum(emissions[row, n, tag] for n, tag in enumerate(path))
        return total + sum(module.transitions[a, b] for a, b in zip(path, path[1:]))

    losses = []
    for n, row in enumerate(rows):
        paths = [path for path in itertools.product([0, 1, 2, 4], repeat=len(row))]
        agreeing = [path for path in paths if all(tag in (-1, step) for tag, step in zip(row, path))]
        partitions = [torch.stack([score(n, path) for path in some]).logsumexp(0) for some in (paths, agreeing)]
        losses.append(partitions[0] - partitions[1])
    return gap((torch.stack(losses), methods.entity_losses(module, emissions, gold, words, allowed)))


def keys(run, batch):
    """Attention of the joined layers from the states they read: logits by the formula of the key, and context."""
    network, form, pairs, seen = run.network, run.config["key"], [], {}
    modules = {}
    for index, text, vision_index, vision in network._pairs(network.joined):
        modules["text", index] = (text.attention.self, index)
        modules["vision", vision_index] = (vision.self_attn, index)
    hooks = [
        module.register_forward_hook(
            lambda _, args, kwargs, out, at=at: seen.update({at: (args, kwargs, out[0])}), with_kwargs=True
        )
        for at, (module, _) in modules.items()
    ]
    network(batch)
    for hook in hooks:
        hook.remove()
    for (name, index), (module, shared) in modules.items():
        args, kwargs, out = seen[name, index]
        states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        query, value = (module.query, module.value) if name == "text" else (module.q_proj, module.v_proj)
        own = module.key if name == "text" else module.k_proj
        bias = None if form == "own" else getattr(network, name).position_bias[str(index)]
        size = states.shape[2] // 2
        for row, head in itertools.product(range(len(states)), range(2)):
            part = slice(head * size, (head + 1) * size)
            real = batch.real[row].sum().item() if name == "text" else states.shape[1]
            for i in range(real):
                logits = []
                for j in range(real):
                    q = query(states[row, i])[part]
                    if form == "own":
                        logits.append(q @ own(states[row, j])[part] / math.sqrt(size))
                        continue
                    key = network.shared.key[str(shared)][head]
                    product, b = q @ (key[j] if form == "matrix" else key), bias[head, i, j]
                    inside = form == "released" and name == "text"
                    logits.append((product + b) / math.sqrt(size) if inside else product / math.sqrt(size) + b)
                logits = torch.stack(logits)
                pairs.append((logits, module.logits[row, head, i, :real]))
                if name == "text":  # the vision layer's output has passed `out_proj` already
                    weights = softmax(logits.tolist())
                    context = sum(w * value(states[row, j])[part] for j, w in enumerate(weights))
                    pairs.append((context, out[row, i, part]))
    return gap(*pairs)


def fusion(run, batch):
    """MKGformer's last layer of both streams, row by row without padding, from the states that enter it."""
    network, seen = run.network, {}
    text_layer, vision_layer = network.encoder.layer[-1], network.vision_model.encoder.layers[-1]
    below, own = network.encoder.layer[-2].attention.self, vision_layer.self_attn
    inputs = {"below": below, "text": text_layer.attention.self, "vision": vision_layer}
    hooks = [
        module.register_forward_pre_hook(lambda _, args, at=at: seen.update({at: args[0]}))
        for at, module in inputs.items()
    ]
    encoded = network(batch)
    for hook in hooks:
        hook.remove()
    pairs, linear = [], network.text.fusion[str(len(network.encoder.layer) - 1)]
    for row in range(len(batch.ids)):
        real = batch.real[row].sum().item()
        visible = real if run.config["mask_text_padding"] else len(batch.ids[row])
        vision, text = seen["vision"][row], seen["text"][row, :real]
        normal, above = vision_layer.layer_norm1(vision), seen["below"][row, :visible]
        key = torch.cat([below.key(above), own.k_proj(normal)])
        value = torch.cat([below.value(above), own.v_proj(normal)])
        vision = vision + own.out_proj(heads(own.q_proj(normal), key, value))
        vision = vision + vision_layer.mlp(vision_layer.layer_norm2(vision))
        attend = text_layer.attention.self
        context = heads(attend.query(text), attend.key(text), attend.value(text))
        similar = torch.stack(
            [sum(w * v for w, v in zip(softmax([(c @ v).item() for v in vision]), vision)) for c in context]
        )
        middle = text_layer.attention.output.LayerNorm(text_layer.attention.output.dense(context) + text)
        inner = torch.nn.functional.gelu(text_layer.intermediate.dense(middle) + linear(similar))
        final = text_layer.output.LayerNorm(text_layer.output.dense(inner) + middle)
        pairs.append((final, encoded.text[row, :real]))
    return gap(*pairs)


def heads(query, key, value, count=2):
    """Attention of one row, head by head: `[Q, H]`, `[K, H]`, `[K, H]` -> `[Q, H]`."""
    parts = zip(query.chunk(count, 1), key.chunk(count, 1), value.chunk(count, 1))
    return torch.cat([torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v for q, k, v in parts], 1)


def distillation():
    """Both kinds of pooling with padding, and the released forms, whose value is √(rows that differ)/100."""
    lengths, layers, count, width = [4, 2, 5], 2, 3, 5
    real = torch.tensor([[n < length for n in range(width)] for length in lengths])
    old, new = ([random(3, count, width, width, seed=10 * s + n) for n in range(layers)] for s in (1, 2))

    def line(maps, row, head, at, length, kind):
        cells = [maps[row, head, at, n] if kind == "width" else maps[row, head, n, at] for n in range(length)]
        return sum(cells) / length

    pairs = []
    for pooling in ("width", "height", "both"):
        kinds, rows = ["width", "height"] if pooling == "both" else [pooling], []
        for row, length in enumerate(lengths):
            terms = [
                (max(line(b, row, h, at, length, kind), 0) - max(line(a, row, h, at, length, kind), 0)) ** 2
                for a, b in zip(old, new) for kind in kinds for h in range(count) for at in range(length)
            ]  # fmt: skip
            rows.append(sum(terms) / len(terms))
        pairs.append((sum(rows) / len(rows), methods.distillation(old, new, real, pooling)))
    def falls(a, b, row, length, stream, kind):
        """For each row that the released code makes of a map: whether an entry is above the student's."""

        def lower(before, after):
            return any(x > y for x, y in zip(before, after, strict=True))

        if stream == "vision":
            lines = [[[line(m, row, h, at, length, kind) for at in range(length)] for h in range(count)] for m in (a, b)]
            return [lower(*pair) for pair in zip(*lines)]
        if kind == "width":
            lines = [[line(m, row, h, at, length, "height") for h in range(count) for at in range(length)] for m in (a, b)]
        else:
            places = list(itertools.product(range(length), range(length)))
            lines = [[sum(m[row, h, i, j] for h in range(count)) for i, j in places] for m in (a, b)]
        return [lower(*lines)]

    for stream, pooling in itertools.product(("text", "vision"), ("width", "height", "both")):
        total = 0.0
        for kind in ["width", "height"] if pooling == "both" else [pooling]:
            rows = [
                [some for row, length in enumerate(lengths) for some in falls(a, b, row, length, stream, kind)]
                for a, b in zip(old, new)
            ]
            total += sum(math.sqrt(sum(some)) / 100 for some in rows) / len(rows)
        pairs.append((total, methods.released_distillation(old, new, real, stream, pooling)))
    return gap(*pairs)


def modulation(run, batch):
    """Confidence of each stream, item by item; κ of both streams, without padded words and with them."""
    return max(modulation_with(run, batch, padding) for padding in (False, True))


def modulation_with(run, batch, padding):
    head, config = run.network.head, run.config
    sides = head.sides(run.network(batch), batch)
    linear, hidden, confidence = head.linear(), sides[0].shape[-1], [0.0, 0.0]
    allowed = [label for label, yes in enumerate(run.allowed) if yes]
    counted = [(tuple(at), batch.gold[tuple(at)].item()) for at in batch.items().nonzero().tolist()]
    if padding and batch.words is not None:
        counted += [(tuple(at), 0) for at in (~batch.words).nonzero().tolist()]
    for at, gold in counted:
        for n, states in enumerate(sides):
            half = linear.weight[:, n * hidden : (n + 1) * hidden]
            logits = [(half[label] @ states[at] + linear.bias[label] / 2).item() for label in allowed]
            confidence[n] += softmax(logits)[allowed.index(gold)]
    ratio = confidence[1] / confidence[0]  # of vision
    damped = 1 - math.tanh(config["alpha"] * max(ratio, 1 / ratio))
    expected = (1.0, damped) if ratio > 1 else (damped, 1.0)
    return gap(*zip(expected, methods.modulation(head, sides, batch, run.allowed, config["alpha"], padding)))


def memory_network():
    """The last row of the whole S = [P; x], head by head, row by row."""
    hidden, size, prototypes = 6, 5, random(3, 6, seed=3)
    module = methods.MemoryNetwork(hidden, size)
    for n, parameter in enumerate(module.parameters()):
        parameter.data = random(*parameter.shape, seed=n)
    features, rows = random(2, 2, hidden, seed=4), []
    for x in features.reshape(-1, hidden):
        sequence = [*prototypes, x]
        query, key, value = (
            [layer_norm(linear(s).reshape(4, -1), norm) for s in sequence]
            for linear, norm in (
                (module.query, module.query_norm),
                (module.key, module.key_norm),
                (module.value, module.value_norm),
            )
        )
        merged = []
        for head in range(4):
            weights = softmax([(query[-1][head] @ k[head]).item() / math.sqrt(size) for k in key])
            merged.append(sum(w * v[head] for w, v in zip(weights, value)))
        context = layer_norm(module.output(torch.cat(merged)), module.inner_norm)
        attended = layer_norm(context + x, module.attention_norm)
        inner = module.dense(attended)
        gelu = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        rows.append(layer_norm(gelu + attended, module.output_norm))
    return gap((torch.stack(rows).reshape(features.shape), module(features, prototypes)))


def prototypes(run, batch):
    """Class means, EMAR's evaluation prototype, and its loss, item by item."""
    head, ner = run.network.head, batch.words is not None
    features = head.features(run.network(batch), batch)
    items = [(features[tuple(at)], batch.gold[tuple(at)].item()) for at in batch.items().nonzero().tolist()]
    labels = sorted({label for _, label in items})
    means, pairs = {}, []
    for label in labels:
        chosen = [x for x, y in items if y == label]
        means[label] = sum(chosen) / len(chosen)
        pairs.append((means[label], methods.prototype(features, batch, label)[0]))
        row = random(features.shape[-1], seed=label)
        unit = sum(x / x.norm() for x in [*chosen, row]) / (len(chosen) + 1)
        pairs.append((unit / unit.norm(), methods.evaluation_prototype(torch.stack(chosen), row)))
    half = {label: [x for x, y in items if y == label][: label % 3] for label in labels}
    old = {label: (sum(some) / len(some), len(some)) for label, some in half.items() if some}
    rest = {label: [x for x, y in items if y == label][len(half[label]) :] for label in labels}
    new = {label: (sum(some) / len(some), len(some)) for label, some in rest.items() if some}
    merged = methods.merged_prototypes(old, new)
    pairs += [(means[label], merged[label]) for label in labels]
    terms = []
    for x, y in items:
        if not (ner and y == 0):
            terms.append(-math.log(softmax([(x @ means[label]).item() for label in labels])[labels.index(y)]))
    return gap(*pairs, (sum(terms) / len(terms), methods.reconsolidation_loss(features, batch, means)))


def fisher(run, rows):
    """Per-row gradients taken out of one padded batch, two updates with decay, and the penalty's gradient."""
    network, batch = run.network, run.batch(rows)
    variables, elastic = run.variables(), methods.ElasticWeights(3.0, 0.5)
    losses = methods.task_losses(
        network.head, network.head.scores(network.head.features(network(batch), batch)), batch, run.allowed
    )
    total = dict.fromkeys(variables, 0.0)
    for loss in losses:
        for name, gradient in zip(variables, torch.autograd.grad(loss, list(variables.values()), retain_graph=True)):
            total[name] = total[name] + gradient**2 / len(rows)
    run.elastic = elastic
    run.on_fisher({"rows": rows})
    pairs = [(total[name], elastic.fisher[name]) for name in variables]
    run.on_fisher({"rows": rows})
    pairs += [(1.5 * total[name], elastic.fisher[name]) for name in variables]
    moved = {name: (value + 0.1).detach().requires_grad_() for name, value in variables.items()}
    elastic.penalty(moved).backward()
    pairs += [(3.0 * 1.5 * total[name] * 0.1, moved[name].grad) for name in variables]
    return gap(*pairs)
