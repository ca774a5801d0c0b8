"""Times `mkgc build --pixels` against the same work in Pillow and pyarrow, on generated JPEG files.

    python tools/bench/pictures.py --mkgc target/release/mkgc --out reports/bench

Both read a folder of 1024 x 768 JPEGs of about 100 KB, decode each to see that it is whole, write its bytes to Parquet
(uncompressed, 128 pictures a row group) and what CLIP's image processor makes of it at 224 x 224, as bytes, to another
file. mkgc also parses and plans a corpus, and hashes all it writes. They take turns; the results hold every time,
medians, and the peak of the memory of all their processes (proportional set size, sampled). Writes pictures.json and
pictures.md into OUT.
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from step import processor

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


def memory(root):
    """Proportional set size of a process and all below it, in bytes."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += (task / "children").read_text().split()
        except OSError:
            continue  # it ended meanwhile
    return total


def timed(command, env):
    """Wall time, CPU time of all processes (seconds) and peak memory (bytes) of a command."""
    before = os.times()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[0] = max(peak[0], memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    wall = time.perf_counter() - start
    done.set()
    watcher.join()
    if code:
        sys.exit(f"{command[0]} failed with exit code {code}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": wall, "cpu_s": cpu, "peak_bytes": peak[0]}


def rounds(mkgc, work, arguments):
    """Times of both, in turn, each with nothing left from the round before."""
    raw, out, cache = work / "raw", work / "out", work / "cache"
    build = [mkgc, "build", raw / "bench.toml", "--raw", raw, "--out", out, "--pixels", str(SIDE)]
    ours = os.environ | {"MKGC_CACHE": str(cache), "RAYON_NUM_THREADS": str(arguments.cores)}
    python = [sys.executable, __file__, "--peer", raw, out, "--cores", str(arguments.cores)]
    times = {"mkgc": [], "pillow": []}
    for number in range(arguments.rounds):
        for name, command, env in (("mkgc", build, ours), ("pillow", python, os.environ)):
            times[name].append(timed(command, env))
            print(f"round {number + 1}, {name}: {times[name][-1]}", file=sys.stderr)
            for folder in (out, cache):
                shutil.rmtree(folder, ignore_errors=True)
    return times


def summary(times, arguments):
    images = arguments.images
    median = {name: statistics.median(run["wall_s"] for run in runs) for name, runs in times.items()}
    cpu = {name: statistics.median(run["cpu_s"] for run in runs) for name, runs in times.items()}
    return {
        "images": images,
        "images_per_s": {name: images / seconds for name, seconds in median.items()},
        "cpu_ms_per_image": {name: 1000 * seconds / images for name, seconds in cpu.items()},
        "peak_bytes": {name: max(run["peak_bytes"] for run in runs) for name, runs in times.items()},
        "times_as_fast": median["pillow"] / median["mkgc"],
        "times_as_fast_in_cpu_time": cpu["pillow"] / cpu["mkgc"],
        "processor": processor(),
        "cores": arguments.cores,
        "versions": {"python": platform.python_version(), "pillow": PIL.__version__, "pyarrow": pa.__version__},
        "runs": times,
    }


def table(found):
    rate, cpu, peak = found["images_per_s"], found["cpu_ms_per_image"], found["peak_bytes"]
    rows = [("pictures a second", rate, "{:.0f}", found["times_as_fast"])]
    rows += [("CPU time of a picture, ms", cpu, "{:.2f}", found["times_as_fast_in_cpu_time"])]
    rows += [("peak memory, MiB", {name: size / 2**20 for name, size in peak.items()}, "{:.0f}", peak["pillow"] / peak["mkgc"])]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [f"{found['images']:,} JPEGs of 1024 x 768, {found['cores']} cores, {found['processor']}; {versions}; medians of"]
    lines[0] += f" {len(found['runs']['mkgc'])} rounds in turn."
    lines += ["", "| | mkgc | Pillow + pyarrow | times as good |", "|---|---:|---:|---:|"]
    for name, values, form, ratio in rows:
        lines.append(f"| {name} | {form.format(values['mkgc'])} | {form.format(values['pillow'])} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=9201)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, help="an existing folder for the files, some 4 GB for the full number")
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(*arguments.peer, arguments.cores)
    if not (arguments.mkgc and arguments.out):
        parser.error("--mkgc and --out are needed")
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        corpus(Path(work) / "raw", arguments.images)
        found = summary(rounds(arguments.mkgc.resolve(), Path(work), arguments), arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "pictures.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.out / "pictures.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
