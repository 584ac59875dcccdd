"""A `python` for the shell commands of the workflow that has torch loaded already.

A workflow of the tests starts a hundred processes; their work takes a tenth of a second, and their imports four. Here
one process, the server, imports the libraries (nothing of the project) and forks once per command. A small `python`,
the first on the PATH, hands it the arguments, environment, working folder and open files of the command, passes
signals on, and ends with the same status. Everything but ``python -m elasticast ...`` and ``python SCRIPT.py`` runs in
the real Python.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
given = sys.argv[1:]
if not (given[:1] and given[0].endswith(".py") or given[:1] == ["-m"] and given[1].startswith("elasticast")):
    os.execv({python!r}, [{python!r}, *given])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
asked = json.dumps([given, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [asked], [0, 1, 2])
process = int(server.recv(32))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(process, number))
status = int(server.recv(32) or 1)
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
LONGEST = 200_000


@contextmanager
def preloaded(folder: Path) -> Iterator[Path]:
    """Run a server; gives the folder, which then holds `python`."""
    address = str(folder / "socket")
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    with subprocess.Popen([sys.executable, "-m", __name__, address, str(client)], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"ready\n"
            yield folder
        finally:
            server.terminate()


def _serve(address: str) -> list[str] | None:
    """Fork once per command; in the fork, returns the command's arguments."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        if not os.fork():
            break
        client.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    asked, files, _, _ = socket.recv_fds(client, LONGEST, 3)
    process = os.fork()
    if process:
        client.send(str(process).encode())
        client.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
        os._exit(0)
    client.close()
    arguments, cwd, environment = json.loads(asked)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    return arguments


def _main() -> None:
    import h5py  # noqa: F401
    import matplotlib.pyplot
    import pandas  # noqa: F401
    import pydantic  # noqa: F401
    import seaborn  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import soundfile  # noqa: F401
    import torch  # noqa: F401
    import torchaudio  # noqa: F401
    import typer  # noqa: F401
    import yaml  # noqa: F401

    del matplotlib
    address, client = sys.argv[1:]
    arguments = _serve(address)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "elasticast")]:
        del sys.modules[name]
    sys.executable = client  # what the command itself starts
    if arguments[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _main()
