#!/usr/bin/env python3
"""Runs a long sweep and watches its process: memory must stay flat, handles must not grow, and no process may be left.

    mkgc demo --out DEMO
    tools/soak/soak.py --mkgc target/release/mkgc --demo DEMO --out DIR [--runs 200] [--jobs 2]

The sweep has five methods on both benchmarks of the demo with as many seeds as make `--runs`. Twice a second the script
reads of /proc: resident memory, open files and threads of the sweep; its children, zombies among them; the memory of the
largest child. Fails if the sweep fails, if its memory, open files or threads in the last quarter are above those in the
second one, if it was too short to tell, if a zombie stays, or if processes, temporary files, hidden folders or
checkpoints remain. Linux only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

METHODS = ["vanilla", "emr", "rp-cre", "lmc", "joint"]
# Growth of resident memory that is noise of the allocator: runs are records in a table, some hundred bytes each.
NOISE_MIB = 4


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def mib(fields):
    return int(fields.get("VmRSS", "0 kB").split()[0]) / 1024


def children(pid):
    """Returns the processes whose parent is `pid`, with their status."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = status(entry)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields.get("PPid") == str(pid):
                found[int(entry)] = fields
    return found


def sample(pid):
    own = status(pid)
    below = children(pid)
    return {
        "mib": mib(own),
        "threads": int(own["Threads"]),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "children": len(below),
        "child_mib": max((mib(fields) for fields in below.values()), default=0),
        "zombies": {child for child, fields in below.items() if fields["State"].startswith("Z")},
    }


def watch(process):
    """Samples a process until it ends. A zombie counts if it is still there a second later."""
    samples, stayed = [], set()
    while process.poll() is None:
        try:
            samples.append(sample(process.pid))
        except (FileNotFoundError, ProcessLookupError):
            break
        if len(samples) > 2:
            stayed |= samples[-1]["zombies"] & samples[-2]["zombies"] & samples[-3]["zombies"]
        time.sleep(0.5)
    return samples, stayed


def quarter(samples, number, key):
    size = len(samples) // 4
    return statistics.median(each[key] for each in samples[number * size : (number + 1) * size])


def left_over(args, temporary):
    """Lists what should be gone: processes that name the folder, temporary files, hidden folders, checkpoints."""
    found = [str(path) for path in temporary.iterdir()]
    # The mark of a report says which files in its folder are its own.
    found += [str(path) for path in args.out.rglob(".*") if path.name != ".mkgc-report.json"]
    found += [str(path) for path in args.out.rglob("checkpoint") if path.is_dir()]
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if command[0] == str(args.mkgc) and str(args.out) in " ".join(command):
                found.append(f"process {entry}: {' '.join(command)}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=Path, required=True)
    parser.add_argument("--demo", type=Path, required=True, help="folder that `mkgc demo --out` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the sweep; made anew")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=["epochs=2"], help="a setting of the runs, beside epochs=2")
    args = parser.parse_args()
    args.mkgc, args.demo, args.out = args.mkgc.resolve(), args.demo.resolve(), args.out.resolve()
    shutil.rmtree(args.out, ignore_errors=True)
    temporary = args.out.with_name(args.out.name + "-temporary")
    shutil.rmtree(temporary, ignore_errors=True)
    args.out.mkdir(parents=True)
    temporary.mkdir()

    benchmarks = sorted((args.demo / "benchmarks").iterdir())
    seeds = list(range(1, 1 + -(-args.runs // (len(METHODS) * len(benchmarks)))))
    plan = args.out / "plan.toml"
    plan.write_text(f"methods = {json.dumps(METHODS)}\nseeds = {seeds}\n")
    command = [args.mkgc, "sweep", plan, "--benchmark", *benchmarks, "--out", args.out / "sweep"]
    command += ["--recipe", args.demo / "recipe.toml", "--jobs", str(args.jobs)]
    command += [word for each in args.set for word in ("--set", each)]
    environment = {**os.environ, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(args.out / "cache")}
    started = time.monotonic()
    with open(args.out / "sweep.log", "w") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        samples, stayed = watch(process)
    seconds = time.monotonic() - started

    runs = len(seeds) * len(METHODS) * len(benchmarks)
    finished = len(list((args.out / "sweep" / "runs").rglob("result.json")))
    problems = []
    if process.returncode != 0 or finished != runs:
        problems.append(f"exit code {process.returncode}, {finished} of {runs} runs finished; see {args.out}/sweep.log")
    print(f"{finished} of {runs} runs, {args.jobs} at a time, in {seconds:.0f} s; {len(samples)} samples")
    if len(samples) < 40:
        problems.append("too short to see whether anything grows; make more runs")
    else:
        for key, noise in (("mib", NOISE_MIB), ("files", 0), ("threads", 0), ("child_mib", None)):
            values = [quarter(samples, number, key) for number in range(4)]
            most = max(each[key] for each in samples)
            print(f"  {key}: medians of the quarters {', '.join(f'{value:.1f}' for value in values)}; most {most:.1f}")
            if noise is not None and values[3] > values[1] + noise:
                problems.append(f"{key} grows from {values[1]:.1f} to {values[3]:.1f}")
    print(f"  children: most {max(each['children'] for each in samples)}; zombies that stayed: {len(stayed)}")
    remains = left_over(args, temporary)
    print(f"  left over: {len(remains)}")
    problems += [f"{len(stayed)} zombies stayed"] if stayed else []
    problems += [f"left over: {path}" for path in remains]
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
