"""A real Slurm cluster of two nodes on this machine; its GPUs are links to device files."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_PR_SET_PDEATHSIG = 1
BOOT_S = 30
UNUSABLE = ("inval", "drain", "fail")
"""How the states of nodes begin that do not become idle by waiting."""
HARMLESS = re.compile(r"pmi|MPI|MailProg|state file|state save file|xcpuinfo|Domain socket directory")
"""Errors that the daemons also log when the cluster boots."""

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
AuthType=auth/munge
# with short-lived credentials a requeued job starts again after 7-12 s instead of 121 s
AuthInfo=cred_expire=5,socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
KillWait=5
EnforcePartLimits=ALL
SchedulerParameters=sched_interval=2,sched_min_interval=100000,bf_interval=5
SlurmctldParameters=preempt_send_user_signal
# a node may have more CPUs than this machine
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=closed Nodes=n1,n2 MaxTime=INFINITE State=UP AllowAccounts=nobody
"""


def missing() -> str | None:
    """Why no cluster can be started on this machine; None if one can."""
    if os.getuid() != 0:
        return "only root can start slurmd"
    absent = [name for name in NEEDED if not shutil.which(name, path=PATH)]
    return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)" if absent else None


def wait_for(what, seconds: float = 120, every: float = 0.2):
    """Wait for a true value of `what()` and return it; raise AssertionError after `seconds`."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        value = what()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {getattr(what, '__name__', what)}")


class BootError(Exception):
    """The cluster does not boot: the reason in one line, and the last errors of its logs in `logs`."""

    def __init__(self, reason: str, logs: str):
        super().__init__(f"the test cluster does not boot: {reason}")
        self.logs = logs


class Cluster:
    """Runs munge, slurmctld, and a slurmd for each of the nodes n1 and n2; all end with this process."""

    def __init__(self, folder: Path):
        self.folder, self.conf = folder, folder / "slurm.conf"
        self.env = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": PATH}
        self.daemons: dict[str, subprocess.Popen] = {}
        folder.chmod(0o755)
        (folder / "state").mkdir()
        ports = dict(zip(("ctld", "n1", "n2"), _free_ports(3), strict=True))
        self.conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], folder=folder, **ports))
        self._make_gpus()

    def _make_gpus(self) -> None:
        # with regular files Slurm does not set CUDA_VISIBLE_DEVICES
        for number, device in enumerate(("null", "zero", "full", "random")):
            (self.folder / f"gpu{number}").symlink_to(f"/dev/{device}")
        lines = [f"NodeName=n{n + 1} Name=gpu File={self.folder}/gpu[{2 * n}-{2 * n + 1}]" for n in range(2)]
        (self.folder / "gres.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Boot, and wait until both nodes are idle.

        Raises
        ------
        BootError
            If a daemon ends, a node cannot be used, or the nodes are not idle after `BOOT_S` seconds.
        """
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        places = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *places)
        self._wait_for_boot((self.folder / "munge.socket").exists)
        self.start_controller("-c")
        for node in ("n1", "n2"):
            self.start_node(node)
        self._wait_for_boot(self._nodes_are_idle)

    def _wait_for_boot(self, ready: Callable[[], bool]) -> None:
        limit = time.monotonic() + BOOT_S
        while time.monotonic() < limit:
            time.sleep(0.2)
            for name, process in self.daemons.items():
                if process.poll() is not None:
                    last = (self._errors(name) or ["no error in its log"])[-1]
                    raise BootError(f"{name} ended with status {process.returncode}: {last}", self.last_errors())
            if ready():
                return
        raise BootError(f"the nodes are not idle after {BOOT_S} s", self.last_errors())

    def _nodes_are_idle(self) -> bool:
        rows = [line.split("|") for line in self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N|%T|%E").splitlines()]
        for name, state, why in rows:
            if state.startswith(UNUSABLE):
                raise BootError(f"node {name} is {state}: {why}", self.last_errors())
        return [state for _, state, _ in rows] == ["idle", "idle"]

    def last_errors(self, count: int = 5) -> str:
        """The last errors that each daemon logged, after its name."""
        return "\n".join(f"{name}: {line}" for name in self.daemons for line in self._errors(name)[-count:])

    def _errors(self, daemon: str) -> list[str]:
        lines = (self.folder / f"{daemon}.out").read_text().splitlines()
        return [line for line in lines if re.search("error|fatal", line, re.IGNORECASE) and not HARMLESS.search(line)]

    def start_controller(self, *options: str) -> None:
        """Start slurmctld."""
        self._daemon("slurmctld", "-D", *options)

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        self._daemon("slurmd", "-D", "-N", name, key=name)

    def _daemon(self, program: str, *arguments: str, key: str | None = None) -> None:
        def die_with_parent() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

        with (self.folder / f"{key or program}.out").open("a") as out:
            self.daemons[key or program] = subprocess.Popen(
                [program, *arguments], env=self.env, stdout=out, stderr=out, preexec_fn=die_with_parent
            )

    def stop_controller(self) -> None:
        """Stop slurmctld; it saves its state first."""
        process = self.daemons.pop("slurmctld")
        process.terminate()
        process.wait()

    def run(self, *command: str) -> str:
        """Output of a Slurm command; empty if the command fails."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def jobs(self, *states: str) -> dict[str, str]:
        """States of jobs by id; by default of the jobs that are not over."""
        chosen = f"--states={','.join(states)}" if states else "--states=PD,R,CG,S,CF"
        return dict(line.split() for line in self.run("squeue", "-h", chosen, "-o", "%i %T").splitlines())

    def clean(self) -> None:
        """Cancel all jobs."""
        self.run("scancel", f"--user={os.getuid()}")
        wait_for(lambda: not self.jobs(), 40)

    def stop(self) -> None:
        """Stop all processes that have this cluster's SLURM_CONF: the daemons, and what their jobs left running."""
        if all(process.poll() is None for process in self.daemons.values()):  # otherwise scancel would hang
            self.run("scancel", f"--user={os.getuid()}")
            time.sleep(1)
        mark = f"SLURM_CONF={self.conf}".encode()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for entry in Path("/proc").iterdir():
                with suppress(OSError, ValueError):
                    if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), number)
            time.sleep(0.5)
        for process in self.daemons.values():
            process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
