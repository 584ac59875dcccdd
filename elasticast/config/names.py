"""Names and titles that users choose.

Names are those of suites, datasets, ablations, experiments, variants, evaluations and claims. They become parts of file
names, targets and shell commands, so all of them have one pattern.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from elasticast.errors import did_you_mean
from elasticast.text import one_line

Line = Annotated[str, AfterValidator(one_line)]
"""Text that is drawn and printed on one line; line breaks become spaces."""
MAX_NAME = 64
"""Largest number of characters in a name. The longest file name made from one then stays below 255 bytes: that of the
log of an ablation's run, with the longest seed."""
NAME = f"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}"
RUN_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,139}"
"""Pattern of names of training runs: an experiment's name, with settings and a digest for runs of ablations."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # no file can have these names on Windows
_RESERVED = {
    "suites": {
        "data": "the results folder `data` holds the prepared data",
        "reference": "paper_figures/reference holds the released curves",
    },
    "datasets": {"logs": "results/data/logs holds logs", "benchmarks": "results/data/benchmarks holds run times"},
}


def name_error(name: Any, folder: str = "") -> str | None:
    """Why `name` cannot be a name, or None if it can.

    Parameters
    ----------
    name : Any
        The value.
    folder : str, optional
        ``suites``, ``datasets`` or ``ablations``: the folder of `config` whose file has this name.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        return (
            f"expected a name of at most {MAX_NAME} letters (a-z, A-Z), digits, _ and -, that begins with a letter or "
            "digit"
        )
    if _DEVICES.fullmatch(name):
        return "this name is reserved on Windows; choose another"
    if reason := _RESERVED.get(folder, {}).get(name):
        return f"this name is reserved: {reason}"
    if folder == "ablations" and name.endswith("_table"):
        return "the name of an ablation cannot end in _table, which tables of ablations do"
    return None


def no_such_file(folder: Path, name: Any) -> str | None:
    """Error message if a folder has no YAML file called `name`, or if that is no valid name; else None."""
    if error := name_error(name, folder.name):
        return error
    path = folder / f"{name}.yaml"
    if path.is_file():
        return None
    names = known_files(folder)
    return f"there is no {path}; {did_you_mean(name, names)}Expected one of: {', '.join(names) or 'none'}"


def known_files(folder: Path) -> list[str]:
    """The names of the YAML files in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _checked(name: str) -> str:
    if error := name_error(name):
        raise ValueError(error)
    return name


Name = Annotated[str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
"""Type of a name in settings."""
