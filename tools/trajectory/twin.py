"""Replays trajectories of mkgc in PyTorch, step by step, from the same initial weights and batches.

    python tools/trajectory/twin.py CASES OUT [--float64]

Every folder of CASES holds `case.json` (settings, networks, the trace of events), `network.N.safetensors`,
`memory_network.N.safetensors` and `pixels.safetensors`. Writes OUT/<case>.safetensors: `losses` `[steps]`,
`final.<variable>`, and where the trace asks for them `predict.prototypes` and `predict.logits`. Prints the largest
error of each loss curve against the losses in its trace. Written from the papers' formulas, independently of the Rust
code.
"""

import argparse
import itertools
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import get_linear_schedule_with_warmup

import methods
from networks import Network, collate

PHASES = ("current", "replay", "activation", "reconsolidation", "memory_network", "memory")


def same_phase(one, other):
    """Whether two events are steps of one phase. LMC has nothing between a task's steps and those on its memory."""
    if one["event"] != "step" or other["event"] != "step":
        return False
    return (one["phase"] == "memory") == (other["phase"] == "memory")
def part(name):
    """RP-CRE's parts of a network: the feature layer of a relation head belongs to the encoder."""
    if name.startswith(("head.dense.", "head.norm.")):
        return "encoder"
    return name.split(".")[0] if name.startswith(("head.", "memory_network.")) else "encoder"


