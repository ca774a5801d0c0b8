"""Golden vectors for models/tests/golden.rs: values and gradients of transformers, pytorch-crf and PyTorch.

    pip install -r tools/golden/models-requirements.txt
    python tools/golden/models.py models/tests/golden

Tensors named `grad.X` are gradients of the printed loss by variable X; everything is f32.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torchcrf import CRF
from transformers import BertConfig, BertModel


def fill(module, generator, scale=0.3):
    """Weights large enough that no error hides in near-linear regions."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            offset = 1.0 if name.endswith(("LayerNorm.weight", "norm.weight")) else 0.0
            parameter.copy_(offset + scale * torch.randn(parameter.shape, generator=generator))


def gradients(module, prefix="grad."):
    return {prefix + name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def bert(layers, act, seed):
    generator = torch.Generator().manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=layers, num_attention_heads=3, intermediate_size=96,
        max_position_embeddings=24, hidden_act=act, attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    fill(model, generator)
    # Id 0 is padding, whose row torch freezes; padded places have no gradient here either.
    ids = torch.randint(1, 50, (3, 11), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    mask[2, 1:] = 0
    ids *= mask
    output = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    weight = torch.randn(output.last_hidden_state.shape, generator=generator) * mask.unsqueeze(-1)
    (output.last_hidden_state * weight).sum().backward()
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    tensors |= gradients(model)
    tensors |= {f"hidden.{n}": h for n, h in enumerate(output.hidden_states)}
    tensors |= {f"attention.{n}": a for n, a in enumerate(output.attentions)}
    return tensors | {"ids": ids.to(torch.uint32), "mask": mask.to(torch.uint32), "weight": weight}


class RelationHead(nn.Module):
    def __init__(self, hidden, labels):
        super().__init__()
        self.dense, self.norm = nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden)
        self.classifier = nn.Linear(hidden, labels, bias=False)

    def forward(self, hidden, head, tail):
        rows = torch.arange(len(hidden))
        pair = torch.cat([hidden[rows, head], hidden[rows, tail]], 1)
        return self.classifier(self.norm(nn.functional.gelu(self.dense(pair))))


def relation_head():
    generator = torch.Generator().manual_seed(3)
    module = RelationHead(16, 7)
    fill(module, generator)
    hidden = torch.randn(4, 9, 16, generator=generator, requires_grad=True)
    head, tail = torch.tensor([1, 4, 2, 8]), torch.tensor([3, 4, 7, 0])
    targets = torch.tensor([0, 5, 2, 5])
    allowed = torch.tensor([True, False, True, True, False, True, False])
    logits = module(hidden, head, tail)
    loss = nn.functional.cross_entropy(logits.masked_fill(~allowed, -torch.inf), targets)
    loss.backward()
    tensors = {name: p.detach() for name, p in module.named_parameters()} | gradients(module)
    integers = {"head": head, "tail": tail, "targets": targets, "allowed": allowed.long()}
    tensors |= {name: value.to(torch.uint32) for name, value in integers.items()}
    return tensors | {"hidden": hidden.detach(), "grad.hidden": hidden.grad, "logits": logits.detach(), "loss": loss.detach()}


def crf():
    generator = torch.Generator().manual_seed(4)
    module = CRF(5, batch_first=True)
    fill(module, generator)
    emissions = torch.randn(4, 8, 5, generator=generator, requires_grad=True)
    tags = torch.randint(0, 5, (4, 8), generator=generator)
    lengths = torch.tensor([8, 5, 1, 7])
    mask = torch.arange(8).unsqueeze(0) < lengths.unsqueeze(1)
    nll = -module(emissions, tags, mask=mask, reduction="none")
    (nll * torch.tensor([1.0, 0.5, 2.0, 1.5])).sum().backward()
    paths = [path + [0] * (8 - len(path)) for path in module.decode(emissions, mask=mask)]
    tensors = {name: p.detach() for name, p in module.named_parameters()} | gradients(module)
    integers = {"tags": tags, "mask": mask.long(), "paths": torch.tensor(paths)}
    tensors |= {name: value.to(torch.uint32) for name, value in integers.items()}
    return tensors | {"emissions": emissions.detach(), "grad.emissions": emissions.grad, "nll": nll.detach()}


def adamw():
    """20 steps of two groups with clipping; the gradient of step t is that of sum(scale_t * p ** 2 / 2 + linear_t * p)."""
    generator = torch.Generator().manual_seed(5)
    a = nn.Parameter(torch.randn(7, 5, generator=generator))
    b = nn.Parameter(torch.randn(11, generator=generator))
    tensors = {"a.start": a.detach().clone(), "b.start": b.detach().clone()}
    groups = [{"params": [a], "lr": 1e-2, "weight_decay": 0.1}, {"params": [b], "lr": 3e-3, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups)
    scales = 3 * torch.rand(20, generator=generator)
    tensors["scales"] = scales
    norms = []
    for step in range(20):
        optimiser.zero_grad()
        loss = sum((scales[step] * p**2 / 2 + torch.sin(torch.tensor(float(step))) * p).sum() for p in (a, b))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([a, b], 4.0))
        optimiser.step()
        tensors |= {f"a.{step}": a.detach().clone(), f"b.{step}": b.detach().clone()}
    return tensors | {"norms": torch.stack(norms)}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    cases = {
        "layer": bert(1, "gelu", 1), "model": bert(3, "gelu_new", 2), "relation_head": relation_head(),
        "crf": crf(), "adamw": adamw(),
    }
    for name, tensors in cases.items():
        tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
        save_file(tensors, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
