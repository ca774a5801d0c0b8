"""Tests of the twin itself: python tools/trajectory/selftest.py

Writes small random cases of every method (cases.py), replays them in f32 and f64, checks what must hold whatever the
weights, and compares hand-written pieces with plain loops (naive.py). Ends with status 1 at the first thing that fails.
The printed difference between f32 and f64 shows how far rounding alone moves a trajectory.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

import cases
import methods
import naive
import twin

KINDS = ("re", "ner")
# Padding changes nothing but here, where MKGformer's released form attends to it.
PADDING_MATTERS = ("mkgformer-released",)


class Watched(twin.Replay):
    """Notes the largest gradient each variable ever had."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.largest, self.at_freezing = {}, None

    def on_freeze(self, entry):
        super().on_freeze(entry)
        self.at_freezing = {name: value.detach().clone() for name, value in self.variables().items()}

    def on_step(self, entry):
        super().on_step(entry)
        for name, value in self.variables().items():
            if value.grad is not None:
                self.largest[name] = max(self.largest.get(name, 0.0), value.grad.abs().max().item())


def check(holds, what):
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def still(name, variant):
    """Whether a gradient is zero by the formulas: a softmax over keys ignores what is the same for all keys."""
    key_bias = name.endswith(("self.key.bias", "k_proj.bias"))
    if variant.startswith("mkgformer"):
        # Keys of both streams meet in the last vision layer.
        met = name in ("encoder.layer.0.attention.self.key.bias", "vision_model.encoder.layers.1.self_attn.k_proj.bias")
        return key_bias and not met
    if variant.startswith("lmc-released"):
        return (
            key_bias or name.startswith("shared.key") or (".1." in name and (".query." in name or ".q_proj." in name))
        )
    if variant == "lmc-own":  # the distilled logits of the last layer feel the bias
        return key_bias and ".0." in name
    # Cosines have no bias.
    return key_bias or name in ("memory_network.key_norm.bias", "head.emission.bias" * (variant == "seq-star"))


def moves(run, variant, folder):
    """Every variable that should gets a gradient and ends elsewhere; those that cannot get none but rounding."""
    initial = load_file(folder / f"network.{run.networks - 1}.safetensors")
    for name, value in run.variables().items():
        largest = run.largest.get(name, 0.0)
        if still(name, variant):
            check(largest < 1e-8, f"{folder.name}: {name} should have no gradient, has {largest:.1e}")
        else:
            check(largest > 1e-6, f"{folder.name}: {name} has no gradient")
            if name in initial:
                check((value - initial[name]).abs().max() > 1e-5, f"{folder.name}: {name} did not move")


def last_rows(run):
    """The rows of the last step that has rows of different lengths."""
    steps = [entry["rows"] for entry in run.case["trace"] if entry["event"] == "step"]
    return [rows for rows in steps if len({len(row["ids"]) for row in rows}) > 1][-1]


def padding(run, variant):
    """The losses of a batch's rows are those of the rows alone."""
    rows = last_rows(run)

    def losses(some):
        batch = run.batch(some)
        head = run.network.head
        return methods.task_losses(head, head.scores(head.features(run.network(batch), batch)), batch, run.allowed)

    alone = torch.cat([losses([row]) for row in rows])
    difference = naive.gap((losses(rows), alone))
    changes = variant in PADDING_MATTERS
    check((difference > 1e-6) == changes, f"{variant}: padding changes row losses by {difference:.1e}")


def distilled(run, rows):
    """The distillation and its largest gradient, for a student equal to the teacher and for one that is not."""
    largest = []
    run.on_teacher({})
    for change in (0.0, 0.02):
        with torch.no_grad():
            for n, value in enumerate(run.network.parameters()):
                value += change * naive.random(*value.shape, seed=n)
        run.network.zero_grad()
        batch = run.batch(rows)
        term = run.distillation(run.network(batch), batch)
        term.backward()
        gradients = [value.grad.abs().max().item() for value in run.network.parameters() if value.grad is not None]
        largest.append((term.item(), max(gradients)))
    return largest


