"""Compares runs that differ in the device alone, such as those of a CPU and of a GPU: how many predictions are the same.

    python tools/bench/devices.py RUNS OTHERS --out FILE.md

Both folders hold runs as BENCHMARK/RUN. Those that are in both are compared after each task: predicted labels row by row, and
the micro-F1 that `result.json` has. Runs that differ in more than the device are named and left out: in their records, in the
steps that a search for settings took, or in their first losses by more than rounding.
"""

import argparse
import json
import pathlib

import pyarrow.parquet as parquet


# Further apart than rounding moves the loss of the first steps: then two programs ran, not one on two devices.
ROUNDING = 1e-4


def record(run):
    return json.loads((run / "run.json").read_text())


def described(record):
    return tuple(record[key] for key in ("device", "dtype", "code_version"))


def first_loss(run):
    """The first loss in the log, which is that of some tens of steps."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if (run / "metrics.jsonl").exists() else []
    return next((line["loss"] for line in lines if "loss" in line), None)


def differences(one, other):
    """Names what differs in two runs besides their devices."""
    records = record(one), record(other)
    found = [key for key in ("method", "dataset", "config", "code_version") if records[0].get(key) != records[1].get(key)]
    # Older records lack some hashes of the encoder.
    encoders = [entry["encoder"] for entry in records]
    if any(encoders[0][key] != encoders[1][key] for key in encoders[0].keys() & encoders[1].keys()):
        found.append("encoder")
    steps = ("optimiser_steps", "tuning_steps")
    found += [key for key in steps if records[0]["cost"].get(key) != records[1]["cost"].get(key)]
    losses = first_loss(one), first_loss(other)
    if None not in losses and abs(losses[0] - losses[1]) > ROUNDING * abs(losses[1]):
        found.append(f"first losses ({losses[0]:.6f} and {losses[1]:.6f})")
    return found


def compare(one, other):
    """How many predictions differ after each task, how many there are, and the F1 after each task in both."""
    differ, rows = [], 0
    scores = [[100 * stage["micro_f1"] for stage in json.loads((run / "result.json").read_text())["stages"]] for run in (one, other)]
    for stage in range(len(scores[0])):
        ids, predicted = [], []
        for run in (one, other):
            table = parquet.read_table(run / f"stages/{stage}/predictions.parquet", columns=["id", "predicted"])
            ids.append(table["id"].to_pylist())
            predicted.append(table["predicted"].to_pylist())
        if ids[0] != ids[1]:
            raise SystemExit(f"{one} and {other} predict other rows after task {stage + 1}")
        differ.append(sum(a != b for a, b in zip(*predicted)))
        rows += len(ids[0])
    return differ, rows, scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("others", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    lines, devices, same = [], set(), 0
    for one in sorted(path.parent for path in arguments.runs.glob("*/*/result.json")):
        other = arguments.others / one.relative_to(arguments.runs)
        if not (other / "result.json").exists():
            continue
        records = record(one), record(other)
        # Another program's run has no device, and the control that trains nothing needs none.
        if any("device" not in entry for entry in records) or records[0]["device"] == records[1]["device"]:
            continue
        if others := differences(one, other):
            print(f"{one.parent.name}/{one.name} is left out: they differ in {', '.join(others)}")
            continue
        differ, rows, (ours, theirs) = compare(one, other)
        devices.add(tuple(map(described, records)))
        first = next((f"T{task}" for task, count in enumerate(differ, 1) if count), "–")
        farthest = max(abs(a - b) for a, b in zip(ours, theirs))
        same += not any(differ)
        name = f"{one.parent.name} | {one.name}"
        lines += [f"| {name} | {sum(differ)} of {rows} | {first} | {ours[-1]:.1f} | {theirs[-1]:.1f} | {farthest:.1f} |"]
    if not lines:
        raise SystemExit(f"no run of {arguments.runs} is in {arguments.others} with another device")
    kinds = "; ".join(sorted(f"{' '.join(one)} and {' '.join(other)}" for one, other in devices))
    head = [f"Runs on two devices ({kinds}). In {same} of {len(lines)} pairs, all predictions after all tasks are the same.", ""]
    head += ["| benchmark | run | predictions that differ | from task | last micro-F1 | of the other | farthest |"]
    head += ["|---|---|---:|---|---:|---:|---:|"]
    arguments.out.write_text("\n".join(head + lines) + "\n")
    print(head[0])


if __name__ == "__main__":
    main()
