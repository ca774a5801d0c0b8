"""A run's event file, read by TensorBoard's own reader, against its metrics.jsonl and result.json.

    python tools/interop/tensorboard_events.py RUN...
"""

import json
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = ("loss", "lr_encoder", "samples_per_s", "memory_mib")


def expected(run):
    """(global step, value) by tag."""
    series, done, steps, stage = {}, 0, 0, 0
    ends = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["stage"] != stage:
            done, stage = done + steps, line["stage"]
        steps = line["step"]
        ends[stage] = done + steps
        for name, values in line.get("scalars", {}).items():
            series.setdefault(f"train/{name}", []).extend((done + step, value) for step, value in values)
        for column in COLUMNS:
            series.setdefault(f"train/{column}", []).append((done + steps, line[column]))
    for scores in json.loads((run / "result.json").read_text())["stages"]:
        halves = scores.get("halves", {})
        named = {name: scores.get(name) for name in ("micro_f1", "macro_f1", "accuracy")} | halves
        for metric, score in named.items():
            if isinstance(score, float | int):
                series.setdefault(f"test/{metric}", []).append((ends[scores["tasks_learned"] - 1], score))
    return series


for run in map(pathlib.Path, sys.argv[1:]):
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    series = expected(run)
    assert sorted(events.Tags()["scalars"]) == sorted(series), f"{run}: tags {events.Tags()['scalars']}"
    for tag, points in series.items():
        got = [(event.step, event.value) for event in events.Scalars(tag)]
        want = [(step, float(np.float32(value))) for step, value in points]
        assert got == want, f"{run}: {tag}: {got[:3]} instead of {want[:3]}"
    print(f"{run}: {len(series)} series as TensorBoard reads them, {sum(map(len, series.values()))} points")
