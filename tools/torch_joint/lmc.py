"""LMC in PyTorch, a whole run of it, to compare its time and its scores with those of mkgc's.

Networks and formulas are those of the twin (`tools/trajectory`): BERT and CLIP's vision tower side by side, in the last
layers of both a key that they share, a linear head on both class states. What a run needs besides is here, as one would
write it with transformers: SDPA in the layers whose logits nobody reads, dropout, fused AdamW, batches of rows of like
length. One optimiser serves all tasks. A task is learnt with distillation against the maps of the network before it,
which are pooled once per task and kept, as in mkgc; then some rows of each of its classes are stored; then the network
makes `--memory-epochs` passes over all stored rows. Every step's gradients are modulated and get noise.

The vision tower is shown whole pictures, decoded once; a row without one gets coloured squares that the picture's name
decides. Defaults are what `mkgc train --method lmc --recipe harness/recipes/minilm-cpu-mnre.toml` has. Relations only.
Prints micro-F1 and accuracy on the cumulative test file of each task.
"""

import argparse
import hashlib
import io
import json
import pathlib
import random
import sys

import numpy
import pyarrow.parquet as pq
import torch
import transformers
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

import emr
import joint

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "trajectory"))

import methods
import networks

# Squares along a side of a stand-in.
SQUARES = 4


class Rows(joint.Relations):
    """Rows as the twin's networks take them, with the names of their pictures."""

    columns = [*joint.Relations.columns, "image_id"]

    def encode(self, row, gold, seen):
        item = super().encode(row, gold, seen)
        return item | {"anchors": item["at"], "image": (row["id"].split("-")[0], row["image_id"])}


