"""Writes small corpora in the formats that a `[corpus]` table can name, with a protocol for each.

    python tools/interop/corpora.py FOLDER    # then, for each FOLDER/*.toml: mkgc build FILE --raw FOLDER --out ...

A CoNLL file of four columns in IOB1, a TACRED-like list (also large enough for the shipped protocol tacred-10), JSON lines
of relations with pictures by name and of entities by spans, and a Parquet file that Hugging Face `datasets` wrote, with
ClassLabel tags and pictures as bytes.
"""

import json
import pathlib
import random
import sys
import tomllib

import datasets
from PIL import Image

SPLITS = {"train": 40, "validation": 12, "test": 12}
NAMES = {"PER": ["Ann", "Bob", "Eve"], "LOC": ["Rome", "Oslo"], "ORG": ["Acme", "Initech"]}
WORDS = "the a of saw met in at today again often".split()


def sentence(random, kind):
    """Words with one entity of two words, the place where it starts, and its type."""
    words = random.choices(WORDS, k=random.randint(3, 8))
    at = random.randint(0, len(words))
    return words[:at] + [random.choice(NAMES[kind]), "Junior"] + words[at:], at, kind


def sentences(split):
    made = random.Random(split)
    kinds = list(NAMES)
    return [sentence(made, kinds[row % len(kinds)]) for row in range(SPLITS[split])]


def protocol(folder, name, corpus, more):
    # Without a date, mlcroissant warns.
    keys = {"date": "2024-05-01"} | corpus
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    (folder / f"{name}.toml").write_text(f'name = "{name}"\ndescription = "{name}, made for a check"\n{more}\n[corpus]\n{table}\n')


def conll(folder):
    for split in SPLITS:
        lines = ["-DOCSTART- -X- -X- O", ""]
        for words, at, kind in sentences(split):
            for place, word in enumerate(words):
                lines.append(f"{word} NN I-NP {f'I-{kind}' if at <= place < at + 2 else 'O'}")
            lines.append("")
        (folder / f"{split}.conll").write_text("\n".join(lines) + "\n")
    files = {split: f"{split}.conll" for split in SPLITS}
    protocol(folder, "columns", {"name": "columns", "format": "conll", **files}, "n_tasks = 3")


def relation_row(made, relation):
    words, at, _ = sentence(made, "PER")
    return words + ["works", "for", "Acme"], at, len(words) + 2, relation


def tacred(folder):
    """Enough rows for the shipped protocol: 15 of each of its relations, and some without one."""
    shipped = tomllib.loads((pathlib.Path(__file__).parents[2] / "splits/tacred-10.toml").read_text())
    relations = [relation for task in shipped["orders"][0] for relation in task]
    for file, count in (("train", 10), ("dev", 2), ("test", 3)):
        made = random.Random(file)
        rows = []
        for number, relation in enumerate(count * [*relations, "no_relation"]):
            words, head, tail, relation = relation_row(made, relation)
            rows.append({"id": f"{file}{number:05}", "relation": relation, "token": words, "subj_start": head,
                         "subj_end": head + 1, "obj_start": tail, "obj_end": tail, "subj_type": "PERSON"})
        (folder / f"{file}.json").write_text(json.dumps(rows))
    files = {"train": "train.json", "validation": "dev.json", "test": "test.json"}
    protocol(folder, "triples", {"name": "triples", "format": "tacred", **files}, 'n_tasks = 4\norder_seed = 1\nnone = "split"')


def jsonl(folder):
    (folder / "pictures").mkdir()
    for split, rows in SPLITS.items():
        made = random.Random(split)
        with open(folder / f"relations.{split}.jsonl", "w") as file:
            for row in range(rows):
                words, head, tail, relation = relation_row(made, ["works", "owns", "nothing"][row % 3])
                picture = f"{split}{row}.jpg"
                Image.new("RGB", (20, 10), (row, 90, 30)).save(folder / "pictures" / picture)
                file.write(json.dumps({"words": words, "subject": [head, head + 1], "object": [tail, tail],
                                       "label": relation, "photo": picture}) + "\n")
        with open(folder / f"spans.{split}.jsonl", "w") as file:
            for words, at, kind in sentences(split):
                file.write(json.dumps({"text": " ".join(words), "entities": [{"start": at, "end": at + 2, "type": kind}]}) + "\n")
    keys = {"tokens": "words", "head": "subject", "tail": "object", "relation": "label", "image": "photo",
            "span_end": "inclusive", "none": "nothing", "images": "pictures", "license": "CC-BY-4.0", "version": "1.2.0",
            "homepage": "https://example.org/works", "citation": "Made for a check."}
    files = {split: f"relations.{split}.jsonl" for split in SPLITS}
    protocol(folder, "works", {"name": "works", "format": "jsonl-relations", **files, **keys}, "n_tasks = 2")
    # One file, cut into splits and into two orders of tasks.
    keys = {"text": "text", "spans": "entities", "span_end": "exclusive", "train": "spans.train.jsonl"}
    more = "n_tasks = 3\norder_seeds = [1, 2]\n[split]\nseed = 7\ntest = 0.2\nvalidation = 2"
    protocol(folder, "spans", {"name": "spans", "format": "jsonl-entities", **keys}, more)


def parquet(folder):
    labels = ["O", *(f"{mark}-{kind}" for kind in NAMES for mark in "BI")]
    tags = datasets.List(datasets.ClassLabel(names=labels))
    features = datasets.Features({"id": datasets.Value("string"), "tokens": datasets.List(datasets.Value("string")),
                                  "ner_tags": tags, "image": datasets.Image()})
    for split in SPLITS:
        rows = []
        for number, (words, at, kind) in enumerate(sentences(split)):
            marks = [f"B-{kind}" if place == at else f"I-{kind}" if place == at + 1 else "O" for place in range(len(words))]
            rows.append({"id": str(number), "tokens": words, "ner_tags": [labels.index(mark) for mark in marks],
                         "image": Image.new("RGB", (16, 9), (number, 7, 200))})
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}.parquet")
    files = {split: f"{split}.parquet" for split in SPLITS}
    protocol(folder, "hub", {"name": "hub", "format": "parquet", "tags": "ner_tags", "image": "image", **files}, "n_tasks = 3")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True)
    for write in (conll, tacred, jsonl, parquet):
        write(folder)


if __name__ == "__main__":
    main()
