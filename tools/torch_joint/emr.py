"""EMR in PyTorch, written independently of the Rust code, to check how much of earlier tasks its EMR should keep.

One model learns task after task. Each optimiser step is on a batch of the task's rows together with as many rows drawn
from the memory of all earlier tasks (`replay = "concat"` in mkgc). After a task, `--per-class` rows of each of its
classes are stored: those nearest to k-means centroids of their features, or drawn at random. The softmax runs over the
labels seen so far. Relations only. Prints micro-F1 and accuracy on the cumulative test file of each task.
"""

import argparse
import collections
import json
import pathlib
import random
import sys

import numpy
import sklearn.cluster
import torch
import transformers
from torch import nn

import joint


class SeenHead(joint.RelationHead):
    """The relation head over all labels; those not seen yet cannot win and take no part in the loss."""

    def __init__(self, hidden, labels, dropout):
        super().__init__(hidden, labels, dropout)
        self.unseen = torch.ones(labels, dtype=torch.bool)

    def logits(self, states, batch):
        return super().logits(states, batch).masked_fill(self.unseen, float("-inf"))


def features(encoder, head, items):
    """Features of rows without dropout, as the classifier reads them."""
    encoder.eval(), head.eval()
    found = []
    with torch.no_grad():
        for at in range(0, len(items), 64):
            batch = items[at : at + 64]
            states = joint.hidden_states(encoder, batch)
            rows = torch.arange(len(batch)).unsqueeze(1)
            found.append(head.features(states[rows, torch.tensor([item["at"] for item in batch])].flatten(1)))
    return torch.cat(found).numpy()


def select(items, args, drawer, features):
    """Rows to keep of a task, class by class; `features(rows)` is what k-means works on."""
    by_class = collections.defaultdict(list)
    for item in items:
        by_class[item["gold"]].append(item)
    kept = []
    for rows in by_class.values():
        count = min(args.per_class, len(rows))
        if args.selection == "random" or count == len(rows):
            kept += drawer.sample(rows, count)
            continue
        found = features(rows)
        centres = sklearn.cluster.KMeans(count, n_init=10, random_state=0).fit(found).cluster_centers_
        free = list(range(len(rows)))
        for centre in centres:
            nearest = min(free, key=lambda row: float(numpy.square(found[row] - centre).sum()))
            free.remove(nearest)
            kept.append(rows[nearest])
    return kept


def optimiser(encoder, head, args):
    """With the published groups the head's feature layer belongs to the encoder; otherwise to the head."""
    slow, fast = list(encoder.parameters()), list(head.classifier.parameters())
    (slow if args.groups == "published" else fast).extend(head.features.parameters())
    groups = [{"params": slow, "lr": args.lr_encoder}, {"params": fast, "lr": args.lr_head}]
    return torch.optim.AdamW(groups, weight_decay=0.0, fused=True)


def learn(encoder, head, items, memory, optimiser, args, shuffler):
    encoder.train(), head.train()
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for _ in range(args.epochs):
        for batch in joint.batches(items, args, shuffler):
            rows = batch + shuffler.sample(memory, min(args.batch, len(memory)))
            optimiser.zero_grad(set_to_none=True)
            head.loss(joint.hidden_states(encoder, rows), rows).backward()
            nn.utils.clip_grad_norm_(parameters, args.clip)
            optimiser.step()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=pathlib.Path, help="folder made by `mkgc build`")
    parser.add_argument("--encoder", type=pathlib.Path, required=True, help="Hugging Face folder of a BERT encoder")
    parser.add_argument("--tasks", type=int, help="how many tasks to learn (default: all)")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--selection", choices=("kmeans", "random"), default="kmeans")
    parser.add_argument("--groups", choices=("published", "head"), default="published")
    parser.add_argument("--optimiser", choices=("task", "stream"), default="task", help="how long its moments live")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr-encoder", type=float, default=5e-5)
    parser.add_argument("--lr-head", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
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
        sys.exit(f"{args.benchmark}: this script learns relations only")
    labels = manifest["labels"]
    kind = joint.Relations(words, labels, args.max_len)
    everything = list(range(len(labels)))
    encoder = joint.fresh_encoder(args.encoder, words)
    head = SeenHead(encoder.config.hidden_size, len(labels), args.dropout)
    shuffler, drawer = random.Random(args.seed), random.Random(args.seed + 1)
    recipe = {name: value for name, value in vars(args).items() if name not in joint.ELSEWHERE}
    result = {"benchmark": manifest["name"], "recipe": recipe, "tasks": []}
    memory, steps = [], optimiser(encoder, head, args)
    for number, task in enumerate(manifest["tasks"][: args.tasks]):
        head.unseen[kind.seen(set(task["classes"]))] = False
        rows = joint.load_rows(args.benchmark, number, "train", kind, kind.label)
        items = [kind.encode(row, gold, everything) for row, gold in rows]
        if args.optimiser == "task":
            steps = optimiser(encoder, head, args)
        learn(encoder, head, items, memory, steps, args, shuffler)
        memory = memory + select(items, args, drawer, lambda rows: features(encoder, head, rows))
        tests = joint.load_rows(args.benchmark, number, "test", kind, kind.label)
        test_items = [kind.encode(row, gold, everything) for row, gold in tests]
        predicted = joint.predict(encoder, head, test_items, 2 * args.batch)
        scores = kind.score([item["gold"] for item in test_items], predicted, everything)
        result["tasks"].append({"task": number + 1, "stored": len(memory)} | scores)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"T{number + 1}: micro-F1 {scores['micro_f1']:.3f}, accuracy {scores['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
