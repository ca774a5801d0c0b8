#!/usr/bin/env python3
"""Kills runs at random moments, goes on with each until it is finished, and compares its files with those of the same
run left alone. Wall times may differ, and the event files of TensorBoard, which have times and a file per process.

    mkgc demo --out DEMO
    tools/kills/kills.py --mkgc target/release/mkgc --demo DEMO --out DIR [--kills 100] [--seed 1] [--methods emr lmc]

Every method that trains is run on every benchmark of the demo with tiny encoders. If `mkgc train` has the option, a
checkpoint is written every 0.2 seconds, so that kills come inside tasks, too. With `--signals`, some of the kills are
signals that ask for an end (SIGINT, SIGTERM, SIGUSR1); such a process must exit with code 75.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# What depends on the clock and on the machine, in `run.json` and in the lines of `metrics.jsonl`.
OF_THE_MACHINE = {"wall_seconds", "samples_per_s", "memory_mib"}
INTERRUPTED = 75


def without_clock(value):
    if isinstance(value, dict):
        return {key: without_clock(inner) for key, inner in value.items() if key not in OF_THE_MACHINE}
    return [without_clock(inner) for inner in value] if isinstance(value, list) else value


def content(folder):
    """Returns what must be equal: the path of every file with its bytes, or with its JSON without times."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if name.startswith("tensorboard/"):
            continue
        if name == "run.json":
            files[name] = without_clock(json.loads(path.read_text()))
        elif name == "metrics.jsonl":
            files[name] = [without_clock(json.loads(line)) for line in path.read_text().splitlines()]
        else:
            files[name] = path.read_bytes()
    return files


class Cell:
    """A method on a benchmark, run once without disturbance."""

    def __init__(self, args, benchmark, method):
        self.name = f"{benchmark.name} {method}"
        self.reference = args.out / "alone" / benchmark.name / method
        self.killed = args.out / "killed" / benchmark.name / method
        self.args = args
        self.command = [str(args.mkgc), "train", str(benchmark), "--method", method]
        self.command += ["--recipe", str(args.demo / "recipe.toml")] + args.every
        started = time.monotonic()
        process = self.start(self.reference)
        if process.wait() != 0:
            sys.exit(f"{self.name}: the run left alone failed:\n{self.log.read_text()}")
        self.seconds = time.monotonic() - started

    def start(self, out):
        self.log = out.with_suffix(".log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.args.out / "cache"), "RAYON_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            command = self.command + ["--out", str(out)]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def disturb(self, kills, dice):
        """Runs it with at most `kills` kills. Returns what each found: `before` the run began, or the task."""
        found = []
        for _ in range(kills):
            process = self.start(self.killed)
            # Short delays come often enough to meet what happens first: opening files, the lock, the first checkpoint.
            delay = dice.random() * self.seconds * dice.choice([0.3, 1.0])
            deadline = time.monotonic() + delay
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            if process.poll() is None:
                found.append(self.kill(process, dice))
            elif process.returncode == 0:
                return found
            else:
                sys.exit(f"{self.name}: a run that went on failed after {found}:\n{self.log.read_text()[-2000:]}")
        if (code := self.start(self.killed).wait()) != 0:
            sys.exit(f"{self.name}: exit code {code} after {found}:\n{self.log.read_text()[-2000:]}")
        return found

    def kill(self, process, dice):
        asked = self.args.signals and dice.random() < 0.4
        kind = dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]) if asked else signal.SIGKILL
        begun = (self.killed / "run.json").exists()
        learned = len(list(self.killed.glob("stages/*/predictions.parquet")))
        process.send_signal(kind)
        code = process.wait(timeout=120)
        # A process may have ended by itself, or not have installed its handlers yet.
        if asked and begun and code not in (INTERRUPTED, 0, -kind):
            sys.exit(f"{self.name}: exit code {code} at {kind.name}:\n{self.log.read_text()[-2000:]}")
        return {"signal": kind.name, "begun": begun, "learned": learned, "code": code}

    def differences(self):
        alone, killed = content(self.reference), content(self.killed)
        names = sorted(alone.keys() | killed.keys())
        return [name for name in names if alone.get(name) != killed.get(name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=Path, required=True)
    parser.add_argument("--demo", type=Path, required=True, help="folder that `mkgc demo --out` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs; made anew")
    parser.add_argument("--kills", type=int, default=60, help="stop after so many; every cell is tried once at least")
    parser.add_argument("--per-run", type=int, default=3, help="most kills of one run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--signals", action="store_true", help="send other signals, too")
    args = parser.parse_args()
    args.mkgc, args.demo, args.out = args.mkgc.resolve(), args.demo.resolve(), args.out.resolve()
    shutil.rmtree(args.out, ignore_errors=True)
    options = subprocess.run([args.mkgc, "train", "--help"], capture_output=True, text=True, check=True).stdout
    args.every = ["--checkpoint-every", str(0.2 / 60)] if "--checkpoint-every" in options else []
    listed = subprocess.run([args.mkgc, "ls", "methods"], capture_output=True, text=True, check=True).stdout
    methods = args.methods or [line.split("\t")[0] for line in listed.splitlines()[1:]]
    benchmarks = sorted((args.demo / "benchmarks").iterdir())

    dice = random.Random(args.seed)
    cells = [Cell(args, benchmark, method) for benchmark in benchmarks for method in methods]
    kills, runs, wrong, rounds = [], 0, [], 0
    while rounds == 0 or len(kills) < args.kills:
        rounds += 1
        for cell in cells:
            shutil.rmtree(cell.killed, ignore_errors=True)
            found = cell.disturb(args.per_run, dice)
            kills += found
            runs += 1
            differing = cell.differences()
            wrong += [f"{cell.name}: {', '.join(differing)}"] if differing else []
            print(f"{cell.name}: {len(found)} kills, {'differs: ' + ', '.join(differing) if differing else 'equal'}", flush=True)
            if rounds > 1 and len(kills) >= args.kills:
                break
    inside = [kill for kill in kills if kill["begun"]]
    print(f"{len(kills)} kills ({len(inside)} after the run had begun) of {runs} runs in {len(cells)} cells; "
          f"{len(wrong)} runs differ from those left alone")
    for kind in sorted({kill["signal"] for kill in kills}):
        print(f"  {kind}: {sum(kill['signal'] == kind for kill in kills)}")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
