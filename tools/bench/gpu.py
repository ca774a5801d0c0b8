"""The GPU suite: kernels against the CPU, steps beside PyTorch's, a whole run. One command on a machine with a GPU:

    python tools/bench/gpu.py --mkgc target/release/mkgc --benchmark MNRE-10 --tokenizer tokenizer.json --out reports/gpu

`mkgc` is built with `--features cuda`; MNRE-10 is a benchmark as mkgc builds it, with or without real pictures; any
BERT's tokenizer does. Encoders have the shapes of BERT-base and CLIP ViT-B/32 and random weights, which cost what
trained ones cost. PyTorch's side is `step.py`'s, in bf16 by autocast, eager and under torch.compile, on the same rows, in
turn. CUDA's libraries are found where PyTorch has them. Writes gpu.json and gpu.md into OUT after every part.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from step import WARM_UP, step_flops

HERE = pathlib.Path(__file__).parent


def encoders(folder, tokenizer):
    from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

    BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder / "bert")
    shutil.copy(tokenizer, folder / "bert/tokenizer.json")
    CLIPVisionModel(CLIPVisionConfig()).save_pretrained(folder / "clip")
    text = ["--encoder", folder / "bert"]
    return {"vanilla": text, "lmc": [*text, "--vision", folder / "clip"]}


def environment():
    """CUDA's libraries beside PyTorch, and its own environment otherwise."""
    site = pathlib.Path(torch.__file__).parent.parent
    folders = sorted({str(path.parent) for path in site.glob("nvidia/**/lib*.so.*")})
    known = [os.environ.get("LD_LIBRARY_PATH", "")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(folders + [path for path in known if path])}


def ask(command, also=0, patience=None):
    """The JSON that a command prints. It has to succeed, or to end with the exit code `also`, in `patience` seconds."""
    command = list(map(str, command))
    start = time.perf_counter()
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, timeout=patience)
    print(f"{time.perf_counter() - start:.0f} s: {' '.join(command)}", file=sys.stderr, flush=True)
    if done.returncode not in (0, also):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return json.loads(done.stdout)


def card():
    name = torch.cuda.get_device_name()
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout.strip().split("\n")[0]
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    rate = 20 * 2 * 8192**3 / (time.perf_counter() - start)
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "transformers": transformers.__version__}
    return {"name": name, "driver": driver, "bf16_flops": rate, "versions": versions}


def step(arguments, means, work, method, rows):
    """A method's step, rows of 80 pieces, mkgc and PyTorch in turn; LMC's on the second task, with its teacher."""
    case = work / f"case-{method}-{rows}"
    command = [arguments.mkgc, "bench", arguments.benchmark, "--method", method, *means[method], "--length", 80]
    command += ["--second-task"] if method == "lmc" else []
    command += ["--device", arguments.device, "--set", f"batch_size={rows}", "--set", "clip_norm=1.0"]
    if arguments.device != "cpu":
        command += ["--dtype", "bf16"]
    ask([*command, "--steps", arguments.steps, "--account", case])
    peer = [sys.executable, HERE / "step.py", "--peer", case, "--threads", os.cpu_count(), "--steps", arguments.steps]
    peer += ["--device", arguments.device]
    programs = {"mkgc": [*command, "--steps", arguments.steps], "eager": peer, "compiled": [*peer, "--compiled"]}
    without = {}
    if arguments.no_compile:
        del programs["compiled"]
        without["compiled"] = "not run"
    rounds = []
    for n in range(arguments.rounds):
        order = list(programs) if n % 2 == 0 else list(programs)[::-1]
        ms = {}
        for name in order:
            try:
                patience = arguments.patience if name == "compiled" else None
                ms[name] = 1e3 * statistics.median(ask(programs[name], patience=patience)["seconds"])
            except subprocess.TimeoutExpired:
                # Compiling can take longer than all the rest. The other programs are compared nevertheless.
                del programs[name]
                without[name] = f"no result in {arguments.patience:.0f} s"
        rounds.append(ms)
    rounds = [{name: ms[name] for name in programs} for ms in rounds]
    median = {name: statistics.median(entry[name] for entry in rounds) for name in programs}
    ratios = {name: median["mkgc"] / median[name] for name in programs if name != "mkgc"}
    flops = step_flops(case, arguments.steps, method == "lmc") / arguments.steps / (median["mkgc"] / 1e3)
    timed = {"rounds": rounds, "median_ms": median, "ratios": ratios, "flops": flops}
    return {"method": method, "rows": rows, "without": without, **timed}


