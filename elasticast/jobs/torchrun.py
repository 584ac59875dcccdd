"""torchrun, but a run that saves a checkpoint and stops does not count as a crash.

`python -m elasticast.jobs.torchrun --standalone --nproc-per-node 2 -m elasticast train ...` takes the options of
torchrun. Its exit status is that of the rank that failed first, 85 if the run was asked to stop. It prints no traceback
below the message of the run. In contrast, torchrun itself exits with 1 in this case, and SIGUSR2, with which Slurm
warns a whole job, kills it.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Start the ranks on this machine and wait for them."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # ranks inherit this, and handle the signal once they train
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:  # torchrun passed the signal on to the ranks, and they have ended
        sys.exit(128 + error.sigval)
    except RendezvousConnectionError:
        sys.exit("torchrun on the machine of --rdzv-endpoint has ended; see its log, or the messages above, for why")


if __name__ == "__main__":
    main()
