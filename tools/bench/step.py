"""Times optimiser steps of mkgc and of PyTorch in turn: the same network, rows, weights, threads, on one machine.

    python tools/bench/step.py --mkgc target/release/mkgc --benchmark MNRE-10 --minilm FOLDER --out reports/bench

PyTorch's side is what one would write with transformers: its BERT and CLIP layers with SDPA, `torch.optim.AdamW(fused=
True)`, gradient clipping; attention is written out in LMC's shared layers alone, which have to give their logits. Networks come from
`tools/trajectory`, where they are compared with mkgc step by step. Dropout is on; before anything is timed, three steps
without it have to give the same losses (text alone: pixels are left blank here). In each of the rounds both programs
run once per case, mkgc first in every other round; a round counts the median of its steps, and only if the machine was quiet (`machine.py`). The share of the
machine's rate is that of the products in the layers, forward and backward, in the time of a step, beside the best of
ten products of two matrices of 1024 x 1024 in the same process: gemm's in mkgc, MKL's or whatever PyTorch has. Threads
are one unless said otherwise: PyTorch with all of a machine's cores slows down many times over as soon as anything else
runs, which would flatter mkgc. Adds to step.json and step.md in OUT after every case.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import sys
import tempfile
import time

import machine

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "trajectory"))

WARM_UP = 2
RECIPE = ["--set", "clip_norm=1.0", "--set", "head_dropout=0.1", "--set", "max_length=128"]

# name, encoder, method, rows, pieces (None: the rows' own)
CASES = [
    ("MiniLM", "minilm", "vanilla", 8, 80),
    ("MiniLM", "minilm", "vanilla", 16, 80),
    ("MiniLM", "minilm", "vanilla", 16, None),
    ("BERT-base", "base", "vanilla", 8, 80),
    ("BERT-base", "base", "vanilla", 16, 80),
    ("BERT-base", "base", "vanilla", 16, None),
    ("MiniLM + ViT of its size", "minilm", "lmc", 16, None),
]


def vit(folder, minilm):
    """A folder with a ViT of MiniLM's width and depth, random weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    if not (folder / "vit/model.safetensors").exists():
        bert = json.loads((minilm / "config.json").read_text())
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        CLIPVisionModel(CLIPVisionConfig(**{name: bert[name] for name in names})).save_pretrained(folder / "vit")
    return folder / "vit"