def whole_run(arguments, means, work):
    command = [arguments.mkgc, "train", arguments.benchmark, "--method", "lmc", *means["lmc"], "--out", work / "run"]
    command += ["--device", arguments.device, "--set", f"epochs={arguments.epochs}"]
    command += ["--dtype", "bf16"] if arguments.device != "cpu" else []
    start = time.perf_counter()
    result = ask(command)
    shutil.copytree(work / "run", arguments.out / "lmc-mnre-10", ignore=shutil.ignore_patterns("checkpoint"), dirs_exist_ok=True)
    minutes = (time.perf_counter() - start) / 60
    return {"minutes": minutes, "epochs": arguments.epochs, "continual": result["continual"]}


def table(results):
    lines = []
    if card := results.get("card"):
        versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
        lines += [f"{card['name']}, driver {card['driver']}, {card['bf16_flops'] / 1e12:.0f} TFLOP/s in bf16 products; {versions}."]
    if checks := results.get("kernels"):
        lines += ["", "| kernel | type | error | allowed |", "|---|---|---:|---:|"]
        for c in checks:
            outcome = f"not run: {c['skipped']} | –" if "skipped" in c else f"{c['error']:.1e} | {c['limit']:.0e}"
            lines += [f"| {c['name']} | {c['dtype']} | {outcome} |"]
    if steps := results.get("steps"):
        rate = results["card"]["bf16_flops"] if "card" in results else None
        lines += ["", "Steps in ms, rows of 80 pieces, LMC's with a picture each; medians over rounds in turn.", ""]
        lines += ["| method | rows | mkgc | PyTorch eager | ÷ | torch.compile | ÷ | share of the card's rate |"]
        lines += ["|---|" + "---:|" * 7]
        for s in steps:
            ms, ratios = s["median_ms"], s["ratios"]
            other = f"{ms['compiled']:.1f} | {ratios['compiled']:.2f}" if "compiled" in ms else f"{s['without']['compiled']} | –"
            share = f"{100 * s['flops'] / rate:.0f} %" if rate else "–"
            ours = f"{s['method']} | {s['rows']} | {ms['mkgc']:.1f}"
            lines += [f"| {ours} | {ms['eager']:.1f} | {ratios['eager']:.2f} | {other} | {share} |"]
    if run := results.get("run"):
        lines += ["", f"Whole LMC run, 10 tasks, {run['epochs']} epochs: {run['minutes']:.1f} minutes."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=pathlib.Path, required=True)
    parser.add_argument("--benchmark", type=pathlib.Path, required=True, help="mnre-10 as mkgc builds it")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="tokenizer.json of a BERT")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="cuda", help="cpu tries the suite without a GPU, and without kernels")
    parser.add_argument("--cases", nargs="+", default=["lmc:2", "lmc:16", "lmc:64", "vanilla:16", "vanilla:64"])
    parser.add_argument("--epochs", type=int, default=10, help="epochs of the whole run")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=600, help="seconds that PyTorch may take with its compiler")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-run", action="store_true", help="without the whole run")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {"warm_up": WARM_UP}

    def keep(name, value):
        results[name] = value
        (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        (arguments.out / "gpu.md").write_text(table(results))

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        means = encoders(work, arguments.tokenizer)
        if arguments.device != "cpu":
            keep("card", card())
            # Checks that fail are kept like the others, and the timings are made nevertheless.
            keep("kernels", ask([arguments.mkgc, "kernels", "--device", arguments.device], also=1))
        for method, rows in (case.split(":") for case in arguments.cases):
            keep("steps", [*results.get("steps", []), step(arguments, means, work, method, int(rows))])
        if not arguments.no_run:
            keep("run", whole_run(arguments, means, work))
    print(table(results))


if __name__ == "__main__":
    main()
