"""Logistic regression on a stream of relations or entities, with a few stored rows per class.

    python sklearn_replay.py BENCHMARK RUN
"""

import random
import re
import sys

import mkgc
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

PER_CLASS = 10


def sentence(row):
    """The words of the sentence, those of the two mentions apart: what is classified if relations are extracted."""
    places = {place: name for name in ("head", "tail") for place in range(row[name]["start"], row[name]["end"])}
    return [{f"{places.get(place, '')} {word.lower()}": 1 for place, word in enumerate(row["tokens"])}]


def words(row):
    """What each word looks like and stands between: what is classified if entities are extracted."""
    tokens = ["<", *row["tokens"], ">"]
    shape = lambda word: re.sub(r"[a-z]+", "x", re.sub(r"[A-Z]+", "X", word))
    return [
        {"word": word, "end": word[-3:], "shape": shape(word), "before": before, "after": after}
        for before, word, after in zip(tokens, tokens[1:], tokens[2:])
    ]


def labels(row):
    return [row["relation"]] if relations else row["tags"]


def to_store(task, rng):
    """Up to PER_CLASS rows of each class, drawn at random; a sentence with several types stands for the first."""
    by_class = {}
    for row in task.train:
        name = next((task.labels[label] for label in labels(row) if label), task.labels[0])
        by_class.setdefault(name if relations else name[2:], []).append(row)
    return [row for rows in by_class.values() for row in rng.sample(rows, min(PER_CLASS, len(rows)))]


benchmark, out = sys.argv[1:]
rng = random.Random(0)
stream = mkgc.Stream(benchmark, memory_per_class=PER_CLASS, out=out, name="Logistic regression with replay", images=False)
relations = stream.extraction == "re"
features = sentence if relations else words
for task in stream:
    rows = [*task.train, *task.memory]
    known = [label for row in rows for label in labels(row)]
    # There is nothing to learn while all labels are the same.
    classifier = LogisticRegression(C=10, max_iter=500) if len(set(known)) > 1 else DummyClassifier()
    model = make_pipeline(DictVectorizer(), classifier).fit([item for row in rows for item in features(row)], known)
    task.remember(to_store(task, rng))
    predicted = [model.predict(features(row)).tolist() for row in task.test]
    task.predict([row[0] for row in predicted] if relations else predicted)
print(f"micro-F1 after the last task: {stream.result['continual']['last_micro_f1']}")
