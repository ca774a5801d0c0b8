"""A strategy of Avalanche (EWC, which stores no rows) on a stream of relations.

    python avalanche_ewc.py BENCHMARK RUN
"""

import sys

import mkgc
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import EWC
from sklearn.feature_extraction.text import HashingVectorizer


def features(rows):
    """A hashed bag of the words of each sentence, those of the two mentions apart."""
    apart = lambda row, place: next((n for n in ("head", "tail") if row[n]["start"] <= place < row[n]["end"]), "")
    texts = [" ".join(apart(row, place) + word for place, word in enumerate(row["tokens"])) for row in rows]
    return torch.tensor(HashingVectorizer(n_features=1024, token_pattern=r"\S+").transform(texts).toarray()).float()


torch.manual_seed(0)
stream = mkgc.Stream(sys.argv[1], out=sys.argv[2], name="Avalanche EWC", images=False)
if stream.tasks_done:
    sys.exit("This example keeps no weights, so it cannot go on after an interruption: choose another folder.")
model = torch.nn.Sequential(torch.nn.Linear(1024, 64), torch.nn.ReLU(), torch.nn.Linear(64, stream.hello["labels"]))
options = dict(train_mb_size=16, train_epochs=20, evaluator=EvaluationPlugin())
strategy = EWC(model=model, optimizer=torch.optim.Adam(model.parameters(), 3e-3),
               criterion=torch.nn.CrossEntropyLoss(), ewc_lambda=1.0, **options)
for task in stream:
    data = torch.utils.data.TensorDataset(features(task.train), torch.tensor(task.train["relation"]))
    strategy.train(benchmark_from_datasets(train=[AvalancheDataset([data])]).train_stream[0])
    with torch.no_grad():
        logits = model.eval()(features(task.test))[:, : len(task.labels)]
    task.predict(logits.argmax(1), scores=logits)
