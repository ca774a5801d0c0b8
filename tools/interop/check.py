"""Built benchmark folders, read by `datasets`, mlcroissant, polars, duckdb, offline; run folders against docs/schema.

    python tools/interop/check.py FOLDER...

For every config and split: rows as the manifest counts them, ClassLabel and Image features kept, a first row that
decodes, pictures that their rows find and that have the stated size. For Croissant: the description validates without a
warning, every RecordSet yields a record, and a damaged file is refused.
Manifests, records, results and rows of predictions validate against the published JSON Schemas, which refuse damaged
ones. A folder without manifest.json is searched for runs; of these, files of earlier versions have no schema.
"""

import functools
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets
import duckdb
import jsonschema
import mlcroissant
import polars
import pyarrow.parquet

PICTURES = ("images", "crops")
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


def rows_by_config(manifest):
    """Rows of each config and split; `images` and `crops` may be in shards."""
    rows = {}
    for file in manifest["files"]:
        folder, _, name = file["path"].rpartition("/")
        if folder == "tasks":
            config, _, split = name.removesuffix(".parquet").rpartition("_")
        elif folder == "images":
            config, split = re.match("images|crops", name)[0], "train"
        else:
            continue
        rows[config, split] = rows.get((config, split), 0) + file["rows"]
    return rows


def check_join(folder, manifest, cache):
    """Every row finds its picture under its `image_id`, and its split where the images file has one."""
    images = datasets.load_dataset(str(folder), "images", split="train", cache_dir=cache)
    by_split = "split" in images.column_names
    expect(by_split == manifest.get("images_by_split", False), f"{folder}: images with a split: {by_split}")
    splits = images["split"] if by_split else [None] * len(images)
    known = list(zip(splits, images["id"]))
    expect(len(set(known)) == len(known), f"{folder}: a picture is there twice")
    for split, table in datasets.load_dataset(str(folder), "task_00", cache_dir=cache).items():
        lost = [name for name in table["image_id"] if (split if by_split else None, name) not in set(known)]
        expect(not lost, f"{folder}: {split} rows without a picture: {lost[:3]}")


def check_sizes(folder, cache):
    """Width and height of the images are those of the pictures that `datasets` shows."""
    images = datasets.load_dataset(str(folder), "images", split="train", cache_dir=cache)
    for row in images.select(range(min(50, len(images)))):
        expect(row["image"].size == (row["width"], row["height"]), f"{folder}: {row['id']} is {row['image'].size}")


def check_datasets(folder, manifest, cache):
    rows = rows_by_config(manifest)
    configs = datasets.get_dataset_config_names(str(folder))
    splits = 0
    for config in configs:
        loaded = datasets.load_dataset(str(folder), config, cache_dir=cache)
        for split, table in loaded.items():
            splits += 1
            path = f"{config}, {split}"
            wanted = rows[config, split]
            expect(table.num_rows == wanted, f"{path}: {table.num_rows} rows, manifest says {wanted}")
            if config in PICTURES or manifest["embed_images"]:
                expect(isinstance(table.features["image"], datasets.Image), f"{path}: image is {table.features['image']}")
                expect(table[0]["image"].size[0] > 0, f"{path}: the first image does not decode")
            if config not in PICTURES:
                for column in LABEL_COLUMNS[manifest["task"]]:
                    names = class_names(table.features[column])
                    expect(names == manifest["labels"], f"{path}: {column} has labels {names}")
                expect(len(table[0]["tokens"]) > 0, f"{path}: the first row has no words")
    if "images" in configs:
        check_join(folder, manifest, cache)
        check_sizes(folder, cache)
    expected = len(manifest["tasks"]) + sum((config, "train") in rows for config in PICTURES)
    expect(len(configs) == expected, f"{folder}: configs {configs}, expected {expected}")
    return splits


def check_frames(folder, manifest):
    """pyarrow, polars and duckdb count as many rows as the manifest."""
    for file in manifest["files"]:
        if file.get("rows") is not None:
            path = str(folder / file["path"])
            counts = {
                "pyarrow": pyarrow.parquet.read_table(path).num_rows,
                "polars": polars.read_parquet(path).height,
                "duckdb": duckdb.sql(f"select count(*) from read_parquet('{path}')").fetchall()[0][0],
            }
            expect(set(counts.values()) == {file["rows"]}, f"{path}: {counts}, manifest says {file['rows']}")


def check_croissant(folder):
    description = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    issues = description.metadata.issues
    expect(not issues.errors and not issues.warnings, f"{folder}: {issues.errors} {issues.warnings}")
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
    required = list(schema.schema["required"])
    if name == "run":
        required += schema.schema["then" if "external" in value else "else"].get("required", [])
    for key in required:
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
        check_frames(folder.resolve(), manifest)
        check_damage(folder.resolve())
        print(f"{folder.name}: {splits} splits load, {record_sets} record sets read, damage refused")


if __name__ == "__main__":
    main()
