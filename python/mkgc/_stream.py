"""Deals out a benchmark task by task. The program `mkgc stream` is the authority: it keeps the stored rows, enforces their
budget, checks and stores predictions, and scores them. This file speaks its protocol (docs/stream.md)."""

import json
import os
import subprocess

import datasets

from ._pictures import Pictures
from ._program import Error, find_program


#: The version of the protocol that this file speaks.
PROTOCOL = 1


class Refused(Error):
    """mkgc refused a request, which changed nothing. `code` says why in a word: `budget`, `rows`, `predictions`, `order` or
    `message`."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Stream:
    """The tasks of a benchmark, one after another:

        for task in mkgc.Stream("data/mnre-10", memory_per_class=10, out="runs/mine", name="My method"):
            model.learn(task.train, task.memory)
            task.remember(select(task.train))
            task.predict(model(task.test))

    `data` is a folder that `mkgc build` wrote and `out` the run folder to create. A run that was interrupted goes on after its
    last finished task, so the loop begins with `tasks_done`; the method has to restore its own state, for which `folder` is a
    place. After the loop, `result` has the scores.

    `memory_per_class` rows of each class of each task may be stored, or `memory` rows in all ("all" for any number); by
    default none. `train_seed` is recorded and given as `stream.train_seed`; give each seed its own folder. `tasks` stops after so
    many tasks, and `timeout` gives up after so many seconds without a request. With `images=False`, rows have no column `image`.
    """

    def __init__(
        self,
        data,
        *,
        out,
        name,
        memory_per_class=None,
        memory=None,
        train_seed=0,
        tasks=None,
        timeout=None,
        description=None,
        url=None,
        images=True,
    ):
        options = {
            "--out": out,
            "--name": name,
            "--memory-per-class": memory_per_class,
            "--memory": memory,
            "--train-seed": train_seed,
            "--tasks": tasks,
            "--timeout": timeout,
            "--description": description,
            "--url": url,
        }
        # With `=`, a value may begin with a dash.
        given = [f"{option}={os.fspath(value) if isinstance(value, os.PathLike) else value}"
                 for option, value in options.items() if value is not None]
        self._process = subprocess.Popen(
            [find_program(), "stream", *given, "--", os.fspath(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        #: What mkgc said at the beginning (`hello` in docs/stream.md).
        self.hello = self._read()
        if self.hello.get("protocol") != PROTOCOL:
            program, spoken = find_program(), self.hello.get("protocol")
            self.close()
            raise Error(f"{program} speaks version {spoken} of the protocol, and this package version {PROTOCOL}: "
                        "install both from one release, or unset MKGC_BINARY")
        #: The scores, as in `result.json`, once all predictions are there.
        self.result = None
        self._pictures = Pictures(self.hello) if images else None
        self._task = None

    @property
    def tasks(self):
        """Number of tasks."""
        return self.hello["tasks"]

    @property
    def tasks_done(self):
        """Number of tasks that an earlier process has finished."""
        return self.hello["tasks_done"]

    @property
    def train_seed(self):
        """The seed that the method should use."""
        return self.hello["train_seed"]

    @property
    def extraction(self):
        """`re` if relations are extracted, `ner` if entities are."""
        return self.hello["extraction"]

    @property
    def folder(self):
        """A folder for what the method itself wants to keep in case that it is interrupted, such as weights."""
        folder = os.path.join(self.hello["out"], "method")
        os.makedirs(folder, exist_ok=True)
        return folder

    def __iter__(self):
        return self

    def __next__(self):
        if self.result is not None:
            raise StopIteration
        message = self._ask({"type": "next"})
        if message["type"] == "end":
            self.result = message["result"]
            self.close()
            raise StopIteration
        self._task = Task(self, message)
        return self._task

    def __len__(self):
        return self.tasks - self.tasks_done

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if hasattr(self, "_process"):
            self.close()

    def close(self):
        """Ends the conversation. A run without all predictions goes on if the stream is opened again."""
        if self._process.stdin and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                pass
            self._process.stdout.close()
            self._process.wait()

    def _ask(self, request):
        """Sends a request and returns the reply."""
        line = json.dumps(request, default=_plain).encode() + b"\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):
            self._gone()
        reply = self._read()
        if reply["type"] == "error":
            raise Refused(reply["code"], reply["message"])
        return reply

    def _read(self):
        try:
            line = self._process.stdout.readline()
        except ValueError:
            line = b""
        if not line:
            self._gone()
        try:
            return json.loads(line)
        except ValueError:
            raise Error(f"{find_program()} is not mkgc: it says {line[:80]!r}") from None

    def _gone(self):
        code = self._process.poll() if self._process.stdout.closed else self._process.wait()
        raise Error(f"mkgc has ended (exit code {code}); what it wrote to the standard error says why")


class Task:
    """A task of a stream. Labels are ids of `ClassLabel`, as in the benchmark's own files; `labels` has their names. Those of
    earlier tasks keep their ids."""

    def __init__(self, stream, message):
        self._stream = stream
        self._rows = {part: message[part] for part in ("train", "validation", "memory")}
        self._made = {}
        #: Number of the task, from 0.
        self.index = message["task"]
        #: Its name.
        self.name = message["name"]
        #: Classes that it introduces.
        self.classes = message["classes"]
        #: Names of the labels known from now on, by id.
        self.labels = message["labels"]

    def __repr__(self):
        return f"<Task {self.index + 1} of {self._stream.tasks}: {self.name}>"

    @property
    def train(self):
        """Training rows of this task, as a `datasets.Dataset`."""
        return self._dataset("train")

    @property
    def validation(self):
        """Validation rows of this task."""
        return self._dataset("validation")

    @property
    def memory(self):
        """Rows that were stored of earlier tasks, with the labels that they had then. The column `task` says of which."""
        return self._dataset("memory")

    @property
    def test(self):
        """Test rows of all tasks so far, without labels. From the first look on, time counts as predicting."""
        if "test" not in self._rows:
            self._rows["test"] = self._ask({"type": "test"})["rows"]
        return self._dataset("test")

    def remember(self, rows, replace=False):
        """Stores training rows of this task for later ones: a `Dataset`, rows, or ids. With `replace`, only these rows stay
        stored, of which those of earlier tasks are taken from `memory`. Returns the number of rows that are stored now.

        `Refused` is raised, and nothing is stored, if they are more than the budget allows or rows of elsewhere."""
        named = [_named(row) for row in _without_image(rows)]
        return self._ask({"type": "remember", "rows": named, "replace": replace})["stored"]

    def predict(self, predictions, scores=None):
        """Gives the predictions of `test`, which ends the task: for each row a relation, or a list with the BIO tag of each
        word, by name or by id. `scores` may have for each row of relations a number per label known so far.

        `Refused` is raised, and nothing is stored, if they cannot be scored; they can be given again."""
        if "test" not in self._rows:
            self.test  # noqa: B018 (the rows count as handed out)
        request = {"type": "predict", "predictions": _listed(predictions)}
        if scores is not None:
            # Labels still to come have no score.
            missing = self._stream.hello["labels"]
            request["scores"] = [row and [*row, *[None] * (missing - len(row))] for row in map(_optional, _listed(scores))]
        self._ask(request)

    def _ask(self, request):
        """Sends a request about this task, which the stream would take to be about its present one."""
        if self._stream._task is not self:
            present = self._stream._task.index + 1
            raise Refused("order", f"this is task {self.index + 1}, and the stream has come to task {present}")
        return self._stream._ask(request)

    def _dataset(self, part):
        if part not in self._made:
            rows = self._rows[part]
            features = self._features(labelled=part != "test")
            rows = [self._row(row, features) for row in rows]
            made = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
            if self._stream._pictures:
                made = self._stream._pictures.added(made, "train" if part == "memory" else part, self.index)
            self._made[part] = made
        return self._made[part]

    def _features(self, labelled):
        text = datasets.Value("string")
        number = datasets.Value("int32")
        label = datasets.ClassLabel(names=self.labels)
        features = {"id": text, "tokens": [text]}
        mention = {"name": text, "start": number, "end": number}
        relations = self._stream.extraction == "re"
        if relations:
            features |= {"head": mention, "tail": mention}
        if labelled:
            features |= {"relation": label} if relations else {"tags": [label]}
            features["task"] = number
        return datasets.Features(features | {"image_id": text, "crops": [text]})

    @staticmethod
    def _row(row, features):
        row = {name: row.get(name) for name in features}
        if "relation" in features:
            row["relation"] = features["relation"].str2int(row["relation"])
        if "tags" in features:
            tags = features["tags"][0] if isinstance(features["tags"], list) else features["tags"].feature
            row["tags"] = [tags.str2int(tag) for tag in row["tags"]]
        return row


def _without_image(rows):
    """The rows, without decoding their pictures."""
    if isinstance(rows, datasets.Dataset):
        return rows.select_columns([name for name in ("id", "task") if name in rows.column_names])
    if isinstance(rows, (str, dict)) or hasattr(rows, "columns"):
        raise TypeError(f"remember takes a Dataset, or a list of rows or of ids, and not a {type(rows).__name__}")
    return rows


def _named(row):
    """What names a row: its id, and the task that handed it out where the row says so."""
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise TypeError(f"remember takes rows or their ids, which are texts such as train-000017, and not {row!r}")
    task = row.get("task")
    return {"id": row["id"]} if task is None else {"id": row["id"], "task": task}


def _optional(row):
    """The scores of a row as a list, or None if it has none."""
    return None if row is None else list(row)


def _listed(values):
    """A list of what may be a list, an array, a tensor or a series."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _plain(value):
    """What numbers, arrays and tensors of other libraries are in JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is neither a label nor a list of labels")
