"""Times whole commands: Vanilla, EMR and LMC on mnre-10 with MiniLM beside PyTorch's, starting, and the demo.

    python tools/bench/whole.py --mkgc target/release/mkgc --benchmark MNRE-10 --minilm FOLDER --out reports/bench

PyTorch's side are the independent programs of `tools/torch_joint`: `joint.py --vanilla`, `emr.py` and `lmc.py`,
transformers' BERT with SDPA, fused AdamW, batches of rows of like length. Both programs train the first `--tasks` tasks
(all if it is not said) for one epoch and predict their test files; EMR joins rows of the memory to each batch in both.
LMC has a ViT of MiniLM's width and depth with random weights, the same in both programs, is shown whole pictures, which
both prepare in every round, and makes four passes over its memory after each task but the first. They take turns, and a
round counts only if the machine was quiet (`machine.py`). Times are wall times of the processes, from start to end,
memory is the largest resident set. Adds to whole.json and whole.md in OUT after every part.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
from importlib.metadata import version

import machine
from step import vit

ROOT = pathlib.Path(__file__).parent.parent.parent
RECIPE = ROOT / "harness/recipes/minilm-cpu-mnre.toml"
# Of the recipe, as the programs of `tools/torch_joint` name it.
PEER = ["--epochs", 1, "--batch", 16, "--pool", 16, "--dropout", 0.1, "--lr-encoder", 5e-5, "--lr-head", 1e-3, "--clip", 10]


def methods(arguments, work):
    """What each method needs besides in mkgc and which program is PyTorch's."""
    vision = ["--vision", work / "vit"]
    stages = ",".join(str(n + 1) for n in range(arguments.tasks)) if arguments.tasks else None
    some = (["--stages", stages], ["--tasks", arguments.tasks]) if stages else ([], [])
    return {
        "vanilla": ([], ["joint.py", "--vanilla", *some[0]]),
        "emr": (["--set", "replay=concat"], ["emr.py", "--per-class", 10, *some[1]]),
        "lmc": ([*vision, "--set", "visual=image"], ["lmc.py", *vision, "--per-class", 10, "--memory-epochs", 4, *some[1]]),
    }


def programs(arguments, method, work):
    """Both programs of a method, each with a fresh folder to write to."""
    extra, (script, *options) = methods(arguments, work)[method]

    def ours():
        out = pathlib.Path(tempfile.mkdtemp(dir=work)) / "run"
        command = [arguments.mkgc, "train", arguments.benchmark, "--method", method, "--encoder", arguments.minilm]
        command += ["--tasks", arguments.tasks] if arguments.tasks else []
        command += ["--recipe", RECIPE, *extra, "--out", out]
        # PyTorch's program finds no prepared pictures either.
        return machine.measured(command, arguments.threads, os.environ | {"MKGC_CACHE": str(out.parent)})

    def theirs():
        out = pathlib.Path(tempfile.mkdtemp(dir=work)) / "torch.json"
        command = [sys.executable, ROOT / "tools/torch_joint" / script, arguments.benchmark, "--encoder", arguments.minilm]
        return machine.measured([*command, *options, *PEER, "--threads", arguments.threads, "--out", out], arguments.threads)

    return {"mkgc": ours, "torch": theirs}


def alone(arguments, *command):
    """mkgc without a peer."""
    return {"mkgc": lambda: machine.measured([arguments.mkgc, *command], arguments.threads)}


def parts(arguments, work):
    """Name, title, programs and rounds of what is measured, in the order of the table."""
    tasks = f"{arguments.tasks} tasks of mnre-10" if arguments.tasks else "mnre-10"
    for method, name in (("vanilla", "Vanilla"), ("emr", "EMR"), ("lmc", "LMC")):
        encoders = "MiniLM + ViT of its size" if method == "lmc" else "MiniLM"
        yield method, f"{name} on {tasks}, {encoders}", programs(arguments, method, work), arguments.rounds
    yield "start", "`mkgc ls methods`", alone(arguments, "ls", "methods"), 20
    yield "demo", "`mkgc demo`", alone(arguments, "demo"), arguments.rounds


def table(results):
    """A row per command."""
    lines = ["| command | rounds (thrown away) | mkgc | PyTorch | ÷ (range) | memory MiB | ÷ |", "|---|---|---:|---:|---:|---:|---:|"]
    for case in results["cases"].values():
        rounds, thrown = case["rounds"], f" ({case['thrown_away']})" if "thrown_away" in case else ""
        median = lambda name, key: statistics.median(entry[name][key] for entry in rounds)  # noqa: E731
        seconds = median("mkgc", "s")
        time = f"{seconds:.1f} s" if seconds > 0.1 else f"{1e3 * seconds:.1f} ms"
        row = f"| {case['title']} | {len(rounds)}{thrown} | {time} "
        if "torch" in rounds[0]:
            ratios = sorted(entry["mkgc"]["s"] / entry["torch"]["s"] for entry in rounds)
            ours, theirs = median("mkgc", "mib"), median("torch", "mib")
            row += f"| {median('torch', 's'):.1f} s | {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) "
            lines.append(row + f"| {ours:.0f} / {theirs:.0f} | {ours / theirs:.2f} |")
        else:
            lines.append(row + f"| – | – | {median('mkgc', 'mib'):.0f} | – |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=pathlib.Path, required=True)
    parser.add_argument("--benchmark", type=pathlib.Path, required=True)
    parser.add_argument("--minilm", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tries", type=int, default=10, help="rounds of a part that may be thrown away")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine before a round")
    parser.add_argument("--tasks", type=int, help="how many of the tasks to learn (default: all)")
    parser.add_argument("--parts", default="vanilla,emr,lmc,start,demo", help="which to measure, by commas")
    arguments = parser.parse_args()
    record = machine.measured([arguments.mkgc, "--version"], 1, output=True)["output"]
    versions = {"mkgc": record.split()[1]} | {name: version(name) for name in ("torch", "transformers")}
    wanted = arguments.parts.split(",")
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        if "lmc" in wanted:
            vit(work, arguments.minilm)
        for name, title, pair, count in parts(arguments, work):
            if name not in wanted:
                continue
            kept, thrown = machine.rounds(pair, count, arguments.tries, arguments.patience)
            if not kept:
                print(f"{title}: the machine was never quiet", file=sys.stderr)
                continue
            case = {"title": title, "thrown_away": thrown, "rounds": kept}
            results = {"quiet": True, "versions": versions, "cases": {name: case}}
            machine.write(arguments.out, "whole", arguments.threads, results, table)


if __name__ == "__main__":
    main()
