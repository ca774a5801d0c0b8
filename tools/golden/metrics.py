"""Writes harness/tests/golden/metrics.json: metric values of scikit-learn and seqeval on random cases.

usage: python tools/golden/metrics.py [FILE]    (packages: metrics-requirements.txt)
"""

import json
import pathlib
import sys
import warnings
from importlib.metadata import version

import numpy
import seqeval.metrics.sequence_labeling as sequences
import sklearn.metrics

DEFAULT = pathlib.Path(__file__).resolve().parents[2] / "harness/tests/golden/metrics.json"
TYPES = ["PER", "LOC", "ORG", "MISC"]


def relation_case(name, gold, predicted, seen):
    """Label 0 is `None`: counted in accuracy, left out of every F1. `seen` are the label ids of the F1 averages; the macro
    average is over those with a row, and null where none has one."""
    gold, predicted = [int(n) for n in gold], [int(n) for n in predicted]
    micro = sklearn.metrics.precision_recall_fscore_support(
        gold, predicted, labels=seen, average="micro", zero_division=0
    )[:3]
    tested = [label for label in seen if label in gold]
    macro = lambda: sklearn.metrics.f1_score(gold, predicted, labels=tested, average="macro", zero_division=0)
    by_label = sklearn.metrics.precision_recall_fscore_support(gold, predicted, labels=seen, zero_division=0)
    return {
        "name": name,
        "gold": gold,
        "predicted": predicted,
        "seen": seen,
        "accuracy": sklearn.metrics.accuracy_score(gold, predicted),
        "micro": [float(score) for score in micro],
        "macro_f1": float(macro()) if tested else None,
        "f1_by_label": [float(score) for score in by_label[2]],
    }


def relation_cases(random):
    def noisy(count, labels, wrong):
        gold = random.choice([0, 0, 0, *range(1, labels)], count)
        other = random.integers(0, labels, count)
        return gold, numpy.where(random.random(count) < wrong, other, gold)

    positive = random.integers(1, 5, 40)
    missed, _ = noisy(40, 6, 0.0)
    few_gold, few_predicted = noisy(50, 4, 0.4)
    return [
        relation_case("random, 9 labels", *noisy(120, 9, 0.4), list(range(1, 9))),
        relation_case("perfect", *noisy(30, 5, 0.0), list(range(1, 5))),
        relation_case("all predicted None", missed, numpy.zeros(40), list(range(1, 6))),
        relation_case("no None anywhere", positive, random.permutation(positive), list(range(1, 5))),
        relation_case("all None, none found", numpy.zeros(12), numpy.zeros(12), [1, 2]),
        relation_case("seen labels without a row", few_gold, few_predicted, list(range(1, 8))),
        relation_case("all gold None, some predicted", numpy.zeros(15), random.integers(0, 3, 15), [1, 2]),
    ]


def masked_case(random, name, tasks, classes, rows):
    """Scores of `None` (label 0) and `tasks` x `classes` relations, one task not seen yet; strict, class- and task-masked.

    Rows of task j are gold its relations or None; the argmax is numpy's over the labels allowed, the metrics are
    scikit-learn's over the relations seen.
    """
    labels, seen = 1 + tasks * classes, tasks - 1
    owner = random.integers(0, seen, rows)
    own = 1 + owner * classes + random.integers(0, classes, rows)
    gold = numpy.where(random.random(rows) < 0.3, 0, own)
    scores = random.normal(size=(rows, labels)).astype(numpy.float32)
    scores[numpy.arange(rows), gold] += numpy.float32(1.0)
    task_of = numpy.concatenate([[-1], numpy.arange(tasks).repeat(classes)])
    allowed = {
        "strict": numpy.ones_like(scores, dtype=bool),
        "class_masked": numpy.broadcast_to(task_of < seen, scores.shape),
        "task_masked": (task_of == -1) | (task_of == owner[:, None]),
    }
    case = {"name": name, "tasks": tasks, "classes": classes, "owner": owner.tolist(), "gold": gold.tolist()}
    case["scores"] = [[float(score) for score in row] for row in scores]
    for mask, allow in allowed.items():
        predicted = numpy.where(allow, scores, -numpy.inf).argmax(axis=1)
        case[mask] = relation_case(mask, gold, predicted, list(range(1, 1 + seen * classes)))
    return case


