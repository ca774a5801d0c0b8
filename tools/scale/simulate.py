#!/usr/bin/env python3
"""Simulates a sweep of 12 methods x 5 benchmarks x 5 orders x 5 seeds on a cluster, for docs/scale.md.

    tools/scale/simulate.py            # the tables of docs/scale.md
    tools/scale/simulate.py --help     # every assumption is an option

`times.csv` has what was measured: the wall time of each method on twitter2017-plom (MiniLM, one thread of a shared two-core
machine, batch 16). A run on another benchmark is taken to cost as much more as it has more training rows. A GPU is taken to
be a certain factor faster than that thread. Workers take runs in the order of the plan. A run that reaches the time limit
saves a checkpoint and goes back to the end of the queue.
"""

import argparse
import csv
import heapq
import itertools
import pathlib

# Training rows of built benchmarks; tacred-10 could not be built for want of the corpus, so its number is a guess.
ROWS = {"twitter2017": 2981, "mnre-10": 12233, "twitter2015": 3896, "fewrel-10": 33600, "tacred-10": 8000}
ORDERS = 5
SEEDS = 5


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = lambda name, default, text: parser.add_argument(name, type=float, default=default, help=f"{text} (default: %(default)s)")
    add("--epochs", 10, "epochs of each task")
    add("--faster", 24, "how many times faster a GPU with BERT-base is than one CPU thread with MiniLM")
    add("--start", 30, "seconds from the start of a job to the first step")
    add("--requeue", 121, "seconds that Slurm keeps a requeued job back")
    add("--limit", 4, "hours of the time limit")
    add("--margin", 180, "seconds before the limit at which a run stops")
    add("--state", 2.4, "GB of a checkpoint: weights and two moments of BERT-base and CLIP ViT-B/32 in f32")
    add("--every", 10, "minutes between checkpoints")
    add("--merge", 22, "seconds of the report over 1,500 runs")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8, 64, 256])
    return parser.parse_args()


def runs(given):
    """Returns the seconds of training of each run, in the order of the plan: benchmarks outermost, seeds innermost."""
    with (pathlib.Path(__file__).parent / "times.csv").open() as file:
        methods = [float(row["seconds"]) / float(row["epochs"]) for row in csv.DictReader(file)]
    scale = given.epochs / given.faster / ROWS["twitter2017"]
    axes = itertools.product(ROWS.values(), range(ORDERS), methods, range(SEEDS))
    return [per_epoch * rows * scale for rows, _, per_epoch, _ in axes]


def simulate(lengths, workers, given):
    """Returns the seconds until the last run has ended, and how many requeues there were."""
    share = given.limit * 3600 - given.margin - given.start
    waiting = [(0.0, index, seconds) for index, seconds in enumerate(lengths)]
    heapq.heapify(waiting)
    free = [0.0] * workers
    end = requeues = 0
    while waiting:
        ready, index, left = heapq.heappop(waiting)
        at = max(ready, heapq.heappop(free))
        done = min(left, share)
        at += given.start + done
        heapq.heappush(free, at)
        if left > share:
            requeues += 1
            heapq.heappush(waiting, (at + given.requeue, len(lengths) + requeues, left - share))
        end = max(end, at)
    return end, requeues


def main():
    given = options()
    lengths = runs(given)
    total = sum(lengths)
    print(f"{len(lengths)} runs, {total / 3600:.0f} hours of training; the longest run takes {max(lengths) / 3600:.1f} h\n")
    print("| GPUs | until the report | busy | requeues | longest first | checkpoints, MB/s | of it the report |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for workers in given.workers:
        end, requeues = simulate(lengths, workers, given)
        sorted_end, _ = simulate(sorted(lengths, reverse=True), workers, given)
        busy = total / (end * workers)
        rate = workers * given.state * 1000 / (given.every * 60)
        hours = [(seconds + given.merge) / 3600 for seconds in (end, sorted_end)]
        report = given.merge / (end + given.merge)
        print(
            f"| {workers} | {hours[0]:.1f} h | {busy:.1%} | {requeues} | {hours[1]:.1f} h | {rate:.0f} | {report:.2%} |"
        )


if __name__ == "__main__":
    main()
