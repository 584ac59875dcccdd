"""Acts like a trainer: takes steps, saves a checkpoint at USR2 or TERM, and resumes when it is started again.

Usage: `stepper.py FOLDER STEPS SECONDS OUTPUT`. Each start appends the step at which it begins to FOLDER/starts. A file
FOLDER/finish makes it take all its remaining steps at once.
"""

import fcntl
import signal
import sys
import time
from pathlib import Path

folder, steps, seconds, output = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
lock = (folder / "lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a second process on the same folder fails
saved = folder / "saved"
step = int(saved.read_text()) if saved.exists() else 0
stop = []
for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.append(1))
with (folder / "starts").open("a") as file:
    print(step, file=file)
while step < steps:
    time.sleep(seconds)
    step = steps if (folder / "finish").exists() else step + 1
    print(f"step {step} of {steps}", flush=True, file=sys.stderr)
    (folder / "now").write_text(str(step))
    if stop:
        saved.write_text(str(step))
        sys.exit(85)
output.write_text(f"{step} steps\n")
