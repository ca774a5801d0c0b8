"""Times `mkgc build --pixels` against the same work in Pillow and pyarrow, on generated JPEG files.

    python tools/bench/pictures.py --mkgc target/release/mkgc --out reports/bench

Both read a folder of 1024 x 768 JPEGs of about 100 KB, decode each to see that it is whole, write its bytes to Parquet
(uncompressed, 128 pictures a row group) and what CLIP's image processor makes of it at 224 x 224, as bytes, to another
file. mkgc also parses and plans a corpus, and hashes all it writes. They take turns, and a round counts only if the
machine was quiet (`machine.py`); the results hold every time and the peak of the memory of all their processes
(proportional set size, sampled). Adds to pictures.json and pictures.md in OUT.
"""

import argparse
import io
import multiprocessing
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import machine
import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE = 224
GROUP = 128
DISTINCT = 64
TARGET_BYTES = 100_000
PROTOCOL = 'name = "bench"\ncorpus = "mnre"\n\n[[tasks]]\nclasses = ["/per/per/peer"]\n'


def scene(rng, noise):
    """Smooth gradients of random direction and wave length, with noise."""
    y, x = np.mgrid[0:768, 0:1024].astype(np.float32)
    picture = np.full((768, 1024, 3), 128, np.float32)
    for _ in range(6):
        angle, wave, phase = rng.uniform(0, 6.28), rng.uniform(60, 900), rng.uniform(0, 6.28)
        gradient = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 6.28 / wave + phase)
        picture += gradient[..., None] * rng.uniform(-40, 40, 3).astype(np.float32)
    grain = rng.normal(size=(768, 1024, 1)).astype(np.float32)
    return Image.fromarray(np.clip(picture + noise * grain, 0, 255).astype(np.uint8))


def jpeg(seed):
    """A scene with as much noise as makes its file about TARGET_BYTES."""
    low, high = 0.0, 40.0
    for _ in range(8):
        noise = (low + high) / 2
        file = io.BytesIO()
        scene(np.random.default_rng(seed), noise).save(file, "JPEG", quality=85)
        low, high = (noise, high) if file.tell() < TARGET_BYTES else (low, noise)
    return file.getvalue()


def with_comment(file, text):
    """The file with a comment segment, so that its bytes differ from those of its siblings."""
    return file[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + file[2:]


def corpus(folder, images):
    """A corpus in MNRE's layout in which every row has a picture of its own."""
    with multiprocessing.Pool() as pool:
        scenes = pool.map(jpeg, range(min(DISTINCT, images)))
    chance = random.Random(1)
    rest = images // 10
    for split, rows in (("train", images - 2 * rest), ("val", rest), ("test", rest)):
        home = folder / "img_org" / split
        home.mkdir(parents=True)
        lines = []
        for row in range(rows):
            name = f"{split}_{row}.jpg"
            (home / name).write_bytes(with_comment(chance.choice(scenes), chance.randbytes(16)))
            lines.append(
                f"{{'token': ['Ann', 'met', 'Bob', '{row}'], 'h': {{'name': 'Ann', 'pos': [0, 1]}}, "
                f"'t': {{'name': 'Bob', 'pos': [2, 3]}}, 'img_id': '{name}', 'relation': '/per/per/peer'}}\n"
            )
        (folder / f"mnre_{split}.txt").write_text("".join(lines))
    (folder / "bench.toml").write_text(PROTOCOL)


def prepared(path):
    """What the peer does with one file, with a single decoding."""
    data = path.read_bytes()
    picture = Image.open(io.BytesIO(data))
    picture.load()
    picture = picture.convert("RGB")
    width, height = picture.size
    scale = SIDE / min(width, height)
    resized = picture.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - SIDE) // 2, (resized.height - SIDE) // 2
    crop = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))
    return path.name, data, width, height, np.ascontiguousarray(crop.transpose(2, 0, 1)).tobytes()


