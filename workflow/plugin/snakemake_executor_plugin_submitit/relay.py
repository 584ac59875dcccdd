"""On each node of a job with several: run a command, hand Slurm's signals to processes in it that save themselves.

``srun ... python -m snakemake_executor_plugin_submitit.relay torchrun ...``: USR2 would end torchrun itself, which does
not handle it, and a site may send it to the first process of a step only.
"""

import os
import signal
import subprocess
import sys

from snakemake_executor_plugin_submitit.processes import descendants, handles, send


def main() -> None:
    """Run the command of the arguments and end as it does."""

    def hand_on(*_: object) -> None:
        send([pid for pid in descendants(os.getpid()) if handles(pid, signal.SIGUSR2)], signal.SIGUSR2)

    signal.signal(signal.SIGUSR2, hand_on)
    signal.signal(signal.SIGTERM, hand_on)
    sys.exit(subprocess.call(["bash", "-c", 'trap "" USR2; exec "$@"', "relay", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
