"""Times optimiser steps of mkgc and of PyTorch in turn: the same network, rows, weights, threads, on one machine.

    python tools/bench/step.py --mkgc target/release/mkgc --benchmark MNRE-10 --minilm FOLDER --out reports/bench

PyTorch's side is what one would write with transformers: its BERT and CLIP layers with SDPA, `torch.optim.AdamW(fused=
True)`, gradient clipping; LMC's shared layers have to give their logits and are written out. Networks come from
`tools/trajectory`, where they are compared with mkgc step by step. Dropout is on; before anything is timed, three steps
without it have to give the same losses (text alone: pixels are left blank here). In each of the rounds both programs run once per case, mkgc first in every other
round; a round counts the median of its steps. Writes step.json and step.md into OUT.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

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


def encoders(folder, minilm):
    """Folders with BERT-base's shape (random weights, MiniLM's vocabulary) and a ViT of MiniLM's width and depth."""
    from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

    if not (folder / "base/model.safetensors").exists():
        BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder / "base")
        shutil.copy(minilm / "tokenizer.json", folder / "base")
    if not (folder / "vit/model.safetensors").exists():
        bert = json.loads((minilm / "config.json").read_text())
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        CLIPVisionModel(CLIPVisionConfig(**{name: bert[name] for name in names})).save_pretrained(folder / "vit")
    folders = {"minilm": minilm, "base": folder / "base"}
    for name, source in list(folders.items()):
        still = folders[f"{name} without dropout"] = folder / f"{name}-still"
        shutil.copytree(source, still, dirs_exist_ok=True)
        config = json.loads((still / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (still / "config.json").write_text(json.dumps(config))
    return folders | {"vit": folder / "vit"}


def timed(case, threads, steps, device="cpu", compiled=False):
    """Takes the steps of an account in PyTorch; the same answer as `mkgc bench` gives. On a GPU, in bf16 as autocast has
    it, if asked for with compiled networks."""
    import methods
    import torch
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
            for name in ("encoder", "vision_model"):
                module = getattr(self.network, name, None)
                if module is not None and not self.network.joined:
                    for layer in module.modules():
                        if hasattr(layer, "config"):
                            layer.config._attn_implementation = "sdpa"
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
            super().modulate(encoded, batch)
            for name, value in self.variables().items():
                if self.noise and methods.stream(name) is not None and value.grad is not None:
                    value.grad.add_(torch.randn_like(value.grad) * value.grad.std())

    replay = Timed(json.loads((case / "case.json").read_text()), case).run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    first = WARM_UP if replay.teacher is None else 2 * WARM_UP
    of = slice(first, first + steps)
    return {"seconds": replay.seconds[of], "losses": replay.losses[of], "peak_mib": round(peak)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--mkgc", type=pathlib.Path)
    parser.add_argument("--benchmark", type=pathlib.Path, help="mnre-10 as mkgc builds it")
    parser.add_argument("--minilm", type=pathlib.Path, help="folder with the MiniLM encoder")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cases", default="", help="numbers of the cases to run, by commas; all if empty")
    arguments = parser.parse_args()
    if arguments.peer:
        peer = arguments.peer, arguments.threads, arguments.steps, arguments.device, arguments.compiled
        print(json.dumps(timed(*peer)))
        return
    with tempfile.TemporaryDirectory() as work:
        results = run(arguments, pathlib.Path(work))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "step.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "step.md").write_text(table(results))
    print(table(results))


def run(arguments, work):
    import torch
    import transformers

    folders = encoders(work, arguments.minilm)
    environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads), "OMP_NUM_THREADS": str(arguments.threads)}

    def ask(command):
        done = subprocess.run(list(map(str, command)), env=environment, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    cases = []
    chosen = [int(n) for n in arguments.cases.split(",") if n] or range(len(CASES))
    for number in chosen:
        name, encoder, method, rows, pieces = CASES[number]
        command = [arguments.mkgc, "bench", arguments.benchmark, "--method", method]
        command += [*RECIPE, "--set", f"batch_size={rows}"]
        command += ["--length", pieces] if pieces else []
        command += ["--vision", folders["vit"], "--second-task"] if method == "lmc" else []
        case = work / str(number)
        theirs = [sys.executable, __file__, "--peer", case, "--threads", arguments.threads]
        theirs += ["--steps", arguments.steps]
        if method == "vanilla":
            still = [*command, "--encoder", folders[f"{encoder} without dropout"], "--set", "head_dropout=0.0"]
            agree(ask([*still, "--steps", 3, "--account", case]), ask(theirs))
        command += ["--encoder", folders[encoder]]
        ask([*command, "--steps", arguments.steps, "--account", case])
        ours = [*command, "--steps", arguments.steps]
        pairs = []
        for n in range(arguments.rounds):
            order = {"mkgc": ours, "torch": theirs} if n % 2 == 0 else {"torch": theirs, "mkgc": ours}
            answers = {program: ask(command) for program, command in order.items()}
            pairs.append({p: {"ms": 1e3 * statistics.median(a["seconds"]), "mib": a["peak_mib"]} for p, a in answers.items()})
            print(name, method, rows, pieces, pairs[-1], file=sys.stderr, flush=True)
        cases.append({"network": name, "method": method, "rows": rows, "pieces": pieces, "rounds": pairs} | summary(pairs))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"threads": arguments.threads, "processor": processor(), "versions": versions, "cases": cases}


def agree(ours, theirs):
    """The losses of steps without dropout, to 1e-3."""
    for a, b in zip(ours["losses"], theirs["losses"], strict=True):
        assert abs(a - b) <= 1e-3 * max(a, b, 0.1), f"losses {ours['losses']} and {theirs['losses']} differ"


def summary(pairs):
    median = {p: {k: statistics.median(pair[p][k] for pair in pairs) for k in ("ms", "mib")} for p in ("mkgc", "torch")}
    ratios = sorted(pair["mkgc"]["ms"] / pair["torch"]["ms"] for pair in pairs)
    return {
        "median": median,
        "time_ratio": statistics.median(ratios),
        "time_ratio_range": [ratios[0], ratios[-1]],
        "memory_ratio": median["mkgc"]["mib"] / median["torch"]["mib"],
    }


def processor():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores, {platform.system()}"


def table(results):
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"Optimiser step, {results['threads']} threads, {results['processor']}, {versions}; medians over rounds in turn.",
        "",
        "| network | method | rows × pieces | mkgc ms | PyTorch ms | mkgc ÷ PyTorch (range) | memory MiB | ÷ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in results["cases"]:
        ours, theirs, (low, high) = case["median"]["mkgc"], case["median"]["torch"], case["time_ratio_range"]
        lines.append(
            f"| {case['network']} | {case['method']} | {case['rows']} × {case['pieces'] or 'own'} "
            f"| {ours['ms']:.0f} | {theirs['ms']:.0f} | {case['time_ratio']:.2f} ({low:.2f}–{high:.2f}) "
            f"| {ours['mib']:.0f} / {theirs['mib']:.0f} | {case['memory_ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
