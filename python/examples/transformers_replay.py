"""Fine-tunes a BERT of transformers with the replay of EMR (Wang et al. 2019) on a stream of relations or entities.

    python transformers_replay.py BENCHMARK --out RUN [--encoder FOLDER_OR_REPOSITORY]

Before each step on a batch of the task, a step on all rows stored of one earlier task, tasks in turn from the first. After a
task, the rows nearest to k-means centroids of each class are stored. These are the rules of mkgc's `emr`, and for relations
its head as well: compare the two with the same encoder, epochs and rates. Without --encoder, a tiny one with random weights is trained.
"""

import argparse
import itertools
import pathlib
import random
import zlib

import mkgc
import sklearn.cluster
import torch
import transformers
from torch import nn
from torch.nn.utils.rnn import pad_sequence

MARKERS = ["[E11]", "[E12]", "[E21]", "[E22]"]


class TinyWords:
    """Stands in for a tokenizer: each word is one piece, numbered by a checksum."""

    def __len__(self):
        return 4096

    def __call__(self, words):
        ids = [0, *(1 + zlib.crc32(word.lower().encode()) % (len(self) - 2) for word in words), len(self) - 1]
        return ids, [None, *range(len(words)), None]


class Words:
    """A tokenizer of transformers that reads words and the markers of mentions."""

    def __init__(self, name):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        self.tokenizer.add_special_tokens({"additional_special_tokens": MARKERS})

    def __len__(self):
        return len(self.tokenizer)

    def __call__(self, words):
        encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=128)
        return encoded["input_ids"], encoded.word_ids()


