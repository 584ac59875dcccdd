"""Export a trained run to a folder that can be shared, in one of several formats."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from elasticast.checksums import FILES, OWN, read_record, write_record
from elasticast.errors import DataError, ElasticASTError
from elasticast.files import is_file, read_json, write_atomic, write_text
from elasticast.inference import encoder_files, graph, hugging_face
from elasticast.inference.card import model_card
from elasticast.inference.evidence import evidence
from elasticast.inference.exported import CARD, Exported
from elasticast.models.pretrained import load_model
from elasticast.models.trained import BASE, CODE_FILE, EXPORT_RECORD, MODEL_FILES
from elasticast.models.weights.adapted import plain
from elasticast.models.weights.sources import read_weights

WEIGHTS, ABOUT = MODEL_FILES
PRIVATE = ("command", "machine")
"""Entries of a run's record about the computer it ran on; they are not exported."""


def export(run: Path, out: Path, to: str = "elasticast", *, trust_code: bool = False) -> None:
    """Write a trained run to a folder, with a model card, `README.md`.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    out : Path
        Folder to write into.
    to : {"elasticast", "huggingface", "torch-export", "onnx", "encoders"}
        The format. ``elasticast``: `model.safetensors` and `model.json`, which has the labels, front end,
        normalisation statistics, training settings and provenance, and the checksums of itself and of the weights;
        :func:`elasticast.models.pretrained.load_model` loads the folder without the suite of the run. The weights of
        an adapted run are written whole, with low-rank updates added to the weights that they update. For the others
        see :data:`FORMATS`. Every format has a model card with the test scores of the run, if it was evaluated, and
        the licence of its data, if the suite says what they are.
    trust_code : bool
        Whether to run the code of a model that brings its own, see :func:`elasticast.models.pretrained.load_model`.

    Raises
    ------
    DataError
        If the run is not finished or damaged, its weights do not fit its settings, its scores were changed, the format
        has no such model, or `out` is the folder of a run or holds an export in another format.
    """
    if to not in FORMATS:
        raise ElasticASTError(f"to = {to!r}: expected one of {', '.join(FORMATS)}")
    _check_folder(run, out, to)
    write, _ = FORMATS[to]
    write(_read(run, trust_code), out)


def run_card(run: Path, *, trust_code: bool = False) -> str:
    """The model card of a finished run, in Markdown; parameters and errors are as in :func:`export`."""
    exported = _read(run, trust_code)
    return model_card(exported.pretrained, exported.provenance, exported.pretrained.sha256, exported.evidence)


def _read(run: Path, trust_code: bool) -> Exported:
    record = read_record(run / "run.json", "give the folder of a finished run")
    pretrained = load_model(run, trust_code=trust_code)
    provenance = {key: value for key, value in record.items() if key not in (*PRIVATE, FILES, OWN)}
    if provenance.get("init"):
        provenance["init"] |= {"source": Path(provenance["init"]["source"]).name}
    return Exported(run, pretrained, provenance, evidence(run, pretrained.kind, record))


def _check_folder(run: Path, out: Path, to: str) -> None:
    """Refuse a folder that holds a run or an export in another format."""
    if out.resolve() == run.resolve():
        raise DataError(f"{out}: is the folder of the run; export to another folder")
    if is_file(out / "run.json"):
        raise DataError(f"{out}: is the folder of another run; export to another folder")
    others = {name for _, names in FORMATS.values() for name in names} - set(FORMATS[to][1])
    if found := sorted(name for name in others if is_file(out / name)):
        raise DataError(f"{out}: holds {found[0]} of an export in another format; export to another folder")


def _write_own(exported: Exported, out: Path) -> None:
    """Write the format of this package."""
    run, pretrained = exported.run, exported.pretrained
    about = {key: value for key, value in read_json(run / ABOUT).items() if key != OWN}
    about["provenance"] = exported.provenance
    if BASE in about:
        _write_whole(run, out, about)
        pretrained = load_model(out)
    else:
        for name in (name for name in (WEIGHTS, CODE_FILE) if is_file(run / name)):
            write_atomic(out / name, lambda file, name=name: shutil.copyfile(run / name, file))
        write_record(out / ABOUT, about)  # keeps the checksum of the run's weights
    write_text(out / CARD, model_card(pretrained, exported.provenance, pretrained.sha256, exported.evidence))


def _write_whole(run: Path, out: Path, about: dict[str, Any]) -> None:
    """Write the files of an adapted run so that they need no other weights; `about` is the run's `model.json`."""
    weights = read_weights(run)
    if weights.config.model.adaptation.plain:
        weights = plain(weights)
    tensors = {name: value.contiguous() for name, value in weights.tensors.items()}
    write_atomic(out / WEIGHTS, lambda file: save_file(tensors, file))
    content = {key: value for key, value in about.items() if key not in (BASE, FILES)}
    content["config"] = weights.config.model_dump(mode="json")
    write_record(out / ABOUT, content, [out / WEIGHTS])


def _write_encoders(exported: Exported, out: Path) -> None:
    """Write the format of this package, and the files that benchmarks of encoders load."""
    encoder_files.check(exported)
    _write_own(exported, out)
    encoder_files.write(exported, out)


FORMATS: dict[str, tuple[Callable[[Exported, Path], None], tuple[str, ...]]] = {
    "elasticast": (_write_own, (WEIGHTS, ABOUT, CODE_FILE)),
    "huggingface": (hugging_face.write, (WEIGHTS, *hugging_face.FILES, EXPORT_RECORD)),
    "torch-export": (graph.write_torch, (graph.TORCH, graph.FRONT_END, EXPORT_RECORD)),
    "onnx": (graph.write_onnx, (graph.ONNX, graph.FRONT_END, EXPORT_RECORD)),
    "encoders": (_write_encoders, (WEIGHTS, ABOUT, *encoder_files.NAMES)),
}
"""For each format, what writes it, and the files besides the model card."""