def encoders(folder, minilm):
    """Folders with BERT-base's shape (random weights, MiniLM's vocabulary) and a ViT of MiniLM's width and depth."""
    from transformers import BertConfig, BertModel

    if not (folder / "base/model.safetensors").exists():
        BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder / "base")
        shutil.copy(minilm / "tokenizer.json", folder / "base")
    folders = {"minilm": minilm, "base": folder / "base"}
    for name, source in list(folders.items()):
        still = folders[f"{name} without dropout"] = folder / f"{name}-still"
        shutil.copytree(source, still, dirs_exist_ok=True)
        config = json.loads((still / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (still / "config.json").write_text(json.dumps(config))
    return folders | {"vit": vit(folder, minilm)}


def timed(case, threads, steps, device="cpu", compiled=False):
    """Takes the steps of an account in PyTorch; the same answer as `mkgc bench` gives. On a GPU, in bf16 as autocast has
    it, if asked for with compiled networks."""
    import methods
    import torch
    from networks import keep_logits
    from twin import Replay

    torch.set_num_threads(threads)
    torch.set_default_device(device)
    bf16 = torch.autocast(device, torch.bfloat16, enabled=device != "cpu")
    finish = torch.cuda.synchronize if device != "cpu" else lambda: None

    class Timed(Replay):
        seconds = []

        def __init__(self, description, folder):
            # The noise of gradients is made here; the twin refuses it.
            self.noise = description["config"].pop("noise", False) and description["method"] == "lmc"
            vision, description["vision"] = description["vision"], None
            super().__init__(description, folder)
            description["vision"], self.sides = vision, vision and vision["image_size"]

        def batch(self, rows):
            if self.sides:
                self.pixels = torch.zeros(1, 3, self.sides, self.sides)
                self.case["images"] = {row["image"]: 0 for row in rows}
            return super().batch(rows)

        def on_network(self, entry):
            super().on_network(entry)
            self.network.train()
            keep_logits([layer.attention.self for layer in self.network.encoder.layer], self.network.joined)
            if hasattr(self.network, "vision_model"):
                keep_logits([layer.self_attn for layer in self.network.vision_model.encoder.layers], self.network.joined)
            if compiled:
                self.network.compile(dynamic=True)

        def on_optimiser(self, _):
            groups = [{"params": [value], "lr": self.rate(name)} for name, value in self.variables().items()]
            self.optimiser = torch.optim.AdamW(groups, weight_decay=self.config["weight_decay"], fused=True)

        def on_step(self, entry):
            if self.teacher is not None:
                # mkgc computes the frozen teacher's maps once per task, so they are not timed here either.
                with torch.no_grad(), bf16:
                    self.before = self.teacher(self.batch(entry["rows"]))
            finish()
            start = time.perf_counter()
            with bf16:
                super().on_step(entry)
            finish()
            self.seconds.append(time.perf_counter() - start)

        def distillation(self, encoded, batch):
            return methods.stream_distillation(self.method, self.before, encoded, batch, self.config["pooling"])

        def modulate(self, encoded, batch):
            # The noise has the deviation of the gradient before it is scaled.
            grads = [value.grad for name, value in self.variables().items() if methods.stream(name) is not None]
            grads = [grad for grad in grads if self.noise and grad is not None]
            deviations = [grad.std() for grad in grads]
            super().modulate(encoded, batch)
            for grad, deviation in zip(grads, deviations):
                grad.add_(torch.randn_like(grad) * deviation)

    replay = Timed(json.loads((case / "case.json").read_text()), case).run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    first = WARM_UP if replay.teacher is None else 2 * WARM_UP
    of = slice(first, first + steps)
    return {
        "seconds": replay.seconds[of],
        "losses": replay.losses[of],
        "peak_mib": round(peak),
        "machine": {"product_gflops": product_rate(torch) / 1e9},
    }


def product_rate(torch):
    """Operations per second of the best of ten products, as `mkgc bench` measures its own."""
    matrix, best = torch.ones(1024, 1024), float("inf")
    for _ in range(10):
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


def stream_flops(rows, tokens, config):
    """Of products in the layers of a stream of transformers, forward and backward, which takes twice the forward's."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layer = 2 * tokens * (4 * hidden**2 + 2 * hidden * inner) + 4 * tokens**2 * hidden
    return 3 * rows * config["num_hidden_layers"] * layer


def step_flops(case, steps, second_task):
    """Of all steps that count, by their rows and longest texts."""
    described = json.loads((case / "case.json").read_text())
    taken = [entry["rows"] for entry in described["trace"] if entry["event"] == "step"]
    first = 2 * WARM_UP if second_task else WARM_UP
    total = 0
    for rows in taken[first : first + steps]:
        total += stream_flops(len(rows), max(len(row["ids"]) for row in rows), described["text"])
        if vision := described["vision"]:
            patches = (vision["image_size"] // vision["patch_size"]) ** 2
            total += stream_flops(len(rows), patches + 1, vision)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--mkgc", type=pathlib.Path)
    parser.add_argument("--benchmark", type=pathlib.Path, help="mnre-10 as mkgc builds it")
    parser.add_argument("--minilm", type=pathlib.Path, help="folder with the MiniLM encoder")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=10, help="rounds of a case that may be thrown away")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine before a round")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cases", default="", help="numbers of the cases to run, by commas; all if empty")
    arguments = parser.parse_args()
    if arguments.peer:
        peer = arguments.peer, arguments.threads, arguments.steps, arguments.device, arguments.compiled
        print(json.dumps(timed(*peer)))
        return
    with tempfile.TemporaryDirectory() as work:
        run(arguments, pathlib.Path(work))


def run(arguments, work):
    """Measures case after case and writes what there is."""
    import torch
    import transformers

    folders = encoders(work, arguments.minilm)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    for number in [int(n) for n in arguments.cases.split(",") if n] or range(len(CASES)):
        commands, case, version = prepared(arguments, folders, work, number)
        name, _, method, rows, pieces = CASES[number]
        flops = step_flops(case, arguments.steps, method == "lmc")
        programs = {program: lambda of=command: step(of, arguments.threads, flops) for program, command in commands.items()}
        kept, thrown = machine.rounds(programs, arguments.rounds, arguments.tries, arguments.patience)
        shutil.rmtree(case)
        if not kept:
            print(f"{name} {method} {rows} x {pieces}: the machine was never quiet", file=sys.stderr)
            continue
        found = {"network": name, "method": method, "rows": rows, "pieces": pieces, "thrown_away": thrown, "rounds": kept}
        results = {"quiet": True, "versions": {"mkgc": version} | versions, "cases": {str(number): found | summary(kept)}}
        machine.write(arguments.out, "step", arguments.threads, results, table)


def prepared(arguments, folders, work, number):
    """The commands of both programs for a case, the folder of its account, and mkgc's version; checks their losses."""
    _, encoder, method, rows, pieces = CASES[number]
    command = [arguments.mkgc, "bench", arguments.benchmark, "--method", method]
    command += [*RECIPE, "--set", f"batch_size={rows}"]
    command += ["--length", pieces] if pieces else []
    command += ["--vision", folders["vit"], "--second-task"] if method == "lmc" else []
    case = work / str(number)
    theirs = [sys.executable, __file__, "--peer", case, "--threads", arguments.threads]
    theirs += ["--steps", arguments.steps]
    if method == "vanilla":
        still = [*command, "--encoder", folders[f"{encoder} without dropout"], "--set", "head_dropout=0.0"]
        still = ask([*still, "--steps", 3, "--account", case], arguments.threads)
        agree(still, ask([*theirs[:-1], 3], arguments.threads))
    ours = [*command, "--encoder", folders[encoder], "--steps", arguments.steps]
    version = ask([*ours, "--account", case], arguments.threads)["version"]
    return {"mkgc": ours, "torch": theirs}, case, version


def ask(command, threads):
    """The answer of a program that prints JSON."""
    return json.loads(machine.measured(command, threads, output=True)["output"])


def step(command, threads, flops):
    """A round's figures for one program: milliseconds of a step, rate of its products and of a large one, memory."""
    ran = machine.measured(command, threads, output=True)
    answer = json.loads(ran["output"])
    seconds = answer["seconds"]
    found = {"ms": 1e3 * statistics.median(seconds), "mib": answer["peak_mib"], "gflops": flops / sum(seconds) / 1e9}
    known = {name: answer["machine"][name] for name in ("inner_loops", "products") if name in answer["machine"]}
    rest = {name: ran[name] for name in ("load", "others")}
    return found | {"product_gflops": answer["machine"]["product_gflops"]} | known | rest


def agree(ours, theirs):
    """The losses of steps without dropout, to 1e-3."""
    for a, b in zip(ours["losses"], theirs["losses"], strict=True):
        assert abs(a - b) <= 1e-3 * max(a, b, 0.1), f"losses {ours['losses']} and {theirs['losses']} differ"


def summary(pairs):
    """Medians over rounds, and the ratios of each round."""
    keys = [key for key, value in pairs[0]["mkgc"].items() if key not in ("load", "others") and not isinstance(value, str)]
    median = {p: {k: statistics.median(pair[p][k] for pair in pairs) for k in keys} for p in ("mkgc", "torch")}
    ratios = sorted(pair["mkgc"]["ms"] / pair["torch"]["ms"] for pair in pairs)
    return {
        "median": median,
        "time_ratio": statistics.median(ratios),
        "time_ratio_range": [ratios[0], ratios[-1]],
        "memory_ratio": median["mkgc"]["mib"] / median["torch"]["mib"],
    }


def table(results):
    """A row per case."""
    cases = [case for _, case in sorted(results["cases"].items(), key=lambda entry: int(entry[0]))]
    used = sorted({f"{pair['mkgc'][key]} in {words}" for case in cases for pair in case["rounds"]
                   for key, words in (("inner_loops", "inner loops"), ("products", "products")) if key in pair["mkgc"]})
    lines = [f"mkgc used {' and '.join(used)}.", ""] if used else []
    lines += [
        "| network | method | rows × pieces | rounds (thrown away) | mkgc ms | PyTorch ms | mkgc ÷ PyTorch (range) "
        "| share of the machine's rate, mkgc / PyTorch | memory MiB | ÷ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        ours, theirs, (low, high) = case["median"]["mkgc"], case["median"]["torch"], case["time_ratio_range"]
        share = " / ".join(f"{100 * p['gflops'] / p['product_gflops']:.0f} %" for p in (ours, theirs) if "gflops" in p)
        thrown = f" ({case['thrown_away']})" if "thrown_away" in case else ""
        lines.append(
            f"| {case['network']} | {case['method']} | {case['rows']} × {case['pieces'] or 'own'} "
            f"| {len(case['rounds'])}{thrown} | {ours['ms']:.0f} | {theirs['ms']:.0f} "
            f"| {case['time_ratio']:.2f} ({low:.2f}–{high:.2f}) | {share or '–'} "
            f"| {ours['mib']:.0f} / {theirs['mib']:.0f} | {case['memory_ratio']:.2f} |"
        )
    return lines


if __name__ == "__main__":
    main()
