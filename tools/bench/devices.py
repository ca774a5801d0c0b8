"""Compares runs that differ in the device alone, such as those of a CPU and of a GPU: how many predictions are the same.

    python tools/bench/devices.py RUNS OTHERS --out FILE.md

Both folders hold runs as BENCHMARK/RUN. Those that are in both are compared, after each task: predicted labels row by row, and
the micro-F1 that `result.json` has.
"""

import argparse
import json
import pathlib

import pyarrow.parquet as parquet


def described(run):
    record = json.loads((run / "run.json").read_text())
    return record["device"], record["dtype"], record["code_version"]


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
        if not (other / "result.json").exists() or described(one)[0] == described(other)[0]:
            continue
        differ, rows, (ours, theirs) = compare(one, other)
        devices.add((described(one), described(other)))
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