def test_distillation(root):
    """LMC's gradient is non-zero if and only if teacher and student differ; the released one's never."""
    for kind in KINDS:
        for key in ("own", "matrix", "vector", "released"):
            variant = "lmc-released" if key == "released" else "lmc-own"
            for pooling in ("width", "height", "both"):
                folder = cases.write(root / f"distil-{key}-{pooling}-{kind}", variant, kind, key=key, pooling=pooling)
                run = twin.replay(folder, torch.float64)
                rows = last_rows(run)
                (same, none), (other, some) = distilled(run, rows)
                check(same == 0 and none == 0, f"{folder.name}: equal networks give {same:.1e}, gradient {none:.1e}")
                check(other > 0, f"{folder.name}: different networks give 0")
                check(
                    (some > 1e-6) == (key != "released"),
                    f"{folder.name}: gradient {some:.1e} between different networks",
                )
    print("distillation: gradient non-zero iff teacher and student differ (released: never)")


def logits(run, rows):
    batch = run.batch(rows)
    return run.network.head.scores(run.network.head.features(run.network(batch), batch)).detach()


def test_inert_key(runs):
    """Changing the shared key changes predictions where it is a matrix, and not where it is a vector."""
    for variant in ("lmc-matrix", "lmc-vector", "lmc-released"):
        for kind in KINDS:
            run = runs[variant, kind]
            rows = last_rows(run)
            before = logits(run, rows)
            with torch.no_grad():
                for key in run.network.shared.key.values():
                    key += 1.0 * naive.random(*key.shape, seed=5)
            difference = naive.gap((before, logits(run, rows)))
            check(
                (difference > 1e-4) == (variant == "lmc-matrix"),
                f"{variant}-{kind}: key moves logits by {difference:.1e}",
            )
    print("shared key: a matrix changes predictions, a vector does not")


def largest_change(one, other):
    return max(naive.gap((value, other[name])) for name, value in one.items() if name.startswith("final."))


def test_strengths(results):
    """λ of distillation and of EWC: what it changes and what it must not."""
    for kind in KINDS:
        change = largest_change(results["lmc-matrix", kind], results["lmc-matrix-zero", kind])
        check(change > 1e-4, f"lmc-{kind}: λ changes variables by {change:.1e} only")
        released = largest_change(results["lmc-released", kind], results["lmc-released-zero", kind])
        check(released < 1e-6, f"lmc-released-{kind}: λ changes variables by {released:.1e}")
        vanilla, zero, ewc = (results[name, kind] for name in ("vanilla", "ewc-zero", "ewc"))
        check(
            all(torch.equal(zero[name], value) for name, value in vanilla.items()), f"ewc-{kind}: λ = 0 is not vanilla"
        )
        first = len(vanilla["losses"]) // 2 - 1
        check(torch.equal(ewc["losses"][:first], vanilla["losses"][:first]), f"ewc-{kind}: a penalty in the first task")
        begin = len(ewc["losses"]) // 2
        check(
            all(torch.equal(results["ewc-grid", kind][name], value) for name, value in ewc.items() if name != "losses"),
            f"ewc-{kind}: a strength chosen from a grid is not that strength given",
        )
        tried = results["ewc-grid", kind]["losses"][begin:].reshape(3, -1)
        for losses, run in zip(tried[1:], (ewc, zero), strict=True):
            check(torch.equal(losses, run["losses"][begin:]), f"ewc-{kind}: a trial does not begin where the task began")
        penalised = largest_change(ewc, vanilla)
        check(penalised > 1e-4, f"ewc-{kind}: the penalty changes variables by {penalised:.1e} only")
        print(
            f"{kind}: λ moves variables by {change:.1e} in lmc, {released:.1e} in lmc-released, {penalised:.1e} in ewc"
        )


def test_freezing(runs):
    """SEQ*: what is frozen is what it was, to the bit; of the rest, every row of a new label learns."""
    for kind in KINDS:
        run = runs["seq-star", kind]
        moved = {name: value != run.at_freezing[name] for name, value in run.variables().items()}
        weight = "head.classifier.weight" if kind == "re" else "head.emission.weight"
        rows = moved.pop(weight).any(1)
        check(not rows[run.before].any() and rows[~run.before].all(), f"seq-star-{kind}: rows {rows} moved")
        if kind == "ner":
            moves = moved.pop("head.crf.transitions")
            old = run.before[:, None] & run.before
            check(not moves[old].any() and moves.any(), f"seq-star-{kind}: transitions of old tags moved")
            for end in ("start", "end"):
                check(not moved.pop(f"head.crf.{end}_transitions")[run.before].any(), f"seq-star-{kind}: {end} moved")
        check(not any(change.any() for change in moved.values()), f"seq-star-{kind}: the encoder moved")
    print("seq-star: what is frozen does not move")


