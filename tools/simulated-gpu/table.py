"""Prints what a batch costs on the simulated GPU, for each method and task.

    python3 tools/simulated-gpu/table.py --steps N FOLDER

FOLDER has METHOD.TASK.json of `SIMGPU_STATS`, each from `mkgc bench --steps N`. A batch is what happens between two
batches' launches of the optimiser; the first batch of a task, which makes teachers and prototypes, is left out, and so is
the last, whose successor nobody prepares. Exits with 1 if memory grows from batch to batch.
"""

import argparse
import json
import pathlib
import sys

# `mkgc bench` takes two batches before those that count; of two tasks, two of the first as well.
WARM_UP = 2
COLUMNS = {
    "launches": "launches",
    "waits": "waits",
    "allocations": "allocations",
    "from driver, KiB": "bytes_from_driver",
    "back to it, KiB": "bytes_returned",
    "to device, KiB": "bytes_to_device",
    "to host, KiB": "bytes_to_host",
    "on device, KiB": "bytes_on_device",
    "events": "events_created",
}


def batches(marks, steps):
    """What happened in each batch of the last task but its first and last."""
    # A method may step more than once for a batch: on stored rows, or with a second optimiser.
    share = max(1, round((len(marks) + 1) / (steps + 2 * WARM_UP)))
    own = marks[-share * (steps + WARM_UP) :]
    groups = [own[at : at + share] for at in range(0, len(own), share)][1:-1]
    sums = [{name: sum(mark.get(name, 0) for mark in group) for name in COLUMNS.values()} for group in groups]
    for total, group in zip(sums, groups):
        total["steps"], total["live"] = share, group[-1]["live_allocations"]
    return sums


def grows(found):
    """Whether every batch of the second half ends with more allocations than any of the first half."""
    live, half = [batch["live"] for batch in found], len(found) // 2
    return min(live[half:]) > max(live[:half])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, required=True, help="what `mkgc bench` was given")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    heads = ["method", "task", "AdamW", *COLUMNS, "live", "peak, MiB", "left"]
    rows, growing = [heads], []
    for path in sorted(arguments.folder.glob("*.json"), key=lambda path: path.name.split(".")[::-1]):
        method, task, _ = path.name.split(".")
        told = json.loads(path.read_text())
        found = batches(told["steps"], arguments.steps)
        row = [method, task, str(found[0]["steps"])]
        for head, name in COLUMNS.items():
            mean = sum(batch[name] for batch in found) / len(found)
            row.append(f"{mean / 1024:.1f}" if head.endswith("KiB") else f"{mean:.0f}")
        counts = told["counts"]
        row += [str(found[-1]["live"]), f"{counts['peak_bytes'] / 2**20:.1f}", str(counts["live_allocations"])]
        rows.append(row)
        if grows(found):
            growing.append(f"{method} {task}: {[batch['live'] for batch in found]}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print("AdamW: steps of the optimiser for a batch; live: allocations at its end; left: those at the end of the process.")
    for line in growing:
        print(f"live allocations grow from batch to batch: {line}", file=sys.stderr)
    sys.exit(1 if growing else 0)


if __name__ == "__main__":
    main()
