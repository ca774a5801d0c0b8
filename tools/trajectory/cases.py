"""Small random trajectories in the form of the trace files: two tasks, hidden size 16, 2 layers, 2 heads.

Rows and weights are random; the memory is the first rows of a class; there are no losses.
"""

import json
import random

import torch
from safetensors.torch import save_file

from shapes import (
    HEADS, HIDDEN, IMAGE, INNER, KEY_SIZE, LAYERS, LENGTH, PATCH, VOCABULARY, memory_network_shapes, network_shapes,
)  # fmt: skip

BATCH, PER_CLASS = 3, 2
# Two classes are task 0's, two task 1's; what is left is never allowed.
RELATIONS = ["None", "/a", "/b", "/c", "/d", "/e"]
TAGS = ["O", "B-A", "I-A", "B-B", "I-B", "B-C", "I-C"]
SETTINGS = {
    "batch_size": BATCH, "lr_encoder": 1e-3, "lr_head": 1e-2, "lr_key": 5e-4, "lr_bias": 2e-3,
    "lr_memory_network": 3e-3, "weight_decay": 1e-2, "clip_norm": 2.0, "clip_apart": False, "memory_per_class": PER_CLASS,
    "memory_epochs": 2, "rounds": 2, "alpha": 0.3, "lambda": 1.0, "noise": False, "shared_layers": 0,
    "key": "own", "pooling": "both", "interaction_layers": 1, "mask_text_padding": True, "key_size": KEY_SIZE,
    "ewc_lambda": 100.0, "ewc_grid": [], "ewc_gamma": 0.9, "fisher_rows": 5, "visual": "image", "max_length": LENGTH,
}  # fmt: skip
LMC = {"clip_norm": 0.0, "shared_layers": 1, "epochs": 3}
# Name: (method, settings that differ). Epochs are such that about 30 steps are made.
VARIANTS = {
    "vanilla": ("vanilla", {"epochs": 5}),
    "emr": ("emr", {"epochs": 3}),
    "joint": ("joint", {"epochs": 3}),
    "concat": ("concat", {"epochs": 5}),
    "concat-replay": ("concat-replay", {"epochs": 3}),
    "mkgformer": ("mkgformer", {"epochs": 5}),
    "mkgformer-released": ("mkgformer", {"epochs": 5, "mask_text_padding": False}),
    "mkgformer-replay": ("mkgformer-replay", {"epochs": 3}),
    "vanilla-linear": ("vanilla", {"epochs": 5, "schedule": "linear", "warmup": 0.3}),
    "emr-linear": ("emr", {"epochs": 3, "schedule": "linear", "warmup": 0.0}),
    "lmc-linear": ("lmc", LMC | {"key": "matrix", "pooling": "both", "schedule": "linear", "warmup": 0.1}),
    "emr-cls": ("emr", {"epochs": 3, "head": "cls"}),
    "emar-bert-cls": ("emar-bert", {"epochs": 1, "head": "cls"}),
    "rp-cre-cls": ("rp-cre", {"epochs": 3, "head": "cls"}),
    "mkgformer-cls": ("mkgformer", {"epochs": 5, "head": "cls"}),
    "lmc-markers": ("lmc", LMC | {"key": "matrix", "pooling": "both", "head": "markers"}),
    "emar-bert": ("emar-bert", {"epochs": 1}),
    "fea": ("fea", {"epochs": 3}),
    "seq-star": ("seq-star", {"epochs": 5, "softmax": "all"}),
    "joint-multimodal": ("joint-multimodal", {"epochs": 3}),
    "rp-cre": ("rp-cre", {"epochs": 3, "clip_apart": True}),
    "ewc": ("ewc", {"epochs": 5}),
    "ewc-zero": ("ewc", {"epochs": 5, "ewc_lambda": 0.0}),
    "ewc-grid": ("ewc", {"epochs": 5, "ewc_grid": [1000.0, 100.0, 0.0]}),
    "lmc-own": ("lmc", LMC | {"key": "own", "pooling": "both"}),
    "lmc-matrix-width": ("lmc", LMC | {"key": "matrix", "pooling": "width"}),
    "lmc-matrix-height": ("lmc", LMC | {"key": "matrix", "pooling": "height"}),
    "lmc-matrix": ("lmc", LMC | {"key": "matrix", "pooling": "both", "shared_layers": 2}),
    "lmc-matrix-zero": ("lmc", LMC | {"key": "matrix", "pooling": "both", "shared_layers": 2, "lambda": 0.0}),
    "lmc-vector": ("lmc", LMC | {"key": "vector", "pooling": "width"}),
    "lmc-replay": ("lmc-replay", LMC | {"shared_layers": 0, "alpha": 0.0, "lambda": 0.0}),
    "lmc-released": ("lmc-released", LMC | {"key": "released", "pooling": "width"}),
    "lmc-released-zero": ("lmc-released", LMC | {"key": "released", "pooling": "width", "lambda": 0.0}),
}


