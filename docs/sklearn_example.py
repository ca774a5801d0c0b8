"""Logistic regression on a built benchmark of relations or entities, scored by mkgc. Reads Parquet through Hugging Face
`datasets`.

    python docs/sklearn_example.py BENCHMARK PREDICTIONS.jsonl

After each task, a fresh model is trained on the rows of all tasks seen so far and predicts the test rows of that stage. It
keeps every row, so it is to be compared with `joint`, not with methods that keep few.
"""

import json
import math
import pathlib
import re
import sys

from datasets import load_dataset
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def sentence(row):
    """The sentence, with a mark on each word of the two entities: what is classified if relations are extracted."""
    words = list(row["tokens"])
    for name in ("head", "tail"):
        for place in range(row[name]["start"], row[name]["end"]):
            words[place] = f"{name}_{words[place]}"
    return [" ".join(words)]


def words(row):
    """What each word looks like and stands between: what is classified if entities are extracted."""
    tokens = ["<", *row["tokens"], ">"]
    items = []
    for before, word, after in zip(tokens, tokens[1:], tokens[2:]):
        shape = re.sub(r"[a-z]+", "x", re.sub(r"[A-Z]+", "X", re.sub(r"\d+", "0", word)))
        items.append({"word": word.lower(), "end": word[-3:], "shape": shape, "before": before, "after": after})
    return items


def labels(row):
    """The corpus's own label ids, one per item."""
    return [row["original_relation"]] if relations else row["original_tags"]


benchmark, out = sys.argv[1:]
manifest = json.loads((pathlib.Path(benchmark) / "manifest.json").read_text())
relations = manifest["task"] == "re"
items = sentence if relations else words
names, classes, train, test = manifest["labels"], set(), [], {}
with open(out, "w") as file:
    for stage, task in enumerate(manifest["tasks"]):
        classes.update(task["classes"])
        seen = [name == names[0] or (name if relations else name[2:]) in classes for name in names]
        files = load_dataset(benchmark, f"task_{stage:02d}")
        train += files.get("train", [])
        # A cumulative file has the test rows of all tasks so far, another those of this task alone.
        if manifest["tests"] == "cumulative":
            test = {}
        test.update((row["id"], row) for row in files.get("test", []))

        # Labels of later tasks are "no class", whose id is 0.
        known = [label if seen[label] else 0 for row in train for label in labels(row)]
        features = TfidfVectorizer(token_pattern=r"\S+") if relations else DictVectorizer()
        # There is nothing to learn while all labels are the same.
        classifier = LogisticRegression(C=10, max_iter=1000) if len(set(known)) > 1 else DummyClassifier()
        model = make_pipeline(features, classifier)
        model.fit([item for row in train for item in items(row)], known)
        for row in test.values():
            scores = model.predict_log_proba(items(row))
            predicted = [int(model.classes_[best]) for best in scores.argmax(axis=1)]
            line = {"stage": stage, "id": row["id"], "prediction": predicted}
            if relations:
                by_label = dict(zip(model.classes_, scores[0].tolist()))
                line["scores"] = [by_label.get(label, -math.inf) for label in range(len(names))]
            print(json.dumps(line), file=file)
        print(f"task {stage + 1}/{len(manifest['tasks'])}: {len(train)} rows so far", file=sys.stderr)