def masked_cases(random):
    return [
        masked_case(random, "2 of 3 tasks, 2 relations each", 3, 2, 60),
        masked_case(random, "4 of 5 tasks, 1 relation each", 5, 1, 80),
        masked_case(random, "1 of 2 tasks", 2, 3, 20),
    ]


def spans(random, length, density):
    """A valid BIO sequence."""
    tags = ["O"] * length
    place = 0
    while place < length:
        size = int(random.integers(1, 4))
        if random.random() < density:
            kind = str(random.choice(TYPES))
            for n in range(place, min(place + size, length)):
                tags[n] = ("B-" if n == place else "I-") + kind
        place += size
    return tags


def noise(random, tags, rate):
    """Any tag may become any other, so that I- follows O, another type, or starts the sentence."""
    every = ["O"] + [f"{mark}-{kind}" for kind in TYPES for mark in "BI"]
    return [str(random.choice(every)) if random.random() < rate else tag for tag in tags]


def entity_case(name, gold, predicted):
    """seqeval's default mode (strict=False): the CoNLL chunking, in which an I- without its B- starts a span. The macro
    average is over the types with a gold span, and null where there is none."""
    chunks = lambda sentences: {kind for kind, _, _ in sequences.get_entities(sentences)}
    names = ("precision", "recall", "f1", "support")
    types = sorted(chunks(gold) | chunks(predicted))
    if types:
        by_type = sequences.precision_recall_fscore_support(gold, predicted, average=None, zero_division=0)
    else:
        by_type = ([], [], [], [])
    tested = [float(f1) for f1, support in zip(by_type[2], by_type[3]) if support]
    columns = [[float(value) for value in column] for column in by_type]
    micro = sequences.precision_recall_fscore_support(gold, predicted, average="micro", zero_division=0)[:3]
    return {
        "name": name,
        "gold": gold,
        "predicted": predicted,
        "micro": [float(score) for score in micro],
        "macro_f1": float(numpy.mean(tested)) if tested else None,
        "by_type": {kind: dict(zip(names, row)) for kind, row in zip(types, zip(*columns))},
    }


def entity_cases(random):
    def pair(count, density, rate):
        gold = [spans(random, int(random.integers(3, 14)), density) for _ in range(count)]
        return gold, [noise(random, tags, rate) for tags in gold]

    gold, _ = pair(12, 0.5, 0.0)
    outside = [["O"] * len(tags) for tags in gold]
    odd_gold = [["O", "B-PER", "I-PER", "O"], ["B-LOC", "O", "B-ORG"], ["B-PER", "I-PER"], ["O", "O"]]
    odd_predicted = [["O", "I-PER", "I-PER", "O"], ["I-LOC", "O", "I-MISC"], ["I-PER", "B-PER"], ["I-ORG", "I-PER"]]
    return [
        entity_case("random, light noise", *pair(40, 0.5, 0.1)),
        entity_case("random, heavy noise, odd I-", *pair(40, 0.5, 0.5)),
        entity_case("perfect", gold, gold),
        entity_case("all predicted O", gold, outside),
        entity_case("no gold span, some predicted", outside, [noise(random, tags, 0.3) for tags in outside]),
        entity_case("no span anywhere", outside, outside),
        entity_case("I- after O, at the start, after another type", odd_gold, odd_predicted),
    ]


def main():
    warnings.filterwarnings("error", module="sklearn")
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    random = numpy.random.default_rng(20170611)
    cases = {
        "made_by": "tools/golden/metrics.py",
        "versions": {name: version(name) for name in ("numpy", "scikit-learn", "seqeval")},
        "relation": relation_cases(random),
        "entity": entity_cases(random),
        "masked": masked_cases(random),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(cases) + "\n")
    print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