class Replay:
    """The state of one run; a method per event of the trace."""

    def __init__(self, case, folder):
        self.case, self.folder, self.config, self.method = case, folder, case["config"], case["method"]
        assert not self.config.get("noise"), "a trajectory has no gradient noise"
        self.pixels = None
        if case["vision"]:
            self.pixels = load_file(folder / "pixels.safetensors")["pixels"].to(torch.get_default_dtype())
        self.networks, self.memory_networks = 0, 0
        self.network, self.memory_network, self.teacher, self.optimiser = None, None, None, None
        self.old, self.prototypes = {}, {}
        self.elastic, self.frozen = None, None
        self.seen, self.before = None, None
        self.elastic, self.began, self.ended = None, None, {}
        if self.method == "ewc":
            self.elastic = methods.ElasticWeights(self.config["ewc_lambda"], self.config["ewc_gamma"])
        self.losses, self.predicted, self.evaluation = [], [], {}
        self.schedule = None

    def run(self):
        trace = self.case["trace"]
        for at, entry in enumerate(trace):
            if entry["event"] == "step" and (at == 0 or not same_phase(trace[at - 1], entry)):
                self.start_phase(trace[at:])
            getattr(self, "on_" + entry["event"])(entry)
        return self

    def start_phase(self, trace):
        """A schedule of its own for the steps that begin here, over whichever optimiser there is."""
        following = zip(trace, trace[1:])
        steps = 1 + sum(1 for _ in itertools.takewhile(lambda pair: same_phase(*pair), following))
        self.schedule = None
        if self.config.get("schedule", "constant") == "linear":
            warm = self.config["warmup"] * steps
            self.schedule = get_linear_schedule_with_warmup(self.optimiser, warm, steps)

    def batch(self, rows):
        uses_images = hasattr(self.network, "vision_model")
        image = (lambda row: self.pixels[self.case["images"][row["image"]]]) if uses_images else None
        return collate(rows, self.case["kind"], self.case["pad"], image)

    def variables(self):
        """Every variable there is, by its mkgc name."""
        named = dict(self.network.named_parameters())
        if self.memory_network is not None:
            named |= {f"memory_network.{name}": value for name, value in self.memory_network.named_parameters()}
        return named

    def load(self, module, name, prefix=""):
        """Fills every parameter of a module with the variables of a file, and uses every variable of the file."""
        state = load_file(self.folder / name)
        assert all(key.startswith(prefix) for key in state), f"{name}: names should begin with {prefix}"
        module.load_state_dict({key[len(prefix) :]: value for key, value in state.items()}, strict=True)
        assert len(state) == len(list(module.named_parameters()))
        return module

    # Events.

    def on_task(self, entry):
        self.before, self.seen = self.seen, torch.tensor(entry["allowed"])
        softmax = self.config.get("softmax", "seen")
        assert softmax in ("seen", "all"), f"no softmax over {softmax} labels"
        self.allowed = self.seen if softmax == "seen" else torch.ones_like(self.seen)
        self.memory_network, self.old, self.prototypes = None, {}, {}

    def on_network(self, _):
        self.network = self.load(Network(self.case), f"network.{self.networks}.safetensors")
        self.networks += 1

    def on_memory_network(self, entry):
        assert entry["classes"] == len(self.prototypes)
        module = methods.MemoryNetwork(self.case["text"]["hidden_size"], self.config["key_size"])
        name = f"memory_network.{self.memory_networks}.safetensors"
        self.memory_network = self.load(module, name, "memory_network.")
        self.memory_networks += 1

    def on_optimiser(self, _):
        groups = [{"params": [value], "lr": self.rate(name)} for name, value in self.variables().items()]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=self.config["weight_decay"])

    def rate(self, name):
        if name.startswith("shared.key."):
            return self.config["lr_key"]
        if ".position_bias." in name:
            return self.config["lr_bias"]
        return self.config[{"head": "lr_head", "memory_network": "lr_memory_network"}.get(part(name), "lr_encoder")]

    @torch.no_grad()
    def on_prototypes(self, entry):
        made, items = {}, {}
        for label, rows in sorted((int(label), rows) for label, rows in entry["classes"].items()):
            batch = self.batch(rows)
            made[label], chosen = methods.prototype(
                self.network.head.features(self.network(batch), batch), batch, label
            )
            if entry["purpose"] == "predict" and self.method == "emar-bert" and self.case["kind"] == "re":
                row = self.network.head.classifier.weight[label]
                made[label] = methods.evaluation_prototype(chosen, row)
            items[label] = len(chosen)
        if entry["purpose"] == "old":
            self.old = {label: (made[label], items[label]) for label in made}
        elif entry["purpose"] == "predict":
            self.evaluation = made
        else:
            new = {label: (made[label], items[label]) for label in made}
            self.prototypes = methods.merged_prototypes(self.old, new)

    def on_freeze(self, _):
        self.frozen = methods.Frozen(self.network.head, self.before)

    def on_teacher(self, _):
        self.teacher = Network(self.case).eval()
        self.teacher.load_state_dict(self.network.state_dict())

    def state(self):
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def on_candidate(self, entry):
        """EWC tries a strength, from where the task began."""
        if self.began is None:
            self.began = self.state()
        else:
            self.ended[self.elastic.strength] = self.state()
        self.network.load_state_dict(self.began)
        self.elastic.strength = entry["lambda"]

    def on_chosen(self, entry):
        """It goes on with one of the strengths tried, from where that one ended."""
        self.ended[self.elastic.strength] = self.state()
        self.network.load_state_dict(self.ended[entry["lambda"]])
        self.elastic.strength, self.began, self.ended = entry["lambda"], None, {}

    def on_fisher(self, entry):
        def row_losses():
            for row in entry["rows"]:
                batch = self.batch([row])
                features = self.network.head.features(self.network(batch), batch)
                yield methods.task_losses(self.network.head, self.network.head.scores(features), batch, self.allowed)[0]

        self.elastic.update(self.variables(), row_losses())

    def on_step(self, entry):
        batch = self.batch(entry["rows"])
        encoded = self.network(batch)
        loss = self.loss(entry["phase"], encoded, batch)
        self.losses.append(loss.item())
        if self.elastic and self.elastic.anchors:
            loss = loss + self.elastic.penalty(self.variables())
        self.optimiser.zero_grad()
        loss.backward()
        if self.method in ("lmc", "lmc-released"):
            self.modulate(encoded, batch)
        if self.frozen:
            self.frozen.hide_gradients()
        self.clip()
        self.optimiser.step()
        if self.frozen:
            self.frozen.put_back()
        if self.schedule:
            self.schedule.step()

    def clip(self):
        """The gradients of all variables together, or of encoder, head and memory network each."""
        parts = {}
        for name, value in self.variables().items():
            parts.setdefault(part(name) if self.config["clip_apart"] else "all", []).append(value)
        if self.config["clip_norm"]:
            for values in parts.values():
                torch.nn.utils.clip_grad_norm_(values, self.config["clip_norm"])

    def loss(self, phase, encoded, batch):
        """What the step minimises, without EWC's penalty."""
        assert phase in PHASES, f"unknown phase {phase}"
        head = self.network.head
        features = head.features(encoded, batch)
        if self.frozen:
            features = features.detach()
        if phase == "reconsolidation":
            return methods.reconsolidation_loss(features, batch, self.prototypes)
        if phase == "memory_network":
            features = self.memory_network(features, self.stacked(self.prototypes))
        scores = methods.cosines(head, features) if self.method == "seq-star" else head.scores(features)
        loss = methods.task_losses(head, scores, batch, self.allowed).mean()
        if phase == "current" and self.teacher is not None:
            loss = loss + self.config["lambda"] * self.distillation(encoded, batch)
        return loss

    def distillation(self, encoded, batch):
        with torch.no_grad():
            before = self.teacher(batch)
        return methods.stream_distillation(self.method, before, encoded, batch, self.config["pooling"])

    def modulate(self, encoded, batch):
        head = self.network.head
        padding = self.config["key"] == "released"
        sides = head.sides(encoded, batch)
        factors = methods.modulation(head, sides, batch, self.allowed, self.config["alpha"], padding)
        for name, value in self.variables().items():
            if methods.stream(name) is not None and value.grad is not None:
                value.grad *= factors[methods.stream(name)]

    @torch.no_grad()
    def on_predict(self, entry):
        """Scores of every label for rows (RE) or words (NER) as the method predicts them now."""
        head, batch = self.network.head, self.batch(entry["rows"])
        features = head.features(self.network(batch), batch)
        if self.method == "emar-bert" and self.case["kind"] == "re":
            scores = features.new_full((len(features), len(self.allowed)), -torch.inf)
            scores[:, list(self.evaluation)] = features @ self.stacked(self.evaluation).T
        else:
            refined = self.memory_network(features, self.stacked(self.evaluation)) if self.memory_network else features
            scores = head.scores(refined)
        self.predicted.append(scores if batch.words is None else scores[batch.words])

    @staticmethod
    def stacked(prototypes):
        return torch.stack([prototypes[label] for label in sorted(prototypes)])

    # Results.

    def results(self):
        tensors = {f"final.{name}": value for name, value in self.variables().items()}
        tensors["losses"] = torch.tensor(self.losses)
        if self.evaluation:
            tensors["predict.prototypes"] = self.stacked(self.evaluation)
        if self.predicted:
            tensors["predict.logits"] = torch.cat(self.predicted)
        return {name: value.detach().float().contiguous().clone() for name, value in tensors.items()}

    def error(self):
        """Largest |twin - trace| / max(|trace|, 0.01) and its step; None if the trace has no losses."""
        traced = [entry["loss"] for entry in self.case["trace"] if entry["event"] == "step"]
        if not traced or None in traced:
            return None
        pairs = enumerate(zip(self.losses, traced, strict=True))
        return max((abs(ours - loss) / max(abs(loss), 0.01), n) for n, (ours, loss) in pairs)


def replay(folder, dtype=torch.float32, kind=Replay):
    torch.set_default_dtype(dtype)
    return kind(json.loads((folder / "case.json").read_text()), folder).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--float64", action="store_true", help="compute in f64, to see what rounding does")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folders = sorted(path.parent for path in arguments.cases.glob("*/case.json"))
    assert folders, f"no case.json in the folders of {arguments.cases}"
    for folder in folders:
        run = replay(folder, torch.float64 if arguments.float64 else torch.float32)
        save_file(run.results(), arguments.out / f"{folder.name}.safetensors")
        error = run.error()
        found = (
            "no losses in the trace" if error is None else f"largest relative error {error[0]:.2e} at step {error[1]}"
        )
        print(f"{folder.name:<28} {len(run.losses):>4} steps, {found}", flush=True)


if __name__ == "__main__":
    main()
