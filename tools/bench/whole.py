"""Times whole commands: Vanilla on mnre-10 with MiniLM beside PyTorch's, starting, and the demo.

    python tools/bench/whole.py --mkgc target/release/mkgc --benchmark MNRE-10 --minilm FOLDER --out reports/bench

PyTorch's side is `tools/torch_joint/joint.py --vanilla`: transformers' BERT with SDPA, fused AdamW, batches of rows of
like length; both train all ten tasks for one epoch and predict every test file. They take turns. Times are wall times
of the processes, from start to end, memory is the largest resident set. Writes whole.json and whole.md into OUT.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from step import processor

ROOT = pathlib.Path(__file__).parent.parent.parent
RECIPE = ROOT / "harness/recipes/minilm-cpu-mnre.toml"


def run(command, threads):
    """Seconds and MiB of a command."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command}: status {status}"
    return {"s": time.perf_counter() - start, "mib": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}


def vanilla(arguments, work):
    def ours(n):
        out = work / f"run-{n}"
        command = [arguments.mkgc, "train", arguments.benchmark, "--method", "vanilla", "--encoder", arguments.minilm]
        return run([*command, "--recipe", RECIPE, "--out", out], arguments.threads)

    def theirs(n):
        command = [sys.executable, ROOT / "tools/torch_joint/joint.py", arguments.benchmark, "--encoder", arguments.minilm]
        command += ["--vanilla", "--epochs", 1, "--batch", 16, "--pool", 16, "--dropout", 0.1, "--lr-encoder", 1e-4]
        return run([*command, "--threads", arguments.threads, "--out", work / f"torch-{n}.json"], arguments.threads)

    rounds = []
    for n in range(arguments.rounds):
        order = {"mkgc": ours, "torch": theirs} if n % 2 == 0 else {"torch": theirs, "mkgc": ours}
        rounds.append({name: program(n) for name, program in order.items()})
        print(rounds[-1], file=sys.stderr, flush=True)
    return rounds


def table(results):
    median = lambda name, key: statistics.median(entry[name][key] for entry in results["vanilla"])  # noqa: E731
    lines = [f"Whole commands, {results['threads']} threads, {results['processor']}; medians of {len(results['vanilla'])} rounds.", ""]
    lines += ["| command | mkgc | PyTorch | ÷ |", "|---|---:|---:|---:|"]
    for key, name in (("s", "Vanilla on mnre-10, MiniLM, wall seconds"), ("mib", "the same, peak memory, MiB")):
        ours, theirs = median("mkgc", key), median("torch", key)
        lines.append(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    for key, name in (("start", "`mkgc ls methods`, wall milliseconds"), ("demo", "`mkgc demo`, wall seconds")):
        value = statistics.median(entry["s"] for entry in results[key])
        lines.append(f"| {name} | {value * 1e3:.1f} | – | – |" if key == "start" else f"| {name} | {value:.1f} | – | – |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=pathlib.Path, required=True)
    parser.add_argument("--benchmark", type=pathlib.Path, required=True)
    parser.add_argument("--minilm", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {"threads": arguments.threads, "processor": processor()}
    with tempfile.TemporaryDirectory() as work:
        results["start"] = [run([arguments.mkgc, "ls", "methods"], arguments.threads) for _ in range(20)]
        results["demo"] = [run([arguments.mkgc, "demo"], arguments.threads) for _ in range(arguments.rounds)]
        results["vanilla"] = vanilla(arguments, pathlib.Path(work))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "whole.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "whole.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
