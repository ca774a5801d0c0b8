"""A saved model in transformers: its states and the head's tensors give the predictions that the run has stored.

    python tools/interop/saved_model.py RUN BENCHMARK...

RUN is a folder of `mkgc train --save-model` whose method predicts by its classifier and reads the text alone (vanilla,
ewc, emr, fea, joint); BENCHMARK is what it was trained on. `AutoTokenizer` splits the words, `BertModel` computes their
states, and the head is a few lines of torch, with pytorch-crf for entities. All weights must be used. Several pairs may be
given.
"""

import json
import pathlib
import sys

import polars
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchcrf import CRF
from transformers import AutoTokenizer, BertModel

MARKERS = ["[E11]", "[E12]", "[E21]", "[E22]"]


def expect(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def pieces(tokenizer, words):
    """Ids of each word on its own, so that no piece crosses a border of words."""
    split = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    return [ids or [tokenizer.unk_token_id] for ids in split]


def marked(tokenizer, row):
    """Ids of a sentence with the markers of its mentions, and the positions of the opening ones."""
    ids, positions = [tokenizer.cls_token_id], {}
    marker = dict(zip(MARKERS, tokenizer.convert_tokens_to_ids(MARKERS)))
    words = pieces(tokenizer, row["tokens"])
    for word in range(len(words) + 1):
        for name, mention in (("[E12]", "head"), ("[E22]", "tail")):
            if row[mention]["end"] == word:
                ids.append(marker[name])
        for name, mention in (("[E11]", "head"), ("[E21]", "tail")):
            if row[mention]["start"] == word:
                positions[mention] = len(ids)
                ids.append(marker[name])
        ids += words[word] if word < len(words) else []
    return ids + [tokenizer.sep_token_id], [positions["head"], positions["tail"]]


def plain(tokenizer, row):
    """Ids of a sentence, and the position of the first piece of each word."""
    ids, positions = [tokenizer.cls_token_id], []
    for word in pieces(tokenizer, row["tokens"]):
        positions.append(len(ids))
        ids += word
    return ids + [tokenizer.sep_token_id], positions


def check_relation(head, states, stored, allowed):
    """The relation head: dense, GELU, layer norm, classifier."""
    features = functional.gelu(functional.linear(states.flatten(), head["head.dense.weight"], head["head.dense.bias"]))
    features = functional.layer_norm(features, features.shape, head["head.norm.weight"], head["head.norm.bias"], 1e-5)
    scores = functional.linear(features, head["head.classifier.weight"])[allowed]
    theirs = torch.tensor(stored["scores"])[allowed]
    expect((scores - theirs).abs().max() < 1e-3, f"{stored['id']}: scores {scores} and {theirs}")
    return [allowed[int(scores.argmax())]]


def check_entities(head, states, allowed):
    """The entity head: emissions and the CRF's best path."""
    emissions = functional.linear(states, head["head.emission.weight"], head["head.emission.bias"])
    barred = torch.full_like(emissions, -1e4)
    barred[:, allowed] = 0.0
    crf = CRF(emissions.shape[1], batch_first=True)
    crf.load_state_dict({name: head[f"head.crf.{name}"] for name in crf.state_dict()})
    return crf.decode((emissions + barred).unsqueeze(0))[0]


def check(run, benchmark):
    folder = run / "model"
    card = json.loads((folder / "mkgc.json").read_text())
    labels, tasks = card["dataset"]["labels"], card["dataset"]["tasks"]
    known = {name for task in tasks[: card["tasks_learned"]] for name in task["classes"]}
    allowed = [n for n, name in enumerate(labels) if n == 0 or name in known or name[2:] in known]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = BertModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    expect(not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), f"{folder}: {info}")
    expect([model.config.id2label[n] for n in range(len(labels))] == labels, f"{folder}: id2label")
    head = load_file(folder / "mkgc.safetensors")
    stage = card["tasks_learned"] - 1
    stored = polars.read_parquet(run / "stages" / str(stage) / "predictions.parquet").to_dicts()
    rows = polars.read_parquet(benchmark / "tasks" / f"task_{stage:02}_test.parquet").to_dicts()
    expect([row["id"] for row in rows] == [row["id"] for row in stored], f"{run}: other rows than {benchmark}")
    model.eval()
    for row, prediction in zip(rows, stored):
        ids, positions = (marked if card["dataset"]["task"] == "re" else plain)(tokenizer, row)
        expect(len(ids) <= card["config"]["max_length"], f"{row['id']}: longer than max_length")
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0, positions]
            if card["dataset"]["task"] == "re":
                predicted = check_relation(head, states, prediction, allowed)
            else:
                predicted = check_entities(head, states, allowed)
        expect(predicted == prediction["predicted"], f"{row['id']}: {predicted}, stored {prediction['predicted']}")
    print(f"{folder}: transformers predicts all {len(rows)} rows as the run did")


def main():
    folders = [pathlib.Path(argument) for argument in sys.argv[1:]]
    expect(folders and len(folders) % 2 == 0, __doc__)
    for run, benchmark in zip(folders[::2], folders[1::2]):
        check(run, benchmark)


if __name__ == "__main__":
    main()
