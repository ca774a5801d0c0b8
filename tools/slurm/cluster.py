"""A Slurm cluster on one machine: munged, slurmctld and virtual nodes with a fake GPU each, on loopback alone.

Each node is a process of its own (`cluster.py node NAME …`) that adopts everything its slurmd leaves behind, so a node
can be killed with all that runs on it, as if it had lost power. `Cluster` adopts the rest in the same way, so nothing
outlives it. It needs root and Debian's packages `slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge`.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel"]
PACKAGES = ["slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge"]

CONFIG = """
ClusterName=mkgc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={root}/munge.socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={root}/state
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmdSpoolDir={root}/spool-%n
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
SlurmdParameters=config_overrides
JobCompType=jobcomp/filetxt
JobCompLoc={root}/jobs.txt
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=5
MaxArraySize={max_array_size}
GresTypes=gpu
PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 Gres=gpu:1 State=UNKNOWN\n"
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\n"


def missing():
    """Returns the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def install():
    """Installs what is missing. The services that come with the packages have no configuration and do not start."""
    if missing():
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "--quiet=2", *command], env=environment, stdout=subprocess.DEVNULL, check=True)


def adopt_orphans():
    """Makes this process the parent of whatever its descendants leave behind (PR_SET_CHILD_SUBREAPER of prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(pid):
    """Returns the processes below `pid`, nearest first."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(pid, []))
    for below in found:
        found.extend(children.get(below, []))
    return found


def kill_below(pid):
    """Kills every process below `pid` and returns whether there was one."""
    below = descendants(pid)
    for process in below:
        kill(process, signal.SIGKILL)
    return bool(below)


def kill(pid, number):
    """Sends a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap():
    """Collects children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def free_ports(count):
    """Returns ports of the loopback interface that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def wait_for(what, holds, seconds):
    """Waits until `holds()` is true and returns what it returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := holds():
            return value
        time.sleep(0.2)
    raise SystemExit(f"{what}: not within {seconds} s")


class Cluster:
    """A cluster whose files are in `root`. Use it in a `with` statement; the end of that ends every process."""

    def __init__(self, root, nodes=("n1", "n2"), max_array_size=4):
        if missing() or os.geteuid() != 0:
            packages = " ".join(PACKAGES)
            raise SystemExit(f"needs root and {', '.join(PROGRAMS)}: apt-get install --no-install-recommends {packages}")
        self.root = pathlib.Path(root).resolve()
        self.nodes = list(nodes)
        self.processes = {}
        self.environment = os.environ | {"SLURM_CONF": str(self.root / "slurm.conf")}
        self.environment = {k: v for k, v in self.environment.items() if k == "SLURM_CONF" or not k.startswith("SLURM")}
        self.write(max_array_size)

    def write(self, max_array_size):
        """Writes the configuration and the key."""
        self.root.mkdir(parents=True)
        self.root.chmod(0o755)
        for folder in ["state", "munge", *(f"spool-{node}" for node in self.nodes)]:
            (self.root / folder).mkdir(mode=0o755)
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        port, *ports = free_ports(1 + len(self.nodes))
        config = CONFIG.format(host=host, port=port, root=self.root, max_array_size=max_array_size)
        lines = [NODE.format(name=node, host=host, port=port) for node, port in zip(self.nodes, ports, strict=True)]
        (self.root / "slurm.conf").write_text(config.lstrip() + "".join(lines))
        gres = [f"NodeName={node} Name=gpu File=/dev/null\n" for node in self.nodes]
        (self.root / "gres.conf").write_text("".join(gres))
        (self.root / "cgroup.conf").write_text(CGROUP)

    def __enter__(self):
        adopt_orphans()
        munge = self.root / "munge"
        self.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={self.root}/munge.socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        wait_for("munged's socket", (self.root / "munge.socket").exists, 10)
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self.wait_idle()
        return self

    def __exit__(self, *_):
        while kill_below(os.getpid()):
            reap()
            time.sleep(0.05)

    def start(self, name, *command):
        """Starts a daemon in the foreground of a process of ours."""
        with (self.root / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)

    def start_controller(self):
        """Starts slurmctld with the state that an earlier one left."""
        self.start("slurmctld", "slurmctld", "-D")
        wait_for("slurmctld", lambda: self.call("scontrol", "ping", check=False).returncode == 0, 20)

    def kill_controller(self):
        """Ends slurmctld as a crash would."""
        self.processes["slurmctld"].kill()
        self.processes["slurmctld"].wait()

    def start_node(self, node):
        """Starts a node."""
        self.start(node, sys.executable, __file__, "node", "slurmd", "-D", "-N", node)

    def kill_node(self, node):
        """Ends a node with everything that runs on it."""
        while kill_below(self.processes[node].pid):
            time.sleep(0.05)
        self.processes[node].wait()

    def wait_idle(self):
        """Waits until all nodes can take jobs."""
        states = lambda: self.call("sinfo", "--noheader", "--Node", "--format=%t").stdout.split()
        wait_for("idle nodes", lambda: states() == ["idle"] * len(self.nodes), 30)

    def call(self, *command, check=True, **options):
        """Runs a client of the cluster, or any program that does."""
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True, check=False, **options)
        if check and done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done


def node(command):
    """Runs a slurmd and adopts the jobs' processes that it leaves behind; ends when all of them have."""
    adopt_orphans()
    subprocess.Popen(command)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


if __name__ == "__main__" and sys.argv[1:2] == ["node"]:
    node(sys.argv[2:])
