"""torchrun with torchrun's own options, but a run that stops and saves itself is no crash.

`python -m elasticast.jobs.torchrun --standalone --nproc-per-node 2 -m elasticast train ...` ends with the status of
the rank that ended first, 85 when the run was asked to stop, and without torchrun's traceback below the run's own
message. torchrun itself ends with 1 then, and dies of the SIGUSR2 with which Slurm warns a whole job.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Start the ranks of this machine and wait for them."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # for the ranks, which answer it once they train
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:  # it went to the ranks, and they have ended
        sys.exit(128 + error.sigval)
    except RendezvousConnectionError:
        sys.exit("torchrun on the machine of --rdzv-endpoint has ended; what was said there, or above, says why")


if __name__ == "__main__":
    main()
