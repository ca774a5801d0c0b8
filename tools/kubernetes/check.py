#!/usr/bin/env python3
"""Checks the Kubernetes templates of docs/kubernetes.

    tools/kubernetes/check.py --mkgc target/debug/mkgc --demo DEMO

They have to fit the schemas of Kubernetes 1.29 (the first version with a retry limit for each index) and of the newest one,
and a misspelt key must not. Then their commands are run as the Job controller would: a process for each index with
JOB_COMPLETION_INDEX in its environment, for a small plan on a benchmark of `mkgc demo --out DEMO`, and the report after them.
"""

import argparse
import copy
import os
import pathlib
import subprocess
import tempfile

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSIONS = ["1.29", "1.37"]
RUNS = 2
PLAN = 'benchmarks = ["{benchmark}"]\nmethods = ["vanilla"]\nseeds = [1, 2]\nsettings = {{ epochs = 1 }}\n'


def load(name):
    """Reads a template."""
    return yaml.safe_load((ROOT / "docs" / "kubernetes" / f"{name}.yaml").read_text())


def validate(job):
    """Holds a Job against the schemas; unknown keys are errors."""
    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)


def check_schemas(runs, report):
    """Checks both templates, and that the check itself can fail."""
    for job in (runs, report):
        validate(job)
        broken = copy.deepcopy(job)
        broken["spec"]["template"]["spec"]["restartPolicyy"] = "Never"
        try:
            validate(broken)
        except kubernetes_validate.ValidationError:
            continue
        raise SystemExit("a misspelt key passes for valid")
    # The schemas leave the values of these to the server.
    spec = runs["spec"]
    assert spec["completionMode"] == "Indexed" and spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "a pod failure policy needs it"
    codes = [rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert codes == [{"containerName": "mkgc", "operator": "In", "values": [75]}]


def call(mkgc, job, volume, index=None):
    """Runs the command of a Job's pod, with a folder for its volume and without a GPU."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    mount = container["volumeMounts"][0]["mountPath"]
    arguments = [argument.replace(mount, str(volume)).replace("cuda", "cpu") for argument in container["args"]]
    environment = os.environ | ({} if index is None else {"JOB_COMPLETION_INDEX": str(index)})
    return subprocess.run([mkgc, *arguments], env=environment, text=True, capture_output=True, check=False)


def check_commands(mkgc, demo, runs, report):
    """Makes the runs of a plan and its report as the templates say."""
    with tempfile.TemporaryDirectory() as volume:
        volume = pathlib.Path(volume)
        benchmark = demo / "benchmarks" / "demo-re"
        (volume / "plan.toml").write_text(PLAN.format(benchmark=benchmark.resolve()))
        first = call(mkgc, runs, volume, 0)
        assert first.returncode == 0, first.stderr
        gap = call(mkgc, report, volume)
        assert gap.returncode == 1 and "vanilla-seed2" in gap.stdout + gap.stderr, gap
        for index in range(1, RUNS):
            assert call(mkgc, runs, volume, index).returncode == 0
        done = call(mkgc, report, volume)
        assert done.returncode == 0 and (volume / "out" / "report" / "report.md").is_file(), done
        beyond = call(mkgc, runs, volume, RUNS)
        assert beyond.returncode not in (0, 75), "an index without a run is an error"
        assert len(list((volume / "out").glob("runs/*/*/result.json"))) == RUNS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mkgc", type=pathlib.Path, default=ROOT / "target" / "debug" / "mkgc")
    parser.add_argument("--demo", type=pathlib.Path, required=True, help="folder of `mkgc demo --out`")
    options = parser.parse_args()
    runs, report = load("runs"), load("report")
    check_schemas(runs, report)
    print(f"the templates fit the schemas of Kubernetes {' and '.join(VERSIONS)}")
    check_commands(options.mkgc.resolve(), options.demo, runs, report)
    print(f"{RUNS} indices and the report ran as the templates say")


if __name__ == "__main__":
    main()
