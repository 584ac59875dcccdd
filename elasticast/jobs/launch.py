"""Start `elasticast` once for each GPU: ``python -m elasticast.jobs.launch --gpus 4 --nodes 1 train ...``.

With at most one GPU, run `python -m elasticast`. With several GPUs, torchrun starts one process per GPU. With several
nodes, srun starts torchrun on each node of the current Slurm job.
"""

import argparse
import os
import socket
import sys


def command(gpus: int, nodes: int, arguments: list[str]) -> list[str]:
    """The command line that starts `elasticast` with `arguments` on `nodes` nodes with `gpus` GPUs each."""
    if gpus <= 1 and nodes == 1:
        return [sys.executable, "-m", "elasticast", *arguments]
    torchrun = [sys.executable, "-m", "elasticast.jobs.torchrun", f"--nproc-per-node={max(gpus, 1)}"]
    if nodes == 1:
        return [*torchrun, "--standalone", "-m", "elasticast", *arguments]
    job = os.environ["SLURM_JOB_ID"]
    # jobs that share a node need different ports
    endpoint = f"{socket.gethostname()}:{20000 + int(job) % 20000}"
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-id={job}", f"--rdzv-endpoint={endpoint}"]
    # --ntasks overrides the single task in this process's environment; ranks that save and stop end at different times
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--kill-on-bad-exit=0"]
    relay = [sys.executable, "-m", "snakemake_executor_plugin_submitit.relay"]
    return [*srun, *relay, *torchrun, f"--nnodes={nodes}", *rendezvous, "-m", "elasticast", *arguments]


def main() -> None:
    """Replace this process by the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, required=True, help="number of GPUs, and of processes, per node")
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="subcommand of elasticast, and its options")
    options = parser.parse_args()
    line = command(options.gpus, options.nodes, options.arguments)
    os.execvp(line[0], line)


if __name__ == "__main__":
    main()