def weights(shapes, generator):
    """Large enough that nothing is nearly linear, small enough that 30 steps do not fit the rows."""

    def value(name, shape):
        around = 1.0 if "orm.weight" in name or "norm1.weight" in name or "norm2.weight" in name else 0.0
        return around + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float32)

    return {name: value(name, shape) for name, shape in shapes.items()}


class Trace:
    """Builds rows, memory and the events of one method, with the same rows for every variant of a kind."""

    def __init__(self, kind, method, config):
        self.kind, self.method, self.config = kind, method, config
        self.random, self.events, self.optimisers = random.Random(7), [], 0
        self.labels = RELATIONS if kind == "re" else TAGS
        self.tasks = [[self.row(task, n) for n in range(8 + task)] for task in range(2)]
        self.memory = [{}, {}]  # per task: label -> rows of memory, gold as written

    def row(self, task, n):
        ids = [self.random.randrange(4, VOCABULARY) for _ in range(self.random.randint(5, LENGTH - 1))]
        if self.kind == "re":
            anchors = self.random.sample(range(1, len(ids) - 1), 2)
            gold = [[0, 1 + 2 * task, 2 + 2 * task][n % 3]]
        else:
            anchors = sorted(self.random.sample(range(1, len(ids) - 1), self.random.randint(2, len(ids) - 3)))
            gold = [self.random.choice([0, 0, 1 + 2 * task, 2 + 2 * task]) for _ in anchors]
            gold[n % len(gold)] = 1 + 2 * task + n % 2
        return {"id": f"{task}-{n}", "ids": ids, "anchors": anchors, "gold": gold, "image": f"image{n % 6}"}

    def add(self, event, **values):
        self.events.append({"event": event} | values)

    def optimiser(self):
        self.optimisers += 1
        self.add("optimiser")

    def step(self, phase, rows):
        self.add("step", phase=phase, rows=rows, loss=None)

    def epochs(self, phase, rows, count, before=lambda: None):
        for _ in range(count):
            order = self.random.sample(rows, len(rows))
            for at in range(0, len(order), BATCH):
                before()
                self.step(phase, order[at : at + BATCH])

    def select(self, task):
        for label in range(len(self.labels)):
            rows = [row for row in self.tasks[task] if label in row["gold"]]
            if rows:
                self.memory[task][label] = rows[:PER_CLASS]

    def replayed(self, task):
        """Memory rows of an old task as they are replayed: in NER every O is unknown."""
        rows = {row["id"]: row for rows in self.memory[task].values() for row in rows}.values()
        if self.kind == "re":
            return list(rows)
        return [row | {"gold": [-1 if tag == 0 else tag for tag in row["gold"]]} for row in rows]

    def stored(self, task):
        return list({row["id"]: row for rows in self.memory[task].values() for row in rows}.values())

    def classes(self, tasks):
        merged = {}
        for task in tasks:
            for label, rows in self.memory[task].items():
                merged.setdefault(label, []).extend(rows)
        return {str(label): rows for label, rows in merged.items()}

    def build(self):
        if not self.method.startswith("joint"):
            self.add("network")
        if self.method.startswith("lmc"):
            self.optimiser()
        for task in range(2):
            self.add("task", stage=task, allowed=[label < 3 + 2 * task for label in range(len(self.labels))])
            getattr(self, LEARN[self.method])(task)
        if self.method in ("emar-bert", "rp-cre"):
            self.add("predict", rows=self.tasks[1])
        return self.events

    def plain(self, task):
        self.optimiser()
        self.epochs("current", self.tasks[task], self.config["epochs"])

    def joint(self, task):
        self.add("network")
        self.optimiser()
        self.epochs("current", [row for rows in self.tasks[: task + 1] for row in rows], self.config["epochs"])

    def replay(self, task):
        self.optimiser()

        def before():
            if task > 0:
                self.step("replay", self.replayed(0))  # the whole memory, more rows than a batch

        self.epochs("current", self.tasks[task], self.config["epochs"], before)
        self.select(task)

    def fea(self, task):
        self.plain(task)
        self.select(task)
        self.optimiser()
        memory = [row for old in range(task) for row in self.replayed(old)] + self.stored(task)
        self.epochs("memory", memory, self.config["memory_epochs"])

    def seq_star(self, task):
        if task > 0:
            self.add("freeze")
        self.plain(task)

    def emar(self, task):
        self.optimiser()
        self.epochs("current", self.tasks[task], self.config["epochs"])
        self.select(task)
        seen = range(task + 1)
        for _ in range(self.config["rounds"]):
            self.add("prototypes", purpose="rounds", classes=self.classes(seen))
            self.optimiser()
            memory = [row for old in range(task) for row in self.replayed(old)] + self.stored(task)
            self.epochs("activation", memory + self.tasks[task], 1)
            self.optimiser()
            self.epochs("reconsolidation", memory, 1)
        self.add("prototypes", purpose="predict", classes=self.classes(seen))

    def rp_cre(self, task):
        self.add("prototypes", purpose="old", classes=self.classes(range(task)))
        self.optimiser()
        self.epochs("current", self.tasks[task], self.config["epochs"])
        self.select(task)
        self.add("prototypes", purpose="new", classes=self.classes([task]))
        self.add("memory_network", classes=len(self.classes(range(task + 1))))
        self.optimiser()
        memory = [row for old in range(task) for row in self.replayed(old)] + self.stored(task)
        self.epochs("memory_network", memory, self.config["memory_epochs"])
        self.add("prototypes", purpose="predict", classes=self.classes(range(task + 1)))

    def ewc(self, task):
        """With a grid, every strength takes the same steps at the second task, and the middle one is chosen."""
        grid = self.config["ewc_grid"] if task > 0 else []
        before = self.random.getstate()
        for strength in grid:
            self.random.setstate(before)
            self.add("candidate", **{"lambda": strength})
            self.plain(task)
        if grid:
            self.add("chosen", **{"lambda": grid[len(grid) // 2]})
        else:
            self.plain(task)
        self.add("fisher", rows=self.tasks[task][: self.config["fisher_rows"]])

    def lmc(self, task):
        self.epochs("current", self.tasks[task], self.config["epochs"])
        self.select(task)
        if task > 0:
            memory = [row for old in range(task) for row in self.replayed(old)] + self.stored(task)
            self.epochs("memory", memory, self.config["memory_epochs"])
        if self.method != "lmc-replay":
            self.add("teacher")


LEARN = {
    "vanilla": "plain", "concat": "plain", "mkgformer": "plain", "emr": "replay", "concat-replay": "replay",
    "mkgformer-replay": "replay", "joint": "joint", "emar-bert": "emar", "rp-cre": "rp_cre", "ewc": "ewc",
    "lmc": "lmc", "lmc-released": "lmc", "lmc-replay": "lmc", "fea": "fea", "seq-star": "seq_star",
    "joint-multimodal": "joint",
}  # fmt: skip


def write(folder, variant, kind, **changes):
    """One case folder; `changes` replace settings."""
    method, differing = VARIANTS[variant]
    config = SETTINGS | differing | changes
    trace = Trace(kind, method, config)
    events = trace.build()
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(11)
    shapes = network_shapes(method, kind, config, len(trace.labels))
    for n in range(sum(event["event"] == "network" for event in events)):
        save_file(weights(shapes, generator), folder / f"network.{n}.safetensors")
    for n in range(sum(event["event"] == "memory_network" for event in events)):
        save_file(weights(memory_network_shapes(), generator), folder / f"memory_network.{n}.safetensors")
    pixels = torch.randn(6, 3, IMAGE, IMAGE, generator=generator, dtype=torch.float32)
    save_file({"pixels": pixels}, folder / "pixels.safetensors")
    sizes = {
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
    }
    text = sizes | {"model_type": "bert", "vocab_size": VOCABULARY, "max_position_embeddings": 16, "hidden_act": "gelu"}
    text["pad_token_id"] = 2
    vision = sizes | {
        "model_type": "clip_vision_model",
        "image_size": IMAGE,
        "patch_size": PATCH,
        "hidden_act": "quick_gelu",
    }
    visual = any(name.startswith("vision_model.") for name in shapes)
    case = {
        "method": method, "kind": kind, "config": config, "text": text, "vision": vision if visual else None,
        "labels": trace.labels, "pad": 2, "images": {f"image{n}": n for n in range(6)}, "trace": events,
    }  # fmt: skip
    (folder / "case.json").write_text(json.dumps(case))
    return folder
