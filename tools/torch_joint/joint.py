"""Joint training in PyTorch, written independently of the Rust code, to check what range its Joint should reach.

For each stage k: a fresh model from the pretrained encoder, trained on the union of the training rows of tasks 1..k
with their original labels, scored on the cumulative test file of task k. Reads a benchmark folder made by `mkgc build`.
With --vanilla, one model learns task after task from each task's own rows and labels, to compare what a run costs; its
softmax runs over all labels, so its scores are not those of mkgc's Vanilla.
"""

import argparse
import json
import pathlib
import random
import sys
import time

import pyarrow.parquet as pq
import sklearn.metrics
import tokenizers
import torch
import transformers
from seqeval.metrics import classification_report
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torchcrf import CRF

# Arguments that are no part of the recipe.
ELSEWHERE = ("benchmark", "encoder", "out", "stages")
MARKERS = ["[E11]", "[E12]", "[E21]", "[E22]"]


class Words:
    """Word-piece ids of single words, from the encoder folder's tokenizer.json."""

    def __init__(self, folder):
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.add_special_tokens(MARKERS)
        self.cls, self.sep, self.unk = (self.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[UNK]"))
        self.markers = [self.tokenizer.token_to_id(name) for name in MARKERS]

    def pieces(self, word):
        """At least one id: a word that normalises to nothing is [UNK]."""
        return self.tokenizer.encode(word, add_special_tokens=False).ids or [self.unk]


def mark(tokens, head, tail):
    """Word indices and marker numbers in reading order; a closing marker comes before one that opens at its place."""
    sequence = []
    for place in range(len(tokens) + 1):
        sequence += [("marker", n) for n, span in ((1, head), (3, tail)) if span["end"] == place]
        sequence += [("marker", n) for n, span in ((0, head), (2, tail)) if span["start"] == place]
        if place < len(tokens):
            sequence.append(("word", place))
    return sequence


class Relations:
    """Relation extraction: entity-marker states, cross-entropy over the seen labels."""

    columns = ["id", "tokens", "head", "tail"]
    label, original = "relation", "original_relation"
    default_dropout = 0.5

    def __init__(self, words, labels, max_len):
        self.words, self.labels, self.max_len = words, labels, max_len

    def seen(self, classes):
        """Ids of `None` (if the benchmark has it) and of the relations of the tasks so far."""
        return [n for n, name in enumerate(self.labels) if name == "None" or name in classes]

    def encode(self, row, gold, seen):
        ids, starts = [self.words.cls], {}
        for kind, n in mark(row["tokens"], row["head"], row["tail"]):
            if kind == "marker":
                starts[n] = len(ids)
                ids.append(self.words.markers[n])
            else:
                ids += self.words.pieces(row["tokens"][n])
        ids = ids[: self.max_len - 1] + [self.words.sep]
        if max(starts[0], starts[2]) >= len(ids) - 1:
            sys.exit(f"row {row['id']}: a mention starts past --max-len {self.max_len}; raise it")
        return {"ids": ids, "at": [starts[0], starts[2]], "gold": seen.index(gold)}

    def head(self, hidden, seen, dropout):
        return RelationHead(hidden, len(seen), dropout)

    def score(self, gold, predicted, seen):
        """`gold` and `predicted` index `seen`. Strict: argmax over the seen labels. F1 leaves `None` out."""
        relations = [n for n, label in enumerate(seen) if self.labels[label] != "None"]
        scores = {"accuracy": sklearn.metrics.accuracy_score(gold, predicted)}
        for kind in ("micro", "macro"):
            f1 = sklearn.metrics.f1_score(gold, predicted, labels=relations, average=kind, zero_division=0)
            scores[f"{kind}_f1"] = float(f1)
        return scores


class RelationHead(nn.Module):
    """concat(H[E11], H[E21]) -> dropout -> Linear 2H->H -> GELU -> LayerNorm -> Linear without bias."""

    def __init__(self, hidden, labels, dropout):
        super().__init__()
        self.features = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * hidden, hidden), nn.GELU(), nn.LayerNorm(hidden)
        )
        self.classifier = nn.Linear(hidden, labels, bias=False)

    def logits(self, states, batch):
        rows = torch.arange(len(states)).unsqueeze(1)
        at = torch.tensor([item["at"] for item in batch])
        return self.classifier(self.features(states[rows, at].flatten(1)))

    def loss(self, states, batch):
        return nn.functional.cross_entropy(self.logits(states, batch), torch.tensor([item["gold"] for item in batch]))

    def predict(self, states, batch):
        return self.logits(states, batch).argmax(1).tolist()


