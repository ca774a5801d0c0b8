"""Built benchmark folders, read by Hugging Face `datasets` and by mlcroissant, offline; run folders against docs/schema.

    python tools/interop/check.py FOLDER...

For every config and split: rows as the manifest counts them, ClassLabel and Image features kept, a first row that
decodes. For Croissant: the description validates, every RecordSet yields a record, and a damaged file is refused.
Manifests, records, results and rows of predictions validate against the published JSON Schemas, which refuse damaged
ones. A folder without manifest.json is searched for runs; of these, files of earlier versions have no schema.
"""

import functools
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets
import jsonschema
import mlcroissant
import pyarrow.parquet

PICTURES = {"images": "images/images.parquet", "crops": "images/crops.parquet"}
SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "schema"
LABEL_COLUMNS = {"re": ["relation", "original_relation"], "ner": ["tags", "original_tags"]}


def expect(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def class_names(feature):
    """Names of a ClassLabel, or of a list of them."""
    feature = getattr(feature, "feature", feature)
    expect(isinstance(feature, datasets.ClassLabel), f"{feature} is no ClassLabel")
    return feature.names


def check_datasets(folder, manifest, cache):
    rows = {file["path"]: file.get("rows") for file in manifest["files"]}
    configs = datasets.get_dataset_config_names(str(folder))
    splits = 0
    for config in configs:
        loaded = datasets.load_dataset(str(folder), config, cache_dir=cache)
        for split, table in loaded.items():
            splits += 1
            path = PICTURES.get(config, f"tasks/{config}_{split}.parquet")
            expect(table.num_rows == rows[path], f"{path}: {table.num_rows} rows, manifest says {rows[path]}")
            if config in PICTURES or manifest["embed_images"]:
                expect(isinstance(table.features["image"], datasets.Image), f"{path}: image is {table.features['image']}")
                expect(table[0]["image"].size[0] > 0, f"{path}: the first image does not decode")
            if config not in PICTURES:
                for column in LABEL_COLUMNS[manifest["task"]]:
                    names = class_names(table.features[column])
                    expect(names == manifest["labels"], f"{path}: {column} has labels {names}")
                expect(len(table[0]["tokens"]) > 0, f"{path}: the first row has no words")
    expected = len(manifest["tasks"]) + sum(path in rows for path in PICTURES.values())
    expect(len(configs) == expected, f"{folder}: configs {configs}, expected {expected}")
    return splits


def check_croissant(folder):
    description = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    expect(not description.metadata.issues.errors, f"{folder}: {description.metadata.issues.errors}")
    for record_set in description.metadata.record_sets:
        record = next(iter(description.records(record_set=record_set.id)))
        expect(len(record) == len(record_set.fields), f"{record_set.id}: a record has {len(record)} fields")
    return len(description.metadata.record_sets)


def check_damage(folder):
    """The same folder with one byte of a file changed must be refused when records are read."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = pathlib.Path(temporary) / "copy"
        shutil.copytree(folder, copy)
        target = copy / "tasks" / "task_00_train.parquet"
        content = bytearray(target.read_bytes())
        content[len(content) // 2] ^= 1
        target.write_bytes(content)
        description = mlcroissant.Dataset(jsonld=str(copy / "croissant.json"))
        try:
            next(iter(description.records(record_set="task_00_train")))
        except Exception as error:
            causes = [error]
            while cause := causes[-1].__cause__ or causes[-1].__context__:
                causes.append(cause)
            expect("hash" in " ".join(map(str, causes)).lower(), f"damage: unexpected errors {causes}")
        else:
            sys.exit("FAILED: mlcroissant read a damaged file")


@functools.cache
def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check_schema(name, value, place):
    errors = [error.message for error in validator(name).iter_errors(value)]
    expect(not errors, f"{place}: {errors}")


def check_refusal(name, value, place):
    """What is valid is no longer so without one of the keys it must have, or with a number for text."""
    schema = validator(name)
    check_schema(name, value, place)
    for key in schema.schema["required"]:
        without = {other: kept for other, kept in value.items() if other != key}
        expect(not schema.is_valid(without), f"{place}: valid without {key}")
    text = next(key for key, kept in value.items() if isinstance(kept, str))
    expect(not schema.is_valid({**value, text: 1}), f"{place}: valid with a number for {text}")


def check_runs(folder):
    runs = sorted(path.parent for path in folder.rglob("run.json"))
    expect(runs, f"{folder}: neither a benchmark nor runs")
    for run in runs:
        for name in ("run", "result", "failure"):
            path = run / f"{name}.json"
            value = json.loads(path.read_text()) if path.exists() else None
            if value and value["schema_version"] == validator(name).schema["properties"]["schema_version"]["const"]:
                check_refusal(name, value, path)
        for path in sorted(run.glob("stages/*/predictions.parquet")):
            first, *others = pyarrow.parquet.read_table(path).to_pylist()[:20]
            check_refusal("predictions", first, path)
            for row in others:
                check_schema("predictions", row, path)
    return len(runs)


def main():
    for folder in map(pathlib.Path, sys.argv[1:]):
        if not (folder / "manifest.json").exists():
            print(f"{folder.name}: {check_runs(folder)} runs follow the schemas")
            continue
        manifest = json.loads((folder / "manifest.json").read_text())
        check_refusal("manifest", manifest, folder)
        with tempfile.TemporaryDirectory() as cache:
            splits = check_datasets(folder.resolve(), manifest, cache)
        record_sets = check_croissant(folder.resolve())
        check_damage(folder.resolve())
        print(f"{folder.name}: {splits} splits load, {record_sets} record sets read, damage refused")


if __name__ == "__main__":
    main()