class Pictures:
    """What the vision tower is shown: bytes `[3, side, side]` of the benchmark's pictures, stand-ins for the others."""

    def __init__(self, benchmark, manifest, side):
        self.side, self.known = side, {}
        if manifest["images"]:
            for path in sorted((benchmark / "images").glob("images*.parquet")):
                for rows in pq.ParquetFile(path).iter_batches(128):
                    real = (row for row in rows.to_pylist() if not row["placeholder"])
                    self.known |= {(row.get("split"), row["id"]): self.prepared(row["image"]["bytes"]) for row in real}

    def prepared(self, file):
        """As CLIP's image processor has it: the shorter side becomes `side` pixels long, the middle is cut out."""
        picture = Image.open(io.BytesIO(file)).convert("RGB")
        width, height = (self.side * length // min(picture.size) for length in picture.size)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        middle = picture.crop((left, top, left + self.side, top + self.side))
        return torch.from_numpy(numpy.array(middle)).permute(2, 0, 1)

    def stand_in(self, name):
        colours = hashlib.shake_256(name.encode()).digest(3 * SQUARES**2)
        square = torch.arange(self.side) * SQUARES // self.side
        return torch.tensor(list(colours), dtype=torch.uint8).reshape(3, SQUARES, SQUARES)[:, square][:, :, square]

    def of(self, row):
        split, name = row["image"]
        found = self.known.get((split, name), self.known.get((None, name)))
        return self.stand_in(name) if found is None else found

    def batch(self, items):
        """Rows padded to the longest one, with normalised pixels."""
        batch = networks.collate([item | {"gold": [item["gold"]]} for item in items], "re", 0, self.of)
        mean, deviation = (torch.tensor(of)[:, None, None] for of in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        batch.pixels = batch.pixels.float().div_(255).sub_(mean).div_(deviation)
        return batch


def fresh_network(words, labels, args):
    """The pretrained encoders; head, shared keys and position biases are fresh."""
    bert = joint.fresh_encoder(args.encoder, words)
    clip = transformers.CLIPVisionModel.from_pretrained(args.vision)
    settings = {"shared_layers": args.shared_layers, "key": "matrix", "max_length": args.max_len}
    shapes = {"text": bert.config.to_dict(), "vision": clip.config.to_dict()}
    network = networks.Network({"method": "lmc", "kind": "re", "labels": labels, "config": settings} | shapes)
    pretrained = bert.state_dict() | {f"vision_model.{name}": value for name, value in clip.state_dict().items()}
    for name in network.load_state_dict(pretrained, strict=False).missing_keys:
        assert name.startswith(("head.", "shared.", "text.", "vision.")), f"no pretrained {name}"
        if not name.startswith("head."):
            nn.init.xavier_uniform_(network.get_parameter(name))
    networks.keep_logits([layer.attention.self for layer in network.encoder.layer], args.shared_layers)
    networks.keep_logits([layer.self_attn for layer in network.vision_model.encoder.layers], args.shared_layers)
    return network


def pooled(encoded, batch):
    """Of each stream the maps as they are distilled, after ReLU, `[B, L, h, layers · 2]`, and what is real, `[B, L]`."""
    every = torch.ones(encoded.vision_maps[0].shape[::2], dtype=torch.bool)
    for maps, real in ((encoded.text_maps, batch.real), (encoded.vision_maps, every)):
        means = [methods.pooled(layer, real, kind) for layer in maps for kind in ("width", "height")]
        yield functional.relu(torch.stack(means, 3)).transpose(1, 2), real


def distillation(items, encoded, batch):
    """What `methods.stream_distillation` says, against maps that are pooled already and kept with the rows."""
    total = 0.0
    for n, (now, real) in enumerate(pooled(encoded, batch)):
        before = pad_sequence([item["maps"][n] for item in items], batch_first=True)
        squares = ((now - before) ** 2).mean((2, 3)) * real
        total = total + (squares.sum(1) / real.sum(1)).mean()
    return total


class Learner:
    """One network and its optimiser for all tasks, and the labels that were seen."""

    def __init__(self, network, pictures, labels, args):
        self.network, self.pictures, self.args = network, pictures, args
        self.allowed = torch.zeros(labels, dtype=torch.bool)
        self.shuffler, self.steps = random.Random(args.seed), 0
        # Shared keys and position biases are trained at the encoders' rate.
        rest = [value for name, value in network.named_parameters() if not name.startswith("head.")]
        groups = [
            {"params": rest, "lr": args.lr_encoder},
            {"params": list(network.head.parameters()), "lr": args.lr_head},
        ]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=args.weight_decay, fused=True)

    @torch.no_grad()
    def shown(self, items):
        """What the network says of rows without dropout, batch by batch, rows of like length together."""
        self.network.eval()
        order, size = sorted(items, key=lambda item: len(item["ids"])), 2 * self.args.batch
        for at in range(0, len(order), size):
            batch = self.pictures.batch(order[at : at + size])
            yield order[at : at + size], batch, self.network(batch)

    def teach(self, items):
        """Keeps with each row the pooled maps of the network as it is now: the teacher says the same of a row every
        time."""
        for rows, batch, encoded in self.shown(items):
            text, vision = (maps for maps, _ in pooled(encoded, batch))
            for n, item in enumerate(rows):
                item["maps"] = text[n, : len(item["ids"])].clone(), vision[n].clone()

    def features(self, items):
        """What the head reads of rows."""
        for rows, batch, encoded in self.shown(items):
            for item, found in zip(rows, self.network.head.features(encoded, batch)):
                item["features"] = found
        return torch.stack([item.pop("features") for item in items]).numpy()

    def predict(self, items):
        for rows, batch, encoded in self.shown(items):
            scores = self.network.head.scores(self.network.head.features(encoded, batch))
            for item, label in zip(rows, scores.masked_fill(~self.allowed, -torch.inf).argmax(1).tolist()):
                item["predicted"] = label
        return [item["predicted"] for item in items]

    def learn(self, items, epochs, taught=False):
        """`taught`: with distillation against what `teach` kept."""
        network, args = self.network.train(), self.args
        for rows in (rows for _ in range(epochs) for rows in joint.batches(items, args, self.shuffler)):
            batch = self.pictures.batch(rows)
            encoded = network(batch)
            scores = network.head.scores(functional.dropout(network.head.features(encoded, batch), args.dropout))
            loss = methods.relation_losses(scores, batch.gold, self.allowed).mean()
            if taught:
                loss = loss + args.distillation * distillation(rows, encoded, batch)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.modulate(encoded, batch)
            nn.utils.clip_grad_norm_(network.parameters(), args.clip)
            self.optimiser.step()
            self.steps += 1

    @torch.no_grad()
    def modulate(self, encoded, batch):
        """g <- κ g + ε for the gradients of a stream; ε is normal and has the deviation that g has before."""
        head = self.network.head
        factors = methods.modulation(head, head.sides(encoded, batch), batch, self.allowed, self.args.alpha)
        for name, value in self.network.named_parameters():
            stream = methods.stream(name)
            if stream is not None:
                noise = torch.randn_like(value.grad).mul_(value.grad.std())
                value.grad = noise.add_(value.grad, alpha=factors[stream].item())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=pathlib.Path, help="folder made by `mkgc build`")
    parser.add_argument("--encoder", type=pathlib.Path, required=True, help="Hugging Face folder of a BERT encoder")
    parser.add_argument("--vision", type=pathlib.Path, required=True, help="the same of a CLIP vision tower")
    parser.add_argument("--tasks", type=int, help="how many tasks to learn (default: all)")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--selection", choices=("random", "kmeans"), default="random", help="of the rows to store")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--memory-epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr-encoder", type=float, default=5e-5)
    parser.add_argument("--lr-head", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--dropout", type=float, default=0.1, help="in the head")
    parser.add_argument("--clip", type=float, default=10.0, help="global gradient norm")
    parser.add_argument("--shared-layers", type=int, default=1, help="last layers whose keys the streams share")
    parser.add_argument("--distillation", type=float, default=1.0, help="its weight, λ")
    parser.add_argument("--alpha", type=float, default=0.1, help="strength of the modulation, α")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-len", type=int, default=128)
    parser.add_argument("--pool", type=int, default=16, help="batches per length bucket")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file, rewritten after every task")
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    manifest, words = joint.open_manifest(args.benchmark), joint.Words(args.encoder)
    if manifest["task"] != "re":
        sys.exit(f"{args.benchmark}: this script learns relations only, and this benchmark is about entities")
    if manifest["embed_images"]:
        sys.exit(f"{args.benchmark}: pictures lie in the rows; build it without --embed-images")
    labels = manifest["labels"]
    kind, everything = Rows(words, labels, args.max_len), list(range(len(labels)))
    network = fresh_network(words, labels, args)
    pictures = Pictures(args.benchmark, manifest, network.vision_model.config.image_size)
    learner, drawer = Learner(network, pictures, len(labels), args), random.Random(args.seed + 1)
    recipe = {name: value for name, value in vars(args).items() if name not in (*joint.ELSEWHERE, "vision")}
    result = {"benchmark": manifest["name"], "recipe": recipe, "tasks": []}
    memory = []
    for number, task in enumerate(manifest["tasks"][: args.tasks]):
        learner.allowed[kind.seen(set(task["classes"]))] = True
        rows = joint.load_rows(args.benchmark, number, "train", kind, kind.label)
        items = [kind.encode(row, gold, everything) for row, gold in rows]
        if number:
            learner.teach(items)
        learner.learn(items, args.epochs, taught=number > 0)
        memory += emr.select(items, args, drawer, learner.features)
        if number:
            learner.learn(memory, args.memory_epochs)
        tests = joint.load_rows(args.benchmark, number, "test", kind, kind.label)
        test_items = [kind.encode(row, gold, everything) for row, gold in tests]
        predicted = learner.predict(test_items)
        scores = kind.score([item["gold"] for item in test_items], predicted, everything)
        counts = {"task": number + 1, "stored": len(memory), "optimiser_steps": learner.steps}
        result["tasks"].append(counts | scores)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"T{number + 1}: micro-F1 {scores['micro_f1']:.3f}, accuracy {scores['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
