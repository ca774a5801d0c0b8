"""How cost grows: optimiser steps with tokens, rows and classes, builds with instances and classes.

    python tools/bench/growth.py --mkgc target/release/mkgc --minilm FOLDER --out reports/bench

Corpora are generated in MNRE's format. One thing grows at a time, the others stay at 32 pieces, 16 rows, 20 classes in
4 tasks, 10,000 training sentences. Steps are the median of 5 after 2 that do not count; builds are wall and CPU time and
peak memory of `mkgc build`. Writes growth.json and growth.md into OUT.
"""

import argparse
import json
import os
import pathlib
import random
import tempfile

import machine

WORDS = [a + b for a in ("ba", "do", "ki", "lu", "me", "ra", "so", "ti") for b in ("na", "re", "mo", "lit", "gu", "ver")]
SETTINGS = ["--set", "clip_norm=1.0", "--set", "max_length=128"]


def corpus(folder, rows, classes):
    """`rows` training sentences and a tenth as many for validation and test, all classes in turn; 4 tasks."""
    rng = random.Random(1)
    folder.mkdir(parents=True)
    names = [f"/per/org/relation_{n}" for n in range(classes)]
    (folder / "ours_rel2id.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    for split, count in (("train", rows), ("val", rows // 10), ("test", rows // 10)):
        with open(folder / f"mnre_{split}.txt", "w") as file:
            for row in range(max(count, classes)):
                tokens = [rng.choice(WORDS) for _ in range(15)]
                ends = {key: {"name": tokens[at], "pos": [at, at + 1]} for key, at in (("h", 0), ("t", 2))}
                file.write(repr({"token": tokens, **ends, "img_id": f"{split}_{row}.jpg", "relation": names[row % classes]}) + "\n")
    (folder / "protocol.toml").write_text('name = "growth"\ncorpus = "mnre"\nn_tasks = 4\n')


def built(mkgc, folder, rows, classes):
    corpus(folder / "raw", rows, classes)
    return machine.measured([mkgc, "build", folder / "raw/protocol.toml", "--raw", folder / "raw", "--out", folder / "built"], os.cpu_count())


def step(arguments, benchmark, rows=16, pieces=32):
    command = [arguments.mkgc, "bench", benchmark, "--method", "vanilla", "--encoder", arguments.minilm, "--steps", 5]
    command += [*SETTINGS, "--length", pieces, "--set", f"batch_size={rows}"]
    answer = json.loads(machine.measured(command, os.cpu_count(), output=True)["output"])
    return {"ms": 1e3 * sorted(answer["seconds"])[2], "mib": answer["peak_mib"]}


def table(results):
    lines = [f"{results['processor']}, {os.cpu_count()} threads. MiniLM; a step is forward, backward and update.", ""]
    for title, unit, entries in (("pieces per row", "ms", results["tokens"]), ("rows per step", "ms", results["batch"]), ("classes", "ms", results["classes"])):
        lines += [f"| {title} | step, {unit} | per unit of growth | peak MiB |", "|---:|---:|---:|---:|"]
        first = entries[0]
        for entry in entries:
            growth = (entry["ms"] / first["ms"]) / (entry["size"] / first["size"])
            lines.append(f"| {entry['size']} | {entry['ms']:.0f} | {growth:.2f} | {entry['mib']:.0f} |")
        lines.append("")
    for title, entries in (("training sentences", results["instances"]), ("classes", results["build_classes"])):
        lines += [f"| {title} | build, s | CPU s | peak MiB |", "|---:|---:|---:|---:|"]
        lines += [f"| {e['size']:,} | {e['s']:.2f} | {e['cpu_s']:.2f} | {e['mib']:.0f} |" for e in entries] + [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=pathlib.Path, required=True)
    parser.add_argument("--minilm", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    mkgc, results = arguments.mkgc, {"processor": machine.processor()}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        built(mkgc, work / "base", 10_000, 20)
        base = work / "base/built"
        results["tokens"] = [{"size": n} | step(arguments, base, pieces=n) for n in (16, 32, 64, 128)]
        results["batch"] = [{"size": n} | step(arguments, base, rows=n) for n in (4, 16, 64, 256)]
        results["instances"] = [{"size": n} | built(mkgc, work / f"rows-{n}", n, 20) for n in (1_000, 10_000, 100_000, 1_000_000)]
        results["build_classes"], results["classes"] = [], []
        for n in (20, 200, 2_000):
            results["build_classes"].append({"size": n} | built(mkgc, work / f"classes-{n}", 10_000, n))
            results["classes"].append({"size": n} | step(arguments, work / f"classes-{n}/built"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "growth.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
