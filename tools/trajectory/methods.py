"""What the methods add to a network: losses, prototypes, memory network, elastic weights, distillation, modulation.

Formulas: the papers' as the doc comments give them. Shapes as in networks.py; `allowed` is `[L]` bool.
"""

import torch
from torch import nn
from torch.nn import functional

FORBIDDEN = -1e4


def relation_losses(logits, gold, allowed):
    """Cross-entropy with the softmax over allowed labels only, per row `[B]`."""
    return functional.cross_entropy(logits.masked_fill(~allowed, -torch.inf), gold, reduction="none")


def entity_losses(crf, emissions, gold, words, allowed):
    """Negative log-likelihood of the tags, per row `[B]`; where some are unknown, of all paths that agree.

    -log p = log Z(all paths) - log Z(paths that agree); pytorch-crf's own likelihood where every tag is known.
    """
    emissions = emissions + FORBIDDEN * (~allowed).to(emissions.dtype)
    known = (gold >= 0) & words
    tags = torch.arange(emissions.shape[2])
    disagrees = known[:, :, None] & (tags != gold[:, :, None])
    partition = log_partition(crf, emissions, words)
    partly = partition - log_partition(crf, emissions + FORBIDDEN * disagrees.to(emissions.dtype), words)
    fully = -crf(emissions, gold.clamp(min=0), mask=words, reduction="none")
    return torch.where((known == words).all(1), fully, partly)


def log_partition(crf, emissions, words):
    """log Z by pytorch-crf, `[B]`."""
    return crf._compute_normalizer(emissions.transpose(0, 1), words.transpose(0, 1))


def task_losses(head, scores, batch, allowed):
    """The loss of every row, `[B]`."""
    if batch.words is None:
        return relation_losses(scores, batch.gold, allowed)
    return entity_losses(head.crf, scores, batch.gold, batch.words, allowed)


# Prototypes (EMAR, Han et al. 2020; RP-CRE, Cui et al. 2021).


def prototype(features, batch, label):
    """Mean feature of the rows or words of a class, `[F]`, and these features."""
    chosen = features[batch.items() & (batch.gold == label)]
    assert len(chosen), f"no item of class {label} among the rows of its prototype"
    return chosen.mean(0), chosen


def merged_prototypes(old, new):
    """Label -> mean over the items of both, sorted; `old` and `new`: label -> (mean, number of items)."""
    merged = {}
    for label in sorted(old | new):
        both = [prototypes[label] for prototypes in (old, new) if label in prototypes]
        merged[label] = sum(mean * items for mean, items in both) / sum(items for _, items in both)
    return merged


def evaluation_prototype(chosen, classifier_row):
    """EMAR at test time: mean of the normalised memory features and the normalised classifier row, normalised."""
    unit = functional.normalize(torch.cat([chosen, classifier_row[None]]), dim=1)
    return functional.normalize(unit.mean(0), dim=0)


def reconsolidation_loss(features, batch, prototypes):
    """EMAR: mean over items of cross-entropy with logits x · p_c. NER: words with an entity tag, O (0) left out."""
    items = batch.items() if batch.words is None else batch.items() & (batch.gold > 0)
    classes = torch.tensor(sorted(prototypes))
    logits = features[items] @ torch.stack([prototypes[c] for c in classes.tolist()]).T
    targets = (batch.gold[items][:, None] == classes).int().argmax(1)
    assert (classes[targets] == batch.gold[items]).all(), "an item's class has no prototype"
    return functional.cross_entropy(logits, targets)


