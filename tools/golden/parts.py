"""Golden vectors for models/tests/golden_parts.rs: RP-CRE's memory network, EMAR's reconsolidation, LMC's attention
distillation and gradient coefficients, from their formulas row by row in PyTorch, in f64 (stored as f32).

    pip install -r tools/golden/models-requirements.txt
    python tools/golden/parts.py models/tests/golden

Tensors named `grad.X` are gradients of the case's loss by X.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


def normal(generator, *shape, scale=1.0):
    """f64 values that f32 holds exactly."""
    return (scale * torch.randn(shape, generator=generator)).double()


class MemoryNetwork(nn.Module):
    """Cui et al. 2021, section 3.4: every row of [prototypes ; x] is refined, the last one is the result."""

    def __init__(self, hidden, heads, key_size):
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.query, self.key = nn.Linear(hidden, heads * key_size), nn.Linear(hidden, heads * key_size)
        self.value = nn.Linear(hidden, heads * hidden)
        self.query_norm, self.key_norm = nn.LayerNorm((heads, key_size)), nn.LayerNorm((heads, key_size))
        self.value_norm = nn.LayerNorm((heads, hidden))
        self.output, self.dense = nn.Linear(heads * hidden, hidden), nn.Linear(hidden, hidden)
        self.inner_norm, self.attention_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.output_norm = nn.LayerNorm(hidden)

    def forward(self, x, prototypes):
        rows = [self.refine(torch.cat([prototypes, one.unsqueeze(0)]))[-1] for one in x]
        return torch.stack(rows)

    def refine(self, sequence):
        split = lambda part, norm: norm(part(sequence).unflatten(-1, (self.heads, -1))).transpose(0, 1)
        query, key = split(self.query, self.query_norm), split(self.key, self.key_norm)
        scores = query @ key.transpose(1, 2) / self.key_size**0.5
        mixed = (scores.softmax(-1) @ split(self.value, self.value_norm)).transpose(0, 1).flatten(1)
        attended = self.attention_norm(self.inner_norm(self.output(mixed)) + sequence)
        return self.output_norm(F.gelu(self.dense(attended)) + attended)


def memory_network():
    generator = torch.Generator().manual_seed(1)
    module = MemoryNetwork(12, 4, 5).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            offset = 1.0 if name.endswith("norm.weight") else 0.0
            parameter.copy_(offset + normal(generator, *parameter.shape, scale=0.4))
    x = normal(generator, 7, 12).requires_grad_()
    prototypes = normal(generator, 6, 12).requires_grad_()
    weight = normal(generator, 7, 12)
    refined = module(x, prototypes)
    (refined * weight).sum().backward()
    tensors = {name: p for name, p in module.named_parameters()}
    tensors |= {f"grad.{name}": p.grad.clone() for name, p in module.named_parameters()}
    tensors |= {"x": x, "prototypes": prototypes, "weight": weight, "refined": refined}
    tensors |= {"grad.x": x.grad.clone(), "grad.prototypes": prototypes.grad.clone()}
    x.grad = None
    alone = module(x, prototypes[:0])
    (alone * weight).sum().backward()
    return tensors | {"alone": alone, "grad.alone.x": x.grad}


def prototype_loss():
    generator = torch.Generator().manual_seed(2)
    x, prototypes = normal(generator, 6, 10).requires_grad_(), normal(generator, 4, 10)
    targets = torch.tensor([0, 3, 3, 1, 2, 0])
    terms = []
    for row, target in zip(x, targets):
        products = torch.stack([row @ prototype for prototype in prototypes])
        terms.append(-torch.log(products[target].exp() / products.exp().sum()))
    loss = torch.stack(terms).mean()
    loss.backward()
    return {"x": x, "prototypes": prototypes, "targets": targets.to(torch.uint32), "loss": loss, "grad.x": x.grad}


LENGTHS = [6, 4, 1]


def pooled(real, pooling):
    """Vectors of one row's and layer's real entries [heads, n, n]."""
    width, height = real.mean(2), real.mean(1)
    return {"width": [width], "height": [height], "both": [width, height], "none": [real]}[pooling]


def described(student, teacher, pooling):
    rows = []
    for row, n in enumerate(LENGTHS):
        pairs = []
        for own, old in zip(student, teacher):
            pairs += zip(pooled(own[row, :, :n, :n], pooling), pooled(old[row, :, :n, :n], pooling))
        squares = [(own.relu() - old.relu()) ** 2 for own, old in pairs]
        rows.append(torch.cat([square.flatten() for square in squares]).mean())
    return torch.stack(rows).mean()


def released_rows(real, stream, direction):
    """Vectors of one row's and layer's real entries [heads, n, n] as the released code sums them: of text one vector, of
    vision one for each head."""
    if stream == "vision":
        return real.sum(2 if direction == "width" else 1)
    return real.sum(1 if direction == "width" else 0).reshape(1, -1)


def released(student, teacher, stream, directions):
    total = torch.zeros((), dtype=torch.float64)
    for direction in directions:
        layers = []
        for own, old in zip(student, teacher):
            rest = []
            for row, n in enumerate(LENGTHS):
                before, now = (released_rows(maps[row, :, :n, :n], stream, direction) for maps in (old, own))
                rest += F.normalize((before - now).relu(), dim=1)
            layers.append(torch.linalg.norm(torch.cat(rest)) / 100)
        total = total + torch.stack(layers).mean()
    return total


def distillation():
    generator = torch.Generator().manual_seed(3)
    student = [normal(generator, 3, 2, 6, 6).requires_grad_() for _ in range(2)]
    teacher = [normal(generator, 3, 2, 6, 6) for _ in range(2)]
    # A row whose every entry is below the student's, and a head of another: they leave nothing in the released form.
    teacher[1][1] = student[1][1].detach() - 1
    teacher[1][0, 0] = student[1][0, 0].detach() - 1
    mask = (torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)).to(torch.uint32)
    tensors = {"mask": mask}
    for layer in range(2):
        tensors |= {f"student.{layer}": student[layer], f"teacher.{layer}": teacher[layer]}
    losses = {pooling: described(student, teacher, pooling) for pooling in ("width", "height", "both", "none")}
    for stream in ("text", "vision"):
        for pooling, directions in {"width": ["width"], "height": ["height"], "both": ["width", "height"]}.items():
            losses[f"released.{stream}.{pooling}"] = released(student, teacher, stream, directions)
    for name, loss in losses.items():
        tensors[f"loss.{name}"] = loss
        for layer, grad in enumerate(torch.autograd.grad(loss, student)):
            tensors[f"grad.{name}.{layer}"] = grad
    return tensors


def modulation():
    generator = torch.Generator().manual_seed(4)
    text, vision = normal(generator, 8, 6), normal(generator, 8, 6)
    gold = torch.tensor([0, 2, 3, 5, 3, 0, 2, 4])
    # The last item does not count.
    items = [True] * 7 + [False]
    allowed = torch.tensor([True, False, True, True, False, True])
    tensors = {"text": text, "vision": vision, "gold": gold, "items": torch.tensor(items), "allowed": allowed}
    tensors = {name: value.to(torch.uint32) if value.dtype != torch.float64 else value for name, value in tensors.items()}
    for name, labels in {"all": torch.ones(6, dtype=bool), "allowed": allowed}.items():
        chance = lambda logits, n: logits[n].exp()[gold[n]] / logits[n][labels].exp().sum()
        score = lambda logits: sum(chance(logits, n) for n in range(8) if items[n])
        ratio = score(vision) / score(text)
        factor = lambda ratio: 1 - torch.tanh(0.3 * ratio) if ratio > 1 else torch.ones(())
        tensors[f"coefficients.{name}"] = torch.stack([factor(1 / ratio), factor(ratio)])
    return tensors


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    cases = {
        "memory_network": memory_network(), "prototype_loss": prototype_loss(), "distillation": distillation(),
        "modulation": modulation(),
    }
    for name, tensors in cases.items():
        single = lambda value: value.float() if value.dtype == torch.float64 else value
        tensors = {key: single(value.detach()).contiguous().clone() for key, value in tensors.items()}
        save_file(tensors, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
