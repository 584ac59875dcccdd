"""A `python` for Snakemake and the shell commands of the workflow that does not import torch and Snakemake each time.

A workflow in the tests starts a hundred processes. Each works for a tenth of a second, but needs four seconds for its
imports. Here, one server process imports the modules and forks once per command. A small client named `python`, the
first on the PATH, sends it the arguments, environment, working folder, open files and largest size of files of the
command. The client forwards signals and ends with the status of the command. It only does so for
``python -m elasticast ...``, ``python -m snakemake ...`` and ``python SCRIPT.py``; everything else runs in the real
Python.

A module that only works because another command imported one before it would go unnoticed here. The tests of
docs/your_data.md run everything in separate processes, from recordings to figures.
"""

import atexit
import functools
import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """\
#!{python} -IS
import json, os, resource, signal, socket, sys
arguments = sys.argv[1:]
is_script = arguments[:1] and arguments[0].endswith(".py")
is_module = arguments[:1] == ["-m"] and arguments[1].split(".")[0] in ("elasticast", "snakemake")
if not (is_script or is_module):
    os.execv({python!r}, [{python!r}, *arguments])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
largest_file = resource.getrlimit(resource.RLIMIT_FSIZE)
request = json.dumps([arguments, os.getcwd(), dict(os.environ), largest_file]).encode()
socket.send_fds(server, [request], [0, 1, 2])
process = int(server.recv(32))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(process, number))
status = int(server.recv(32) or 1)
if status < 0:
    if -status != signal.SIGKILL:  # whose handling cannot be set
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
MAX_REQUEST_BYTES = 200_000
LIBRARIES = (
    *("h5py", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "matplotlib.pyplot"),
    *("pandas", "pyarrow.parquet", "scipy.stats", "seaborn", "sklearn.metrics", "snakemake.cli", "soundfile"),
    *("torch._dynamo", "torch.utils.tensorboard", "torchaudio", "typer", "yaml"),
)
PACKAGES = ("cli", "config", "data", "evaluation", "models", "provenance", "reporting", "training")
"""Packages of the project whose modules are imported; no command is the name of a module in them."""


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
    arguments, cwd, environment, largest_file = json.loads(request)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    resource.setrlimit(resource.RLIMIT_FSIZE, largest_file)
    return arguments


def _import() -> None:
    """Import what commands need, and compute the digests of code, for which the whole package is parsed."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for package in PACKAGES:
        root = importlib.import_module(f"elasticast.{package}")
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            importlib.import_module(module.name)
    provenance = importlib.import_module("elasticast.provenance")
    for stage in provenance.STAGES:
        provenance.code_digest(stage)


def _main() -> None:
    address, client = sys.argv[1:]
    _import()
    gc.freeze()  # a collection in a fork would copy the memory of all these modules
    arguments = _serve(address)
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    sys.executable = client  # also used for processes that the command starts
    # forks in place of new processes, which would import everything
    multiprocessing.get_context = functools.partial(_forking, multiprocessing.get_context)
    try:
        _run(arguments)
    except SystemExit as end:
        _exit(end.code)
    _exit(0)


def _run(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _exit(code: object) -> None:
    """Exit as Python does, but do not free the modules one by one: that takes longer than most commands."""
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


def _forking(get_context, method=None):
    return get_context("fork" if method == "spawn" else method)


if __name__ == "__main__":
    _main()