class MemoryNetwork(nn.Module):
    """RP-CRE's attention over [P_1 .. P_R ; x]: 4 heads, key size k, value size H; the last row is x refined."""

    HEADS = 4

    def __init__(self, hidden, key_size):
        super().__init__()
        self.query, self.key = nn.Linear(hidden, self.HEADS * key_size), nn.Linear(hidden, self.HEADS * key_size)
        self.value, self.output = nn.Linear(hidden, self.HEADS * hidden), nn.Linear(self.HEADS * hidden, hidden)
        self.dense = nn.Linear(hidden, hidden)
        self.query_norm, self.key_norm = nn.LayerNorm([self.HEADS, key_size]), nn.LayerNorm([self.HEADS, key_size])
        self.value_norm = nn.LayerNorm([self.HEADS, hidden])
        self.inner_norm, self.attention_norm, self.output_norm = (nn.LayerNorm(hidden) for _ in range(3))

    def forward(self, features, prototypes):
        """Features `[..., H]`, prototypes `[R, H]` -> refined features `[..., H]`."""
        flat = features.reshape(-1, 1, features.shape[-1])
        sequence = torch.cat([prototypes.expand(len(flat), -1, -1), flat], 1)

        def split(linear, norm):
            return norm(linear(sequence).unflatten(2, (self.HEADS, -1))).transpose(1, 2)  # [N, heads, R+1, dim]

        query, key, value = (
            split(self.query, self.query_norm),
            split(self.key, self.key_norm),
            split(self.value, self.value_norm),
        )
        weights = torch.softmax(query @ key.transpose(2, 3) / key.shape[3] ** 0.5, -1)
        context = self.inner_norm(self.output((weights @ value).transpose(1, 2).flatten(2)))
        attended = self.attention_norm(context + sequence)
        refined = self.output_norm(functional.gelu(self.dense(attended)) + attended)
        return refined[:, -1].reshape(features.shape)


class ElasticWeights:
    """Online EWC (Schwarz et al. 2018): penalty (λ/2) Σ F (θ - θ*)², F <- γF + mean over rows of (∂ loss(row)/∂θ)²."""

    def __init__(self, strength, decay):
        self.strength, self.decay, self.fisher, self.anchors = strength, decay, {}, {}

    def penalty(self, variables):
        terms = [(self.fisher[name] * (variables[name] - anchor) ** 2).sum() for name, anchor in self.anchors.items()]
        return self.strength / 2 * sum(terms)

    def update(self, variables, row_losses):
        """`row_losses`: one loss per row, each made when it is asked for."""
        squares, count = {name: torch.zeros_like(value) for name, value in variables.items()}, 0
        for loss in row_losses:
            gradients = torch.autograd.grad(loss, list(variables.values()), allow_unused=True)
            for name, gradient in zip(variables, gradients):
                if gradient is not None:
                    squares[name] += gradient**2
            count += 1
        for name, square in squares.items():
            self.fisher[name] = self.decay * self.fisher.get(name, 0.0) + square / count
            self.anchors[name] = variables[name].detach().clone()


# SEQ* (Zheng et al. 2024).


def cosines(head, features):
    """Features `[..., F]` -> cosine with the classifier's row of every label, `[..., L]`; no bias."""
    rows = (head.classifier if hasattr(head, "classifier") else head.emission).weight
    return functional.normalize(features, dim=-1) @ functional.normalize(rows, dim=1).T


class Frozen:
    """The parts of a classifier that belong to `old` labels `[L]` bool alone: no gradient, and the values they had."""

    def __init__(self, head, old):
        layers = ("classifier", "emission", "crf")
        named = [(name, value) for name, value in head.named_parameters() if name.split(".")[0] in layers]
        self.parts = [(value, self.mask(name, value, old), value.detach().clone()) for name, value in named]

    @staticmethod
    def mask(name, value, old):
        """Where a variable is frozen: rows of old labels; transitions from one old tag to another."""
        if name == "crf.transitions":
            return old[:, None] & old
        return old.reshape(-1, *[1] * (value.dim() - 1)).expand(value.shape)

    def hide_gradients(self):
        for value, mask, _ in self.parts:
            if value.grad is not None:
                value.grad[mask] = 0

    @torch.no_grad()
    def put_back(self):
        for value, mask, before in self.parts:
            value[mask] = before[mask]


# LMC (arXiv 2305.08698).


def pooled(maps, real, kind):
    """Maps `[B, h, L, L]` -> mean over real keys (width) or over real queries (height), `[B, h, L]`."""
    real = real.to(maps.dtype)
    axes = (real[:, None, None, :], 3) if kind == "width" else (real[:, None, :, None], 2)
    return (maps * axes[0]).sum(axes[1]) / real.sum(1)[:, None, None]


