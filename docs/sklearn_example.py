"""TF-IDF and logistic regression on a built benchmark, scored by mkgc. Reads Parquet through Hugging Face `datasets`.

    python docs/sklearn_example.py BENCHMARK PREDICTIONS.jsonl

After each task, a fresh model is trained on the rows of all tasks seen so far and predicts the test rows of that stage.
It keeps every row, so it is to be compared with `joint`, not with methods that keep few.
"""

import json
import pathlib
import sys

from datasets import load_dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def text(row):
    """The sentence, with a mark on each word of the two entities."""
    words = list(row["tokens"])
    for name in ("head", "tail"):
        for place in range(row[name]["start"], row[name]["end"]):
            words[place] = f"{name}_{words[place]}"
    return " ".join(words)


benchmark, out = sys.argv[1:]
tasks = json.loads((pathlib.Path(benchmark) / "manifest.json").read_text())["tasks"]
texts, labels = [], []
with open(out, "w") as file:
    for stage in range(len(tasks)):
        task = load_dataset(benchmark, f"task_{stage:02d}")
        texts += [text(row) for row in task["train"]]
        labels += task["train"]["relation"]
        model = make_pipeline(TfidfVectorizer(token_pattern=r"\S+", min_df=2), LogisticRegression(C=10, tol=1e-3))
        model.fit(texts, labels)
        test = task["test"]
        for row, label in zip(test, model.predict([text(row) for row in test])):
            print(json.dumps({"stage": stage, "id": row["id"], "prediction": int(label)}), file=file)
        print(f"task {stage + 1}/{len(tasks)}: {len(texts)} rows so far", file=sys.stderr)
