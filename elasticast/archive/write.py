"""Write the archive of a suite: a zip file that unpacks to a checkout with results."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from elasticast import __version__
from elasticast.archive.contents import WEIGHTS, contents
from elasticast.archive.crate import NAME as CRATE
from elasticast.archive.crate import PAPER, crate_metadata
from elasticast.archive.croissant import NAME as CROISSANT
from elasticast.archive.croissant import croissant
from elasticast.archive.paths import check_paths
from elasticast.checksums import file_sha256
from elasticast.config import Suite
from elasticast.config.dataset.licences import licence_of
from elasticast.errors import DataError
from elasticast.evaluation.records import read_training
from elasticast.files import replacing
from elasticast.inference.export import run_card
from elasticast.inference.exported import CARD
from elasticast.progress import LOG

SUMS = "checksums.txt"
_DATE = (1980, 1, 1, 0, 0, 0)  # of all members, so that equal contents are equal archives
_README = """# {title}

Results of the suite `{name}`, elasticast {version}, code of commit {commit}. This folder is a checkout of the code with
the results in `results/{name}/`; begin with `results/{name}/index.html`.

    sha256sum --check --quiet {sums}       # is every file as it was published?
    make setup                                    # then: . .venv/bin/activate
    elasticast verify results/{name}              # do tables, settings, code and data belong together?
    elasticast publish results/{name}             # then: snakemake redraw --config suite={name}
    snakemake all --config suite={name}           # make all results again; with -n, say what would run

`snakemake redraw` draws all figures and tables from the tables in the archive, without data or training, into
`docs/results/{name}/figures`.

`{crate}` describes the archive (RO-Crate), `results/data/*/{croissant}` the generated datasets (Croissant), and
`environment.txt` lists the versions that were installed. {weights}
"""


def archive(
    suite: Suite, results: Path, figures: Path, out: Path, *, weights: bool = False, checkout: Path = Path()
) -> int:
    """Write the archive of a finished suite.

    Parameters
    ----------
    results : Path
        Folder with the results of all suites.
    figures : Path
        Folder with the figures and tables of the suite.
    out : Path
        Zip file to write. All its members are in one folder with the name of the file.
    weights : bool
        Add the weights of the runs, each with a model card.
    checkout : Path
        Git checkout of the code.

    Returns
    -------
    int
        Number of files.

    Raises
    ------
    DataError
        If a result is missing, was changed or holds a path of this machine, or if there is no Git checkout.
    """
    files = contents(suite, results, figures, weights=weights)
    check_paths(files)
    with TemporaryDirectory() as folder:
        code = _code(checkout, Path(folder))
        citation = code["CITATION.cff"].read_text(encoding="utf-8")
        texts = _description(suite, files, _about(checkout, files), citation)
        made = {place: _written(Path(folder) / "made" / place, text) for place, text in texts.items()}
        members = {**code, **files, **made}
        members[SUMS] = _written(Path(folder) / SUMS, _sums(members))
        with replacing(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as target:
            for place in sorted(members):
                _add(target, f"{out.stem}/{place}", members[place])
    return len(members)


def _about(checkout: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Version, commit and its date, and the commits that the runs were trained with."""
    commit, date = _git(checkout, "log", "-1", "--format=%H %cs").decode().split()
    trained = [read_training(file)["git_commit"] or "unknown" for file in files.values() if file.name == "run.json"]
    return {"version": __version__, "date": date, "commit": commit, "trained": list(dict.fromkeys(trained))}


def _description(suite: Suite, files: dict[str, Path], about: dict[str, Any], citation: str) -> dict[str, str]:
    """Text of the files that describe the archive, by place."""
    has_weights = any(Path(place).name == WEIGHTS for place in files)
    weights = f"are in the archive, each with a model card, `{CARD}`" if has_weights else "are not in the archive"
    names = {"sums": SUMS, "crate": CRATE, "croissant": CROISSANT, "weights": f"The weights {weights}."}
    texts = {"ARCHIVE.md": _README.format(title=suite.title, name=suite.name, **about, **names)}
    texts["environment.txt"] = _installed()
    published = {"version": __version__, "datePublished": about["date"], "url": PAPER, "citeAs": "See CITATION.cff."}
    for name, dataset in suite.datasets.items():
        if licence_of(dataset):
            folder = f"results/data/{name}"
            described = croissant(name, dataset, files[f"{folder}/manifest.parquet"], published)
            texts[f"{folder}/{CROISSANT}"] = json.dumps(described, indent=1, ensure_ascii=False)
    sums = {place: file_sha256(file) for place, file in files.items() if "/runs/" not in place}
    sums |= {place: hashlib.sha256(text.encode()).hexdigest() for place, text in texts.items()}
    return texts | {CRATE: crate_metadata(suite, sums, citation, about)} | _cards(files)


def _cards(files: dict[str, Path]) -> dict[str, str]:
    """Model cards of the runs whose weights are in the archive, by place."""
    weights = {Path(place).parent: file.parent for place, file in files.items() if Path(place).name == WEIGHTS}
    # a suite that names a file with a model trusts its code
    return {(place / CARD).as_posix(): run_card(run, trust_code=True) for place, run in weights.items()}


def _code(checkout: Path, folder: Path) -> dict[str, Path]:
    """The files of the commit that is checked out, unpacked to `folder`."""
    if _git(checkout, "status", "--porcelain", "--untracked-files=no"):
        LOG.warning("changes of the code that are not committed are not in the archive")
    with tarfile.open(fileobj=io.BytesIO(_git(checkout, "archive", "--format=tar", "HEAD"))) as tar:
        # of this repository; Python 3.11.2, that of Debian 12, has no filters
        tar.extractall(folder / "code", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    code = folder / "code"
    return {path.relative_to(code).as_posix(): path for path in sorted(code.rglob("*")) if path.is_file()}


def _git(checkout: Path, *command: str) -> bytes:
    try:
        # as in `elasticast.provenance`, without locks
        git = ["git", "--no-optional-locks", "-C", str(checkout)]
        return subprocess.run([*git, *command], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        raise DataError(f"{checkout.absolute()}: is no Git checkout, whose code the archive needs: {reason}") from None


def _installed() -> str:
    """Names and versions of the installed packages, one per line."""
    pins = {f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.metadata["Name"]}
    return "\n".join(sorted(pins, key=str.lower)) + "\n"


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _sums(members: dict[str, Path]) -> str:
    return "".join(f"{file_sha256(file)}  {place}\n" for place, file in sorted(members.items()))


def _add(target: zipfile.ZipFile, place: str, file: Path) -> None:
    info = zipfile.ZipInfo(place, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
    with file.open("rb") as source, target.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(source, member, 1 << 20)