class Entities:
    """Named-entity recognition: first-word-piece states, linear-chain CRF over the seen tags."""

    columns = ["id", "tokens"]
    label, original = "tags", "original_tags"
    default_dropout = 0.1

    def __init__(self, words, labels, max_len):
        self.words, self.labels, self.max_len = words, labels, max_len

    def seen(self, classes):
        """Ids of `O` and of the B- and I- tags of the types of the tasks so far."""
        return [n for n, name in enumerate(self.labels) if name == "O" or name[2:] in classes]

    def encode(self, row, gold, seen):
        """Tags of types not seen yet become O. Words past the length limit get no state and are predicted O."""
        ids, first, outside = [self.words.cls], [], self.labels.index("O")
        for word in row["tokens"]:
            pieces = self.words.pieces(word)
            if len(ids) < self.max_len - 1:
                first.append(len(ids))
            ids += pieces
        ids = ids[: self.max_len - 1] + [self.words.sep]
        return {"ids": ids, "at": first, "gold": [seen.index(tag if tag in seen else outside) for tag in gold]}

    def head(self, hidden, seen, dropout):
        return EntityHead(hidden, len(seen), dropout, seen.index(self.labels.index("O")))

    def score(self, gold, predicted, seen):
        """Spans as seqeval's default (lenient) mode reads them, averaged over the types in gold or prediction."""
        names = [self.labels[label] for label in seen]
        spelled = [[[names[tag] for tag in tags] for tags in sentences] for sentences in (gold, predicted)]
        report = classification_report(*spelled, output_dict=True, zero_division=0)
        types = {name: float(row["f1-score"]) for name, row in report.items() if not name.endswith(" avg")}
        averages = {f"{kind}_f1": float(report[f"{kind} avg"]["f1-score"]) for kind in ("micro", "macro")}
        return averages | {"f1_by_type": types}


class EntityHead(nn.Module):
    """First-piece states -> dropout -> Linear -> linear-chain CRF."""

    def __init__(self, hidden, tags, dropout, outside):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.emission = nn.Linear(hidden, tags)
        self.crf = CRF(tags, batch_first=True)
        self.outside = outside

    def emissions(self, states, batch):
        at = [torch.tensor(item["at"]) for item in batch]
        mask = pad_sequence([torch.ones_like(places, dtype=torch.bool) for places in at], batch_first=True)
        rows = torch.arange(len(batch)).unsqueeze(1)
        return self.emission(self.dropout(states[rows, pad_sequence(at, batch_first=True)])), mask

    def loss(self, states, batch):
        """Mean over sentences of the negative log-likelihood."""
        emissions, mask = self.emissions(states, batch)
        gold = [torch.tensor(item["gold"][: len(item["at"])]) for item in batch]
        return -self.crf(emissions, pad_sequence(gold, batch_first=True), mask=mask, reduction="mean")

    def predict(self, states, batch):
        paths = self.crf.decode(*self.emissions(states, batch))
        return [path + [self.outside] * (len(item["gold"]) - len(path)) for path, item in zip(paths, batch)]


def load_rows(benchmark, task, split, kind, column):
    table = pq.read_table(benchmark / "tasks" / f"task_{task:02}_{split}.parquet", columns=[*kind.columns, column])
    return [(row, row[column]) for row in table.to_pylist()]


def hidden_states(encoder, batch):
    ids = [torch.tensor(item["ids"]) for item in batch]
    mask = pad_sequence([torch.ones_like(each) for each in ids], batch_first=True)
    return encoder(input_ids=pad_sequence(ids, batch_first=True), attention_mask=mask).last_hidden_state


def batches(items, args, shuffler):
    """Shuffled batches; within each pool of `--pool` batches rows of like length go together (1: plain random)."""
    order = list(items)
    shuffler.shuffle(order)
    pool = args.batch * args.pool
    pools = [sorted(order[at : at + pool], key=lambda item: len(item["ids"])) for at in range(0, len(order), pool)]
    made = [rows[at : at + args.batch] for rows in pools for at in range(0, len(rows), args.batch)]
    shuffler.shuffle(made)
    return made


def train(encoder, head, items, args):
    # As in RP-CRE's and ACA's code, the layer that makes the features belongs to the encoder.
    features = list(head.features.parameters()) if isinstance(head, RelationHead) else []
    rest = [parameter for parameter in head.parameters() if all(parameter is not own for own in features)]
    groups = [
        {"params": list(encoder.parameters()) + features, "lr": args.lr_encoder},
        {"params": rest, "lr": args.lr_head},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)
    parameters = [parameter for group in groups for parameter in group["params"]]
    shuffler, steps, started = random.Random(args.seed), 0, time.monotonic()
    encoder.train(), head.train()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for batch in batches(items, args, shuffler):
            optimiser.zero_grad(set_to_none=True)
            loss = head.loss(hidden_states(encoder, batch), batch)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, args.clip)
            optimiser.step()
            total, steps = total + loss.item() * len(batch), steps + 1
        seconds = time.monotonic() - started
        speed = epoch * len(items) / seconds
        print(f"  epoch {epoch}/{args.epochs} loss {total / len(items):.4f} {speed:.1f} samples/s", file=sys.stderr)
    return {"steps": steps, "seconds": seconds, "samples_per_second": speed, "last_epoch_loss": total / len(items)}


