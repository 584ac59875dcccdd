"""A `python` for the shell commands of the workflow that does not import torch and other libraries each time.

A workflow in the tests starts a hundred processes. Each works for a tenth of a second, but needs four seconds for its
imports. Here, one server process imports the libraries (nothing of the project) and forks once per command. A small
client named `python`, the first on the PATH, sends it the arguments, environment, working folder and open files of the
command. The client forwards signals and ends with the status of the command. It only does so for
``python -m elasticast ...`` and ``python SCRIPT.py``; everything else runs in the real Python.
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
arguments = sys.argv[1:]
is_script = arguments[:1] and arguments[0].endswith(".py")
if not (is_script or arguments[:1] == ["-m"] and arguments[1].startswith("elasticast")):
    os.execv({python!r}, [{python!r}, *arguments])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [request], [0, 1, 2])
process = int(server.recv(32))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(process, number))
status = int(server.recv(32) or 1)
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
MAX_REQUEST_BYTES = 200_000


@contextmanager
def preloaded(folder: Path) -> Iterator[Path]:
    """Run the server and write the client `python` to a folder; gives the folder."""
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
    """Fork once per command. The server never returns; each fork returns the arguments of its command."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the server does not wait for its forks
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        if not os.fork():
            break
        client.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    request, files, _, _ = socket.recv_fds(client, MAX_REQUEST_BYTES, 3)
    process = os.fork()
    if process:
        client.send(str(process).encode())
        client.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
        os._exit(0)
    client.close()
    arguments, cwd, environment = json.loads(request)
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
    sys.executable = client  # also used for processes that the command starts
    if arguments[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _main()