class Model(nn.Module):
    """An encoder with a head that reads two markers of a sentence (relations) or each word (entities)."""

    def __init__(self, args, labels, width):
        super().__init__()
        if args.encoder:
            self.words = Words(args.encoder)
            self.encoder = transformers.AutoModel.from_pretrained(args.encoder)
            self.encoder.resize_token_embeddings(len(self.words))
        else:
            self.words = TinyWords()
            shape = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
            self.encoder = transformers.BertModel(transformers.BertConfig(vocab_size=len(self.words), **shape))
        hidden = self.encoder.config.hidden_size
        dropout = nn.Dropout(args.dropout)
        self.features = nn.Sequential(dropout, nn.Linear(width * hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.classifier = nn.Linear(hidden, labels, bias=False)
        self.width = width

    def item(self, row):
        """Word pieces of a row, and the places of the states that the head reads: both markers, or each word's first piece."""
        words = list(row["tokens"])
        if self.width == 2:
            words, opening = mark(row)
        ids, of_piece = self.words(words)
        first = {}
        for place, word in enumerate(of_piece):
            first.setdefault(word, place)
        wanted = opening if self.width == 2 else range(len(words))
        return {"ids": torch.tensor(ids), "at": [first.get(word, len(ids) - 1) for word in wanted]}

    def read(self, items):
        """Features of everything that gets a label, `[items, hidden]`."""
        ids = pad_sequence([item["ids"] for item in items], batch_first=True)
        mask = pad_sequence([torch.ones_like(item["ids"]) for item in items], batch_first=True)
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        wanted = [row[item["at"]].view(-1, self.width * row.shape[-1]) for row, item in zip(states, items)]
        return self.features(torch.cat(wanted))

    @torch.no_grad()
    def read_all(self, items):
        """The same without dropout, as one tensor per row."""
        self.eval()
        features = []
        for start in range(0, len(items), 32):
            batch = items[start : start + 32]
            features += self.read(batch).split([len(item["at"]) // self.width for item in batch])
        return features


def mark(row):
    """The words with markers around both mentions, and where the opening markers are."""
    words, opening = [], [0, 0]
    for place in range(len(row["tokens"]) + 1):
        words += [MARKERS[2 * n + 1] for n, name in enumerate(("head", "tail")) if row[name]["end"] == place]
        for n, name in enumerate(("head", "tail")):
            if row[name]["start"] == place:
                opening[n] = len(words)
                words.append(MARKERS[2 * n])
        words += row["tokens"][place : place + 1]
    return words, opening


def step(model, optimiser, items, seen):
    """One step on all items, whose gradients are summed over batches of 16."""
    optimiser.zero_grad()
    counted = sum((item["gold"] != -100).sum() for item in items)
    for start in range(0, len(items), 16):
        batch = items[start : start + 16]
        logits = model.classifier(model.read(batch))
        logits[:, seen:] = -torch.inf
        loss = nn.functional.cross_entropy(logits, torch.cat([item["gold"] for item in batch]), reduction="sum") / counted
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimiser.step()


def learn(model, task, args, memory, turns):
    """Learns a task, and returns the rows to store of it."""
    fast = list(model.classifier.parameters())
    slow = [*model.encoder.parameters(), *model.features.parameters()]
    groups = [{"params": slow, "lr": args.lr_encoder}, {"params": fast, "lr": args.lr_head}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
    items = labelled(model, task.train)
    model.train()
    for _ in range(args.epochs):
        shuffled = random.sample(items, len(items))
        for start in range(0, len(items), 16):
            if memory:
                step(model, optimiser, memory[next(turns) % len(memory)], len(task.labels))
            step(model, optimiser, shuffled[start : start + 16], len(task.labels))
    return chosen(model, items, task, args.memory_per_class)


def labelled(model, rows, masked=False):
    """Items with gold labels. An `O` of a stored sentence may be an entity of a later type, so it is not learned."""
    column = "relation" if "relation" in rows.column_names else "tags"
    items = []
    for row in rows:
        gold = torch.tensor(row[column]).view(-1)
        if masked and column == "tags":
            gold[gold == 0] = -100
        items.append(model.item(row) | {"id": row["id"], "task": row["task"], "gold": gold})
    return [item for item in items if (item["gold"] != -100).any()]


def chosen(model, items, task, count):
    """For each class, the rows nearest to the k-means centroids of its features."""
    by_class = {}
    for item, features in zip(items, model.read_all(items)):
        types = [task.labels[label].split("-", 1)[-1] if model.width == 1 else label for label in item["gold"].tolist()]
        # `O` stands for a sentence without any entity.
        for name in (set(types) - {"O"}) or set(types):
            mean = features[[name == own for own in types]].mean(0)
            by_class.setdefault(name, []).append((item, mean))
    kept = {}
    for members in by_class.values():
        vectors = torch.stack([mean for _, mean in members])
        clusters = min(count, len(members))
        centres = sklearn.cluster.KMeans(clusters, n_init=10, random_state=0).fit(vectors.numpy()).cluster_centers_
        free = list(range(len(members)))
        for centre in torch.tensor(centres):
            nearest = min(free, key=lambda place: float((vectors[place] - centre).square().sum()))
            free.remove(nearest)
            kept[members[nearest][0]["id"]] = members[nearest][0]
    return list(kept.values())


def predict(model, rows, seen):
    """A label for each row of relations, or a list of tags."""
    features = model.read_all([model.item(row) for row in rows])
    with torch.no_grad():
        best = [model.classifier(own)[:, :seen].argmax(1).tolist() for own in features]
    return [own[0] for own in best] if model.width == 2 else best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=pathlib.Path, help="folder that `mkgc build` wrote")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="run folder to create or resume")
    parser.add_argument("--name", default="BERT with replay")
    parser.add_argument("--encoder", help="folder or repository of a BERT (default: a tiny one with random weights)")
    parser.add_argument("--memory-per-class", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr-encoder", type=float, default=1e-3)
    parser.add_argument("--lr-head", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, help="stop after so many tasks")
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    stream = mkgc.Stream(
        args.benchmark,
        memory_per_class=args.memory_per_class,
        out=args.out,
        name=args.name,
        train_seed=args.seed,
        tasks=args.tasks,
        images=False,
    )
    model = Model(args, stream.hello["labels"], 2 if stream.extraction == "re" else 1)
    saved = pathlib.Path(stream.folder)
    if stream.tasks_done:
        model.load_state_dict(torch.load(saved / f"after_{stream.tasks_done}.pt"))
    for task in stream:
        turns = itertools.count()
        memory = labelled(model, task.memory, masked=True)
        by_task = [list(rows) for _, rows in itertools.groupby(memory, key=lambda item: item["task"])]
        task.remember([item["id"] for item in learn(model, task, args, by_task, turns)])
        predictions = predict(model, task.test, len(task.labels))
        # What a process needs that goes on after a crash.
        torch.save(model.state_dict(), saved / f"after_{task.index + 1}.pt")
        task.predict(predictions)
        (saved / f"after_{task.index}.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