def distillation(teacher, student, real, pooling):
    """Mean over rows, layers, heads, kinds of pooling and real positions of (ReLU(student) - ReLU(teacher))²."""
    kinds = {"width": ["width"], "height": ["height"], "both": ["width", "height"]}[pooling]
    rows = []
    for old, new in zip(teacher, student, strict=True):
        for kind in kinds:
            gap = functional.relu(pooled(new, real, kind)) - functional.relu(pooled(old, real, kind))
            rows.append((gap**2 * real[:, None]).sum(2).mean(1) / real.sum(1))
    return torch.stack(rows).mean()


def released_rows(maps, real, stream, kind):
    """Maps `[B, h, L, L]` as the published code sums them, what is not real set to 0: one row per sentence of text, one
    per row and head of vision.

    Text: width sums over queries and lays the heads side by side, height sums over heads. Vision: width sums over keys,
    height over queries.
    """
    both = (real[:, :, None] & real[:, None, :])[:, None].to(maps.dtype)
    maps = maps * both
    if stream == "vision":
        return maps.sum(3 if kind == "width" else 2).flatten(0, 1)
    return maps.sum(2 if kind == "width" else 1).flatten(1)


def released_distillation(teacher, student, real, stream, pooling):
    """The published arithmetic: per layer, rows of ReLU(teacher - student) normalised, Frobenius norm / 100."""
    total = 0.0
    for kind in {"width": ["width"], "height": ["height"], "both": ["width", "height"]}[pooling]:
        layers = []
        for old, new in zip(teacher, student, strict=True):
            gap = released_rows(old, real, stream, kind) - released_rows(new, real, stream, kind)
            layers.append(torch.linalg.vector_norm(functional.normalize(functional.relu(gap), dim=1)) / 100)
        total = total + torch.stack(layers).mean()
    return total


def stream_distillation(method, teacher, student, batch, pooling):
    """Both streams' terms; every visual token is real."""
    total = 0.0
    for name in ("text", "vision"):
        old, new = getattr(teacher, f"{name}_maps"), getattr(student, f"{name}_maps")
        real = batch.real if name == "text" else torch.ones(new[0].shape[0], new[0].shape[2], dtype=torch.bool)
        if method == "lmc-released":
            total = total + released_distillation(old, new, real, name, pooling)
        else:
            total = total + distillation(old, new, real, pooling)
    return total


@torch.no_grad()
def modulation(head, sides, batch, allowed, alpha, padding=False):
    """Coefficients (κ^text, κ^vision): 1 - tanh(α ρ) for the stream whose ρ is above 1, else 1.

    s = Σ_items softmax(W h + b/2)[y] of each stream with its half of the joint linear layer; ρ^v = s^v/s^t = 1/ρ^t.
    With `padding`, padded words are items of label 0 (NER), as in the published code.
    """
    linear, items, gold = head.linear(), batch.items(), batch.gold
    if padding and batch.words is not None:
        items, gold = items | ~batch.words, gold.masked_fill(~batch.words, 0)
    halves = linear.weight.chunk(2, 1)  # [W^text, W^vision]
    confidence = []
    for half, states in zip(halves, sides, strict=True):
        logits = (states[items] @ half.T + linear.bias / 2).masked_fill(~allowed, -torch.inf)
        chances = torch.softmax(logits, 1)
        confidence.append(chances.gather(1, gold[items][:, None]).sum())
    text, vision = confidence
    ratios = text / vision, vision / text
    return tuple(1 - torch.tanh(alpha * ratio) if ratio > 1 else torch.ones(()) for ratio in ratios)


def stream(name):
    """Which stream's coefficient a variable's gradient gets: 0 text, 1 vision, None for head and shared keys.

    A head's feature layer reads the text alone and belongs to it.
    """
    if name.startswith(("head.dense.", "head.norm.")):
        return 0
    if name.startswith(("head.", "shared.")):
        return None
    return 1 if name.startswith(("vision.", "vision_model.")) else 0
