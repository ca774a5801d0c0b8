"""The Python client: what a method sees of a stream, and what it is told when something is wrong. Needs a benchmark of
`mkgc demo --out DEMO` in the environment variable MKGC_DEMO.

    MKGC_DEMO=demo python -m pytest python/tests
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import datasets
import mkgc
import numpy
import pytest
from PIL import Image

DEMO = pathlib.Path(os.environ["MKGC_DEMO"])
RELATIONS, ENTITIES = DEMO / "benchmarks" / "demo-re", DEMO / "benchmarks" / "demo-ner"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs" / "mine"


def run_record(out):
    return json.loads((out / "run.json").read_text())


def test_a_stream_of_relations_ends_on_the_board(out, tmp_path):
    with mkgc.Stream(RELATIONS, memory_per_class=2, out=out, name="Nothing", train_seed=3) as stream:
        assert (len(stream), stream.tasks_done, stream.train_seed) == (stream.tasks, 0, 3)
        stored = 0
        for task in stream:
            relation = task.train.features["relation"]
            assert relation.names == task.labels and set(task.classes) < set(task.labels)
            assert set(task.train["task"]) == {task.index}
            assert len(task.memory) == stored and "relation" in task.memory.features
            assert "relation" not in task.test.features and "task" not in task.test.features
            both = datasets.concatenate_datasets([task.train, task.memory])
            assert len(both) == len(task.train) + stored
            chosen = {}
            for row in task.train.remove_columns("image"):
                chosen.setdefault(row["relation"], []).append(row["id"])
            with pytest.raises(mkgc.Refused, match="budget of each class") as refused:
                task.remember([row for rows in chosen.values() for row in rows[:3]])
            assert refused.value.code == "budget"
            rows = [row for rows in chosen.values() for row in rows[:2]]
            stored = task.remember(task.train.filter(lambda row: row["id"] in rows))
            with pytest.raises(mkgc.Refused, match="for .* test rows") as refused:
                task.predict([0])
            assert refused.value.code == "predictions"
            with pytest.raises(mkgc.Refused, match="labels that the benchmark does not have"):
                task.predict(["no such relation"] * len(task.test))
            scores = numpy.zeros((len(task.test), len(task.labels)), dtype="float32")
            scores[:, 1] = 1
            task.predict(scores.argmax(1), scores=scores)
            with pytest.raises(mkgc.Refused, match="stored already"):
                task.predict(scores.argmax(1))
    assert stream.result["method"] == "Nothing"
    record = run_record(out)
    assert record["memory_budget"] == "2 rows per class"
    tasks = stream.tasks
    assert record["external"]["stream"]["refused"] == {"order": tasks, "budget": tasks, "predictions": 2 * tasks}
    subprocess.run([mkgc.find_program(), "report", out, "--out", tmp_path / "report"], check=True, stdout=subprocess.DEVNULL)
    for frame in (None, "pandas"):
        board = mkgc.load_board(tmp_path / "report", frame)
        assert set(board.method) == {"Nothing (external, stream)"}
        last = board[board.metric == "last_micro_f1"].value.iloc[0]
        # The file holds six digits.
        assert last == pytest.approx(stream.result["continual"]["last_micro_f1"], abs=5e-7)
        assert list(board.columns) == list(mkgc._board.COLUMNS)


def test_a_task_that_has_ended_is_not_the_present_one(out):
    with mkgc.Stream(RELATIONS, memory_per_class=2, out=out, name="Stale", images=False) as stream:
        first = next(stream)
        first.predict([0] * len(first.test))
        second = next(stream)
        for stale in (lambda: first.predict([0] * len(first.test)), lambda: first.remember(second.train["id"][:1])):
            with pytest.raises(mkgc.Refused, match="this is task 1, and the stream has come to task 2") as refused:
                stale()
            assert refused.value.code == "order"
        for wrong in (first.train.to_pandas(), [17]):
            with pytest.raises(TypeError, match="remember takes"):
                second.remember(wrong)
        assert len(second.test) > len(first.test)
        # Some rows may have no scores.
        second.predict([0] * len(second.test), scores=[None] * len(second.test))


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_a_board_has_numbers_and_the_names_that_were_given(frame, tmp_path):
    pytest.importorskip(frame)
    names = ["-dash", "'-dash", "=1", "'tis", "7", "NA"]
    written = ["'-dash", "''-dash", "'=1", "'tis", "7", "NA"]
    heading = "benchmark,method,seed,tasks_learned,metric,value,instances,reason,n,n_of,stand_in"
    rows = [f"mnre-10,{name},{2**64 - 1},,last_micro_f1,{n / 2},9,,{n or ''},10,false" for n, name in enumerate(written)]
    (tmp_path / "scores.csv").write_text("\n".join([heading, *rows]) + "\n")
    board = mkgc.load_board(tmp_path, frame)
    assert list(board["method"]) == names and set(board["seed"]) == {2**64 - 1}
    assert (board["value"].sum(), board["n"].sum(), board["n_of"].sum(), board["stand_in"].any()) == (7.5, 15, 60, False)
    # Also where no run has a number.
    assert board["tasks_learned"].sum() == 0


def test_pictures_are_those_of_the_rows(out):
    task = next(iter(mkgc.Stream(RELATIONS, out=out, name="x")))
    by_id = {}
    for file in sorted((RELATIONS / "images").glob("images*.parquet")):
        for row in datasets.Dataset.from_parquet(str(file)).cast_column("image", datasets.Image(decode=False)):
            by_id[row["id"], row.get("split")] = row["image"]["bytes"]
    for rows, split in ((task.train, "train"), (task.validation, "validation"), (task.test, "test")):
        for row in rows:
            expected = by_id.get((row["image_id"], None)) or by_id[row["image_id"], split]
            assert numpy.array_equal(numpy.asarray(row["image"]), numpy.asarray(Image.open(io.BytesIO(expected))))


def test_pictures_that_are_gone_are_no_rows_without_a_picture(out, tmp_path):
    copy = shutil.copytree(RELATIONS, tmp_path / "copy")
    for file in (copy / "images").glob("images*.parquet"):
        file.unlink()
    task = next(mkgc.Stream(copy, out=out, name="x"))
    with pytest.raises(mkgc.Error, match="images=False"):
        len(task.train)


def test_tags_come_as_lists_and_go_as_names_or_ids(out):
    for task in mkgc.Stream(ENTITIES, memory="all", out=out, name="x", images=False):
        row = task.train[0]
        assert len(row["tags"]) == len(row["tokens"]) and "image" not in row
        names = task.train.features["tags"].feature.names
        assert names == task.labels and names[0] == "O"
        assert task.remember(task.train) >= len(task.train)
        with pytest.raises(mkgc.Refused, match="one tag per word"):
            task.predict([["O"]] * len(task.test))
        as_names = [["O"] * len(row["tokens"]) for row in task.test]
        task.predict(as_names if task.index % 2 else [[0] * len(tags) for tags in as_names])
    assert run_record(out)["external"]["stream"]["memory"] == "all"


def test_a_crash_resumes_after_the_last_task(out):
    script = (
        "import mkgc, os, sys\n"
        "for task in mkgc.Stream(sys.argv[1], memory=5, out=sys.argv[2], name='x', images=False):\n"
        "    task.remember(task.train['id'][:2], replace=True)\n"
        "    if task.index == 1: os._exit(9)\n"
        "    task.predict([0] * len(task.test))\n"
    )
    crashed = subprocess.run([sys.executable, "-c", script, RELATIONS, out], capture_output=True, text=True)
    assert crashed.returncode == 9
    stream = mkgc.Stream(RELATIONS, memory=5, out=out, name="x", images=False)
    assert stream.tasks_done == 1 and len(stream) == stream.tasks - 1
    first = next(stream)
    assert first.index == 1 and set(first.memory["task"]) == {0} and len(first.memory) == 2
    first.predict([0] * len(first.test))
    for task in stream:
        task.predict([0] * len(task.test))
    assert run_record(out)["external"]["stream"]["started_after"] == [0, 1]
    again = mkgc.Stream(RELATIONS, memory=5, out=out, name="x")
    assert list(again) == [] and again.result == stream.result


def test_messages_keep_to_the_published_schemas(tmp_path, monkeypatch):
    jsonschema = pytest.importorskip("jsonschema")
    folder = pathlib.Path(__file__).resolve().parents[2] / "docs" / "schema"
    requests, replies = (
        jsonschema.Draft202012Validator(json.loads((folder / f"stream-{name}.schema.json").read_text()))
        for name in ("request", "reply")
    )
    read, ask, seen = mkgc.Stream._read, mkgc.Stream._ask, set()

    def read_valid(stream):
        reply = read(stream)
        replies.validate(reply)
        seen.add(reply["type"])
        return reply

    def ask_valid(stream, request):
        requests.validate(json.loads(json.dumps(request)))
        return ask(stream, request)

    monkeypatch.setattr(mkgc.Stream, "_read", read_valid)
    monkeypatch.setattr(mkgc.Stream, "_ask", ask_valid)
    for benchmark in (RELATIONS, ENTITIES):
        for task in mkgc.Stream(benchmark, memory=2, out=tmp_path / benchmark.name, name="x", images=False):
            task.remember([task.train[0]], replace=True)
            assert task.remember([{"id": task.train[0]["id"]}, task.train[0]["id"]]) == 1
            with pytest.raises(mkgc.Refused):
                task.remember(task.train)
            outside = [[0] * len(row["tokens"]) for row in task.test]
            scores = [[0.5, *[None] * (len(task.labels) - 1)] for _ in task.test]
            if benchmark == RELATIONS:
                task.predict([0] * len(task.test), scores=scores)
            else:
                task.predict(outside)
    assert seen == {"hello", "task", "remembered", "test", "predicted", "end", "error"}
    with pytest.raises(jsonschema.ValidationError):
        requests.validate({"type": "predict"})


def test_errors_of_mkgc_are_raised(out, tmp_path, monkeypatch):
    with pytest.raises(mkgc.Error, match="exit code 2"):
        mkgc.Stream(tmp_path, out=out, name="x")
    with pytest.raises(mkgc.Error, match="exit code 2"):
        mkgc.Stream(RELATIONS, out=out, name="emr")
    stream = mkgc.Stream(RELATIONS, out=out, name="x", images=False)
    task = next(stream)
    with pytest.raises(mkgc.Refused, match="predictions of task 1 are missing"):
        next(stream)
    with pytest.raises(mkgc.Refused, match="no row may be stored"):
        task.remember(task.train.select(range(1)))
    with pytest.raises(TypeError):
        task.remember(task.train[0])
    stream.close()
    with pytest.raises(mkgc.Error):
        task.predict([0])
    with pytest.raises(mkgc.Error, match="no such file"):
        mkgc.load_board(tmp_path)
    monkeypatch.setenv("MKGC_BINARY", str(tmp_path / "none"))
    with pytest.raises(mkgc.Error, match="MKGC_BINARY"):
        mkgc.find_program()


def test_the_program_can_be_called_through_python():
    shown = subprocess.run([sys.executable, "-m", "mkgc", "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.split()[:2] == ["mkgc", mkgc.__version__]
