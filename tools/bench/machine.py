"""What a figure was measured on, whether the machine was quiet meanwhile, and where results of several machines lie.

A round counts only if other processes left the machine alone: while each of its programs ran, the CPU time that the whole
system spent (`/proc/stat`) less what the program and this script spent may be at most `OTHERS` of one core. Other rounds
are thrown away and made again, up to a limit; results say how many were. Results are kept by processor and, below it, by
number of threads, so that a measurement on one machine leaves those of others alone. Linux only.
"""

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import threading
import time

OTHERS = 0.05
# What rounding to clock ticks can feign, in seconds: starting takes less.
ROUNDING = 0.05
TICK = os.sysconf("SC_CLK_TCK")
INSTRUCTIONS = ("avx2", "fma", "avx512f", "asimd")


def cpuinfo():
    """Fields of the first processor."""
    text = open("/proc/cpuinfo").read().split("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def processor():
    """The model's name, with family and number, since hypervisors shorten names; cores and system."""
    found = cpuinfo()
    name = found.get("model name", platform.machine())
    if "cpu family" in found and "model" in found:
        name += f", family {found['cpu family']} model {found['model']}"
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def instructions():
    """Those instruction sets that matter to one of the programs and that the processor has."""
    found = cpuinfo()
    flags = (found.get("flags") or found.get("Features") or "").split()
    return [name for name in INSTRUCTIONS if name in flags]


def busy():
    """CPU seconds that the system has spent, or that a hypervisor has given to another one."""
    user, nice, system, _idle, _disk, interrupts, soft, stolen = map(int, open("/proc/stat").readline().split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / TICK


def own():
    """CPU seconds of this process."""
    used = os.times()
    return used.user + used.system


def memory(root):
    """Proportional set size of a process and all below it, in MiB."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                waiting += (task / "children").read_text().split()
        except OSError:
            continue  # it ended meanwhile
    return total / 1024


@contextlib.contextmanager
def watched(root):
    """Holds the largest [memory] so far of a process in a list."""
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[0] = max(peak[0], memory(root))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield peak
    done.set()
    watcher.join()


def measured(command, threads, environment=os.environ, output=False, shared=False):
    """Runs a command: wall seconds `s`, `cpu_s` of it and its children, the largest resident set `mib` (with `shared`, of
    all its processes together), `load` at the end, `others`, the cores that other processes kept busy meanwhile, and, if
    asked for, its `output`. Ends this program if the command fails."""
    environment = environment | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as printed:
        before, start = busy() - own(), time.perf_counter()
        stdout = printed if output else subprocess.DEVNULL
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=stdout, stderr=subprocess.DEVNULL)
        with watched(process.pid) if shared else contextlib.nullcontext() as peak:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
        others = (busy() - own() - before - cpu - ROUNDING) / seconds
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
        printed.seek(0)
        answer = {"output": printed.read().decode()} if output else {}
    mib, load = peak[0] if shared else usage.ru_maxrss / 1024, os.getloadavg()[0]
    return {"s": seconds, "cpu_s": cpu, "mib": mib, "load": load, "others": max(others, 0.0)} | answer


def wait_until_quiet(patience):
    """Until nothing has run for two seconds, at most `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = busy() - own()
        time.sleep(2)
        if busy() - own() - before <= 2 * OTHERS:
            return


def rounds(programs, count, tries, patience):
    """`count` rounds in which every one of `programs` (names and functions that return what [measured] does) had the
    machine for itself, in turn, the first one first in every other round; and how many were thrown away, at most `tries`."""
    kept, thrown = [], 0
    while len(kept) < count and thrown <= tries:
        wait_until_quiet(patience)
        entries = {}
        for name in list(programs)[:: 1 if len(kept) % 2 == 0 else -1]:
            entries[name] = programs[name]()
            if entries[name]["others"] > OTHERS:
                break
        quiet = all(entry["others"] <= OTHERS for entry in entries.values())
        print("kept" if quiet else "thrown away", json.dumps(entries), file=sys.stderr, flush=True)
        if quiet:
            kept.append(entries)
        else:
            thrown += 1
    return kept, thrown


def keep(path, threads, results):
    """Puts results of this machine, with so many threads, into a JSON file and returns the whole of it. Earlier
    cases of the same machine, threads and versions stay where the new ones do not replace them."""
    everything = json.loads(path.read_text()) if path.exists() else {}
    of_this = everything.setdefault(processor(), {})
    earlier = of_this.get(str(threads), {})
    same = earlier if earlier.get("versions") == results["versions"] else {}
    cases = same.get("cases", {}) | results["cases"]
    of_this[str(threads)] = {"instructions": instructions()} | results | {"cases": cases}
    everything[processor()] = dict(sorted(of_this.items(), key=lambda entry: int(entry[0])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(everything, indent=1) + "\n")
    return everything


def write(folder, name, threads, results, table):
    """The same into FOLDER/NAME.json, and a table of everything there into FOLDER/NAME.md, which is printed too."""
    text = sections(keep(folder / f"{name}.json", threads, results), table)
    (folder / f"{name}.md").write_text(text)
    print(text)


def sections(everything, table):
    """Markdown: for every machine and number of threads a heading, where the figures come from, and `table`'s lines."""
    lines = []
    for name, by_threads in everything.items():
        lines += [f"## {name}", ""]
        for threads, results in by_threads.items():
            lines += [f"### {threads} thread{'s' if int(threads) > 1 else ''}", "", origin(results), ""]
            lines += [*table(results), ""]
    return "\n".join(lines)


def origin(results):
    """Instruction sets and versions; a warning where nobody looked whether the machine was quiet."""
    parts = ["Medians of rounds in turn"]
    if found := results.get("instructions"):
        parts.append(f"instruction sets: {', '.join(found)}")
    parts.append("versions: " + ", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    if not results.get("quiet"):
        parts.append("what else ran meanwhile was not recorded")
    return "; ".join(parts) + "."
