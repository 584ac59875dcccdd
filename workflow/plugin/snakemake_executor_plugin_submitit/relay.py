"""Runs a command on each node of a multi-node job and passes Slurm's signals to the processes that handle them.

It is used as ``srun ... python -m snakemake_executor_plugin_submitit.relay torchrun ...``. torchrun does not handle
USR2, so the signal would end it. At some sites only the first process of a step gets the signal.
"""

import os
import signal
import subprocess
import sys

from snakemake_executor_plugin_submitit.processes import descendants, handles, send


def main() -> None:
    """Run the command in the arguments and exit with its status."""

    def relay(*_: object) -> None:
        send([pid for pid in descendants(os.getpid()) if handles(pid, signal.SIGUSR2)], signal.SIGUSR2)

    signal.signal(signal.SIGUSR2, relay)
    signal.signal(signal.SIGTERM, relay)
    sys.exit(subprocess.call(["bash", "-c", 'trap "" USR2; exec "$@"', "relay", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