@torch.no_grad()
def predict(encoder, head, items, size):
    encoder.eval(), head.eval()
    order = sorted(range(len(items)), key=lambda n: len(items[n]["ids"]))
    predicted = [None] * len(items)
    for at in range(0, len(order), size):
        chunk = order[at : at + size]
        batch = [items[n] for n in chunk]
        for n, answer in zip(chunk, head.predict(hidden_states(encoder, batch), batch)):
            predicted[n] = answer
    return predicted


def fresh_encoder(folder, words):
    """The pretrained weights with rows N(0, 0.02) for the markers."""
    encoder = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    encoder.resize_token_embeddings(words.tokenizer.get_vocab_size(), mean_resizing=False)
    return encoder


def run_stage(stage, manifest, kind, words, args, models):
    """One fresh model on tasks 1..stage, scored on the test file of task `stage`; with --vanilla, the model of the stage
    before in `models` on task `stage`."""
    torch.manual_seed(args.seed)
    tasks = manifest["tasks"] if args.vanilla else manifest["tasks"][:stage]
    seen = kind.seen({name for task in tasks for name in task["classes"]})
    learnt, column = ([stage - 1], kind.label) if args.vanilla else (range(stage), kind.original)
    rows = [row for task in learnt for row in load_rows(args.benchmark, task, "train", kind, column)]
    items = [kind.encode(row, gold, seen) for row, gold in rows]
    tests = load_rows(args.benchmark, stage - 1, "test", kind, kind.label)
    test_items = [kind.encode(row, gold, seen) for row, gold in tests]
    print(f"stage {stage}: {len(items)} train rows, {len(test_items)} test rows, {len(seen)} labels", file=sys.stderr)
    if not (args.vanilla and models):
        encoder = fresh_encoder(args.encoder, words)
        models[:] = encoder, kind.head(encoder.config.hidden_size, seen, args.dropout)
    encoder, head = models
    trained = train(encoder, head, items, args)
    predicted = predict(encoder, head, test_items, 2 * args.batch)
    metrics = kind.score([item["gold"] for item in test_items], predicted, seen)
    return {"stage": stage, "train_rows": len(items), "test_rows": len(test_items)} | trained | {"metrics": metrics}


def open_manifest(benchmark):
    manifest = json.loads((benchmark / "manifest.json").read_text())
    if manifest["tests"] != "cumulative":
        sys.exit(f"{benchmark}/manifest.json: tests is {manifest['tests']!r}; this script scores cumulative tests only")
    return manifest


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=pathlib.Path, help="folder made by `mkgc build`")
    parser.add_argument("--encoder", type=pathlib.Path, required=True, help="Hugging Face folder of a BERT encoder")
    parser.add_argument("--stages", help="numbers of tasks learnt, e.g. 1,5,10 (default: every one)")
    parser.add_argument("--vanilla", action="store_true", help="one model through all tasks, each on its own rows")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr-encoder", type=float, default=1e-5)
    parser.add_argument("--lr-head", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, help="in the head (default: 0.5 for relations, 0.1 for entities)")
    parser.add_argument("--clip", type=float, default=10.0, help="global gradient norm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-len", type=int, default=128, help="word pieces, [CLS] and [SEP] included")
    parser.add_argument("--pool", type=int, default=1, help="batches per length bucket (1: plain random batches)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file, rewritten after every stage")
    return parser.parse_args()


def table(stages):
    """Plain columns: stage, then every scalar metric."""
    names = [name for name, value in stages[0]["metrics"].items() if isinstance(value, float)]
    lines = ["stage " + " ".join(f"{name:>9}" for name in names)]
    for stage in stages:
        lines.append(f"{stage['stage']:>5} " + " ".join(f"{stage['metrics'][name]:>9.4f}" for name in names))
    return "\n".join(lines)


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    manifest, words = open_manifest(args.benchmark), Words(args.encoder)
    kind = {"re": Relations, "ner": Entities}[manifest["task"]](words, manifest["labels"], args.max_len)
    args.dropout = kind.default_dropout if args.dropout is None else args.dropout
    wanted = [int(k) for k in args.stages.split(",")] if args.stages else range(1, len(manifest["tasks"]) + 1)
    result = {
        "benchmark": manifest["name"],
        "fingerprint": manifest.get("fingerprint"),
        "recipe": {name: value for name, value in vars(args).items() if name not in ELSEWHERE},
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, tokenizers)},
        "stages": [],
    }
    models = []
    for stage in wanted:
        result["stages"].append(run_stage(stage, manifest, kind, words, args, models))
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["stages"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