def peer(raw, out, cores):
    """The same work in Python."""
    out.mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("id", pa.string()), ("image", image), ("width", pa.int32()), ("height", pa.int32())])
    texts = ["id", "image.path"]
    codecs = dict.fromkeys([*texts, "width", "height"], "zstd") | {"image.bytes": "none"}
    writer = pq.ParquetWriter(out / "images.parquet", schema, compression=codecs, use_dictionary=texts)
    paths = [path for split in ("train", "val", "test") for path in sorted((raw / "img_org" / split).iterdir())]
    group = []

    def flush():
        writer.write_table(pa.Table.from_pylist(group, schema))
        group.clear()

    with multiprocessing.Pool(cores) as pool, open(out / "pixels", "wb") as pixels:
        for name, data, width, height, planes in pool.imap(prepared, paths, chunksize=8):
            group.append({"id": name, "image": {"bytes": data, "path": name}, "width": width, "height": height})
            pixels.write(planes)
            if len(group) == GROUP:
                flush()
    if group:
        flush()
    writer.close()


def programs(mkgc, work, arguments):
    """Both, each with nothing left from the round before."""
    raw, out, cache = work / "raw", work / "out", work / "cache"
    build = [mkgc, "build", raw / "bench.toml", "--raw", raw, "--out", out, "--pixels", SIDE]
    python = [sys.executable, __file__, "--peer", raw, out, "--cores", arguments.cores]

    def timed(command):
        found = machine.measured(command, arguments.cores, os.environ | {"MKGC_CACHE": str(cache)}, shared=True)
        for folder in (out, cache):
            shutil.rmtree(folder, ignore_errors=True)
        return found

    return {"mkgc": lambda: timed(build), "pillow": lambda: timed(python)}


def table(results):
    """Medians over rounds, by number of pictures."""
    lines = ["| pictures | | mkgc | Pillow + pyarrow | times as good (range) | rounds (thrown away) |", "|---|---|---:|---:|---:|---|"]
    for images, case in results["cases"].items():
        rounds, thrown = case["rounds"], f" ({case['thrown_away']})" if "thrown_away" in case else ""
        for name, form, of in (
            ("pictures a second", "{:.0f}", lambda run: int(images) / run["s"]),
            ("CPU time of a picture, ms", "{:.2f}", lambda run: 1e3 * run["cpu_s"] / int(images)),
            ("peak memory, MiB", "{:.0f}", lambda run: run["mib"]),
        ):
            ours, theirs = (statistics.median(of(entry[program]) for entry in rounds) for program in ("mkgc", "pillow"))
            ratios = sorted(of(entry["pillow"]) / of(entry["mkgc"]) for entry in rounds)
            ratios = sorted(1 / ratio for ratio in ratios) if name == "pictures a second" else ratios
            times = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
            lines.append(f"| {int(images):,} | {name} | {form.format(ours)} | {form.format(theirs)} | {times} | {len(rounds)}{thrown} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=9201)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=10, help="rounds that may be thrown away")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine before a round")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, help="an existing folder for the files, some 4 GB for the full number")
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(*arguments.peer, arguments.cores)
    if not (arguments.mkgc and arguments.out):
        parser.error("--mkgc and --out are needed")
    mkgc = arguments.mkgc.resolve()
    versions = {"mkgc": machine.measured([mkgc, "--version"], 1, output=True)["output"].split()[1]}
    versions |= {"python": platform.python_version(), "pillow": PIL.__version__, "pyarrow": pa.__version__}
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        corpus(Path(work) / "raw", arguments.images)
        pair = programs(mkgc, Path(work), arguments)
        kept, thrown = machine.rounds(pair, arguments.rounds, arguments.tries, arguments.patience)
    if not kept:
        sys.exit("the machine was never quiet")
    cases = {str(arguments.images): {"thrown_away": thrown, "rounds": kept}}
    machine.write(arguments.out, "pictures", arguments.cores, {"quiet": True, "versions": versions, "cases": cases}, table)


if __name__ == "__main__":
    main()
