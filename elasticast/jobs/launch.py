"""Start `elasticast` with one process per GPU: ``python -m elasticast.jobs.launch --gpus 4 --nodes 1 train ...``.

With one GPU or none, this starts `python -m elasticast`. With several GPUs, torchrun starts one process per GPU. With
several nodes, srun starts torchrun on each node of the current Slurm job.
"""

import argparse
import os
import socket
import sys


def command(gpus: int, nodes: int, arguments: list[str]) -> list[str]:
    """The command line that starts `elasticast` with `arguments` on `gpus` GPUs of each of `nodes` nodes."""
    if gpus <= 1 and nodes == 1:
        return [sys.executable, "-m", "elasticast", *arguments]
    torchrun = [sys.executable, "-m", "elasticast.jobs.torchrun", f"--nproc-per-node={max(gpus, 1)}"]
    if nodes == 1:
        return [*torchrun, "--standalone", "-m", "elasticast", *arguments]
    job = os.environ["SLURM_JOB_ID"]
    # jobs on the same node must not use the same port
    endpoint = f"{socket.gethostname()}:{20000 + int(job) % 20000}"
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-id={job}", f"--rdzv-endpoint={endpoint}"]
    # The environment of this process describes a step with one task, so the numbers of nodes and tasks are set here.
    # After a checkpoint the processes end one after the other: the first to end must not kill the others.
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--kill-on-bad-exit=0"]
    relay = [sys.executable, "-m", "snakemake_executor_plugin_submitit.relay"]
    return [*srun, *relay, *torchrun, f"--nnodes={nodes}", *rendezvous, "-m", "elasticast", *arguments]


def main() -> None:
    """Replace this process by the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, required=True, help="number of GPUs, and of processes, per node")
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes (default: 1)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="command of elasticast, with its options")
    given = parser.parse_args()
    line = command(given.gpus, given.nodes, given.arguments)
    os.execvp(line[0], line)


if __name__ == "__main__":
    main()
