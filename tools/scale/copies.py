#!/usr/bin/env python3
"""Writes 1,500 run folders: the committed runs under other seeds and other names of benchmarks.

    tools/scale/copies.py OUT [--seeds 5] [--orders 5]

Each of the 36 runs of reports/minilm-cpu becomes `seeds × orders` runs, the 12 on mnre-10 three times as many, so that
the 12 methods run on five benchmarks. The copies hold their predictions and logs as files of their own, as runs of a
sweep do; only `run.json` differs. Scores of seeds are equal, which costs a report as much as different ones.
"""

import argparse
import json
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[2] / "reports" / "minilm-cpu" / "runs"
BENCHMARKS = {"mnre-10": 3, "twitter2017-plom": 1, "twitter2017-polm": 1}


def copy(run, benchmark, seed, out):
    """Copies a run folder under another benchmark's name and another seed."""
    shutil.copytree(run, out)
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["name"] = benchmark
    record["config"]["train_seed"] = seed
    (out / "run.json").write_text(json.dumps(record))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--orders", type=int, default=5)
    options = parser.parse_args()
    made = 0
    for name, times in BENCHMARKS.items():
        for run in sorted((ROOT / name).iterdir()):
            for order in range(times * options.orders):
                benchmark = f"{name}-order{order}"
                for seed in range(options.seeds):
                    copy(run, benchmark, seed, options.out / benchmark / f"{run.name}-seed{seed}")
                    made += 1
    print(f"{made} runs in {options.out}")


if __name__ == "__main__":
    main()
