"""Built benchmark folders, read by Hugging Face `datasets` and by mlcroissant, offline.

    python tools/interop/check.py FOLDER...

For every config and split: rows as the manifest counts them, ClassLabel and Image features kept, a first row that
decodes. For Croissant: the description validates, every RecordSet yields a record, and a damaged file is refused.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets
import mlcroissant

PICTURES = {"images": "images/images.parquet", "crops": "images/crops.parquet"}
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


def main():
    for folder in map(pathlib.Path, sys.argv[1:]):
        manifest = json.loads((folder / "manifest.json").read_text())
        with tempfile.TemporaryDirectory() as cache:
            splits = check_datasets(folder.resolve(), manifest, cache)
        record_sets = check_croissant(folder.resolve())
        check_damage(folder.resolve())
        print(f"{folder.name}: {splits} splits load, {record_sets} record sets read, damage refused")


if __name__ == "__main__":
    main()
