#!/usr/bin/env python3
"""Writes many run folders for `mkgc report`: the committed runs under other seeds and other names of benchmarks.

    tools/scale/copies.py OUT [--seeds 5] [--orders 5] [--larger 7]

The runs of reports/minilm with the seed 42 stand on five benchmarks: mnre-10 three times and twitter2017-plom twice. Eleven
methods, five orders and five seeds make 1,375 runs. With `--larger N`, which needs pyarrow, two of the three have tests of N
times as many rows (7 gives 11,298 rows, as fewrel-10 has 11,200). Files that do not differ between copies are hard links, which a reader cannot tell from files of their
own. Scores of seeds are equal, which costs a report as much as different ones.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2] / "reports" / "minilm" / "runs"

BENCHMARKS = [
    ("mnre-10", "", "own"),
    ("twitter2017-plom", "", "own"),
    ("twitter2017-plom", "-second", "own"),
    ("mnre-10", "-second", "more"),
    ("mnre-10", "-third", "more"),
]


def enlarge(run, times):
    """Repeats the rows of a run's predictions under new ids; the counts in its result grow with them."""
    import pyarrow
    import pyarrow.parquet

    for path in run.glob("stages/*/predictions.parquet"):
        table = pyarrow.parquet.read_table(path)
        ids = table.column("id").to_pylist()
        named = lambda part: table.set_column(0, "id", pyarrow.array([f"{name}-{part}" for name in ids]))
        pyarrow.parquet.write_table(pyarrow.concat_tables(map(named, range(times))), path, compression="zstd")
    result = json.loads((run / "result.json").read_text())
    for stage in result["stages"]:
        stage["rows"] *= times
        for counts in (stage["support_by_class"], stage["confusion"]):
            counts.update({name: scaled(count, times) for name, count in counts.items()})
    (run / "result.json").write_text(json.dumps(result))


def scaled(count, times):
    """Multiplies a count, or each of a list."""
    return [part * times for part in count] if isinstance(count, list) else count * times


def copy(run, benchmark, seed, out):
    """Copies a run folder under another benchmark's name and another seed."""
    shutil.copytree(run, out, copy_function=os.link, ignore=shutil.ignore_patterns("run.json", "result.json"))
    record, result = (json.loads((run / name).read_text()) for name in ("run.json", "result.json"))
    record["dataset"]["name"] = result["benchmark"] = benchmark
    record["config"]["train_seed"] = result["train_seed"] = seed
    for name, content in ("run.json", record), ("result.json", result):
        (out / name).write_text(json.dumps(content))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument("--larger", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    made = 0
    with tempfile.TemporaryDirectory(dir=given.out, prefix=".") as originals:
        for name, suffix, rows in BENCHMARKS:
            for run in sorted((ROOT / name).glob("*-seed42")):
                if (run / "stream.json").exists():  # A run of another program has no settings of ours.
                    continue
                original = pathlib.Path(originals, name + suffix, run.name)
                shutil.copytree(run, original)
                if rows == "more" and given.larger > 1:
                    enlarge(original, given.larger)
                for order in range(given.orders):
                    benchmark = f"{name}{suffix}-order{order}"
                    for seed in range(given.seeds):
                        copy(original, benchmark, seed, given.out / benchmark / f"{run.name.removesuffix('42')}{seed}")
                        made += 1
    print(f"{made} runs in {given.out}")


if __name__ == "__main__":
    main()
