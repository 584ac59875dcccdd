"""Start `elasticast` once for each GPU: ``python -m elasticast.jobs.launch --gpus 4 --nodes 1 train ...``.

With one GPU or none it is `python -m elasticast`; with several, torchrun starts a process for each; with several nodes,
srun starts torchrun on each node of the Slurm job at hand.
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
    # jobs that share a node must not meet at the same port
    endpoint = f"{socket.gethostname()}:{20000 + int(job) % 20000}"
    meeting = ["--rdzv-backend=c10d", f"--rdzv-id={job}", f"--rdzv-endpoint={endpoint}"]
    # Slurm has told this process that it is the only task; ranks that saved themselves end one after the other
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--kill-on-bad-exit=0"]
    relay = [sys.executable, "-m", "snakemake_executor_plugin_submitit.relay"]
    return [*srun, *relay, *torchrun, f"--nnodes={nodes}", *meeting, "-m", "elasticast", *arguments]


def main() -> None:
    """Become the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, required=True, help="GPUs, and processes, a node")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="verb and options of elasticast")
    given = parser.parse_args()
    line = command(given.gpus, given.nodes, given.arguments)
    os.execvp(line[0], line)


if __name__ == "__main__":
    main()