def test_pieces(runs):
    """naive.py on networks that have learned."""
    found = {"crf": naive.crf(), "distillation": naive.distillation(), "memory network": naive.memory_network()}
    for kind in KINDS:

        def batch(variant, kind=kind):
            run = runs[variant, kind]
            return run, run.batch(last_rows(run))

        found[f"text encoder {kind}"] = naive.encoders(*batch("vanilla"))
        # transformers takes CLIP's softmax in f32 whatever the type, hence a tolerance of its own.
        both = naive.encoders(*batch("concat"))
        check(both < 1e-6, f"encoders {kind} differ from transformers by {both:.1e}")
        for name in ("own", "matrix", "vector", "released"):
            found[f"key {name} {kind}"] = naive.keys(*batch(f"lmc-{name}"))
        found[f"mkgformer {kind}"] = naive.fusion(*batch("mkgformer"))
        found[f"mkgformer released {kind}"] = naive.fusion(*batch("mkgformer-released"))
        found[f"modulation {kind}"] = max(naive.modulation(*batch(f"lmc-{name}")) for name in ("own", "vector"))
        run = runs["emar-bert", kind]
        # Rows as they are in the task, where NER's O is known.
        found[f"prototypes {kind}"] = naive.prototypes(run, run.batch(run.case["trace"][-1]["rows"]))
        run = runs["ewc-zero", kind]
        found[f"fisher {kind}"] = naive.fisher(run, last_rows(run))
    run = runs["vanilla", "re"]
    found["relation"] = naive.relation(run, run.batch(last_rows(run)))
    for name, difference in found.items():
        check(difference < 1e-9, f"{name} differs from plain loops by {difference:.1e}")
    print(f"{len(found)} pieces equal plain loops, largest difference {max(found.values()):.1e}")


def test_command(root):
    """The command line, on a trace with the losses of the f64 replay filled in: they are what it prints and writes."""
    for variant, kind in (("vanilla", "re"), ("rp-cre", "ner"), ("lmc-matrix", "ner")):
        folder = cases.write(root / "in" / f"{variant}-{kind}", variant, kind)
        run = twin.replay(folder, torch.float64)
        steps = [entry for entry in run.case["trace"] if entry["event"] == "step"]
        for entry, loss in zip(steps, run.losses, strict=True):
            entry["loss"] = loss
        (folder / "case.json").write_text(json.dumps(run.case))
    command = [sys.executable, twin.__file__, root / "in", root / "out", "--float64"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    check(len(printed) == 3 and all("error 0.00e+00" in line for line in printed), f"the command printed {printed}")
    written = load_file(root / "out" / "rp-cre-ner.safetensors")
    names = {
        "losses",
        "predict.prototypes",
        "predict.logits",
        "final.memory_network.key.weight",
        "final.head.crf.transitions",
    }
    check(names <= set(written), f"the command wrote {sorted(written)}")
    print("command: prints and writes what the replay found")


def test_cases(root):
    """Replays every case; returns the f64 runs and their results."""
    runs, results = {}, {}
    for variant in cases.VARIANTS:
        for kind in KINDS:
            folder = cases.write(root / f"{variant}-{kind}", variant, kind)
            single = twin.replay(folder)
            run = twin.replay(folder, torch.float64, Watched)
            check(torch.tensor(run.losses).isfinite().all(), f"{folder.name}: a loss is not finite")
            check(len(single.results()) == len(run.results()), folder.name)
            pairs = list(zip(single.losses, run.losses, strict=True))
            rounding = max(abs(a - b) / max(abs(b), 0.01) for a, b in pairs)
            moves(run, variant, folder)
            padding(run, variant)
            runs[variant, kind], results[variant, kind] = run, run.results()
            print(f"{folder.name:<26} {len(run.losses)} steps, rounding moves losses by {rounding:.1e}", flush=True)
    return runs, results


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        runs, results = test_cases(root)
        test_strengths(results)
        test_freezing(runs)
        test_pieces(runs)
        test_inert_key(runs)
        test_distillation(root)
        test_command(root)
    print("all good")


if __name__ == "__main__":
    main()
