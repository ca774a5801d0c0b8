"""The heads' part of networks.py: heads that read both streams, MKGformer's relation head, and one on `[CLS]`."""

import torch
from torch import nn
from torch.nn import functional
from torchcrf import CRF

from models import fill, gradients


def normal(generator, *shape):
    """f32 values, as f64."""
    return torch.randn(shape, generator=generator).double()


def head_inputs(generator, width=12):
    return normal(generator, 4, 9, 16).requires_grad_(), normal(generator, 4, 5, width).requires_grad_()


def halves(linear, features, size):
    """What each stream says on its own."""
    text = functional.linear(features[..., :size], linear.weight[:, :size])
    vision = functional.linear(features[..., size:], linear.weight[:, size:])
    return text + linear.bias / 2, vision + linear.bias / 2


def bracketed(linear, states):
    """What the released code says of the text: half the bias is added to the matrix, before the product."""
    return states @ (linear.weight[:, : states.shape[-1]].T + linear.bias / 2)


def joint_relation_head(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.ModuleDict({"classifier": nn.Linear(28, 7)})
    fill(module, generator)
    module.double()
    text, vision = head_inputs(generator)
    targets = torch.tensor([0, 5, 2, 5])
    features = torch.cat([text[:, 0], vision[:, 0]], -1)
    logits = module["classifier"](features)
    loss = functional.cross_entropy(logits, targets)
    loss.backward()
    of_text, of_vision = halves(module["classifier"], features, 16)
    tensors = dict(module.named_parameters()) | gradients(module)
    tensors |= {"text": text, "vision": vision, "grad.text": text.grad, "grad.vision": vision.grad}
    tensors |= {"features": features, "logits": logits, "loss": loss}
    tensors |= {"scores.text": of_text, "scores.vision": of_vision}
    tensors["scores.bracketed"] = bracketed(module["classifier"], text[:, 0])
    return tensors | {"targets": targets.to(torch.uint32)}


def joint_entity_head(seed):
    """`positions` is the text's own table: an input of the head, not a variable of it."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.ModuleDict({"emission": nn.Linear(32, 5), "crf": CRF(5, batch_first=True)})
    fill(module, generator)
    module.double()
    text, vision = head_inputs(generator, 16)
    positions = normal(generator, 11, 16).requires_grad_()
    anchors = torch.tensor([[1, 2, 4, 7], [1, 3, 5, 0], [2, 0, 0, 0], [1, 2, 3, 8]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    tags = torch.randint(0, 5, (4, 4), generator=generator)
    words = torch.stack([text[row, places] for row, places in enumerate(anchors)])
    features = torch.cat([words, vision[:, :1] + positions[anchors]], -1)
    emissions = module["emission"](features)
    nll = -module["crf"](emissions, tags, mask=mask.bool(), reduction="none")
    nll.mean().backward()
    of_text, of_vision = halves(module["emission"], features, 16)
    tensors = dict(module.named_parameters()) | gradients(module)
    tensors |= {"text": text, "vision": vision, "grad.text": text.grad, "grad.vision": vision.grad, "nll": nll}
    tensors |= {"positions": positions, "grad.positions": positions.grad}
    tensors |= {"features": features, "emissions": emissions, "scores.text": of_text, "scores.vision": of_vision}
    integers = {"anchors": anchors, "words": mask, "tags": tags}
    return tensors | {name: value.to(torch.uint32) for name, value in integers.items()}


def marker_head(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.ModuleDict({"classifier": nn.Linear(32, 7)})
    fill(module, generator)
    module.double()
    text, _ = head_inputs(generator)
    head, tail, targets = torch.tensor([1, 4, 2, 8]), torch.tensor([3, 4, 7, 0]), torch.tensor([0, 5, 2, 5])
    rows = torch.arange(4)
    logits = module["classifier"](torch.cat([text[rows, head], text[rows, tail]], -1))
    loss = functional.cross_entropy(logits, targets)
    loss.backward()
    tensors = dict(module.named_parameters()) | gradients(module)
    tensors |= {"text": text, "grad.text": text.grad, "logits": logits, "loss": loss}
    integers = {"head": head, "tail": tail, "targets": targets}
    return tensors | {name: value.to(torch.uint32) for name, value in integers.items()}


def class_head(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.ModuleDict({"classifier": nn.Linear(16, 7)})
    fill(module, generator)
    module.double()
    text, _ = head_inputs(generator)
    targets = torch.tensor([0, 5, 2, 5])
    logits = module["classifier"](text[:, 0])
    loss = functional.cross_entropy(logits, targets)
    loss.backward()
    tensors = dict(module.named_parameters()) | gradients(module)
    tensors |= {"text": text, "grad.text": text.grad, "logits": logits, "loss": loss}
    return tensors | {"targets": targets.to(torch.uint32)}


def joint_marker_head(seed):
    """The feature of the text head on markers beside the class state of the vision stream."""
    generator = torch.Generator().manual_seed(seed)
    parts = {"dense": nn.Linear(32, 16), "norm": nn.LayerNorm(16, eps=1e-5), "classifier": nn.Linear(28, 7)}
    module = nn.ModuleDict(parts)
    fill(module, generator)
    module.double()
    text, vision = head_inputs(generator)
    head, tail, targets = torch.tensor([1, 4, 2, 8]), torch.tensor([3, 4, 7, 0]), torch.tensor([0, 5, 2, 5])
    rows = torch.arange(4)
    pair = torch.cat([text[rows, head], text[rows, tail]], -1)
    features = torch.cat([module["norm"](functional.gelu(module["dense"](pair))), vision[:, 0]], -1)
    logits = module["classifier"](features)
    loss = functional.cross_entropy(logits, targets)
    loss.backward()
    of_text, of_vision = halves(module["classifier"], features, 16)
    tensors = dict(module.named_parameters()) | gradients(module)
    tensors |= {"text": text, "vision": vision, "grad.text": text.grad, "grad.vision": vision.grad}
    tensors |= {"features": features, "logits": logits, "loss": loss}
    tensors |= {"scores.text": of_text, "scores.vision": of_vision}
    integers = {"head": head, "tail": tail, "targets": targets}
    return tensors | {name: value.to(torch.uint32) for name, value in integers.items()}
