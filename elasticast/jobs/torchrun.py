"""torchrun, except that training may stop after it has saved a checkpoint.

``python -m elasticast.jobs.torchrun --standalone --nproc-per-node 2 -m elasticast train ...`` takes the options of
torchrun. It differs from torchrun in three ways:

- It exits with the status of the rank that failed first, which is 85 if training was asked to stop. torchrun exits
  with 1.
- It prints no traceback after the message of the training.
- It ignores SIGUSR2, with which Slurm warns all processes of a job. torchrun is killed by this signal.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Start the ranks of this machine and wait for them."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the ranks inherit this, and handle the signal while they train
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:  # torchrun passed the signal on to the ranks, and they have ended
        sys.exit(128 + error.sigval)
    except RendezvousConnectionError:
        sys.exit("torchrun on the machine of --rdzv-endpoint has ended; see the messages there or above for the reason")


if __name__ == "__main__":
    main()
