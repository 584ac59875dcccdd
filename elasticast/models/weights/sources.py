"""Read weights of a run, a published file, a Hugging Face folder or repository, or a timm model by name."""

import hashlib
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from elasticast.checksums import FILES, file_sha256, read_record, verify
from elasticast.config import RunConfig
from elasticast.config.model.own_code import code_sha256
from elasticast.config.reading import validate
from elasticast.data.norm import Norm, checked_norm
from elasticast.errors import DataError, did_you_mean
from elasticast.files import is_file, read_json
from elasticast.models import build_model
from elasticast.models.trained import BASE, CODE_FILE, EXPORT_RECORD, MODEL_FILES, first_nonfinite
from elasticast.models.weights.adapted import check_base, complete
from elasticast.models.weights.content import Weights
from elasticast.models.weights.convert import convert_state
from elasticast.models.weights.hub import HF, fetch
from elasticast.models.weights.layouts import HUGGING_FACE, VIT, check_names, recognise

TIMM = "timm:"
DEMO = "demo"
"""Name of the trained model that is part of the package, in the folder `DEMO_FOLDER`."""
DEMO_FOLDER = Path(__file__).parents[1] / "demo"
RUN_RECORD = "run.json"
REMEDY = "train or export the model again"
HUGGING_FACE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def read_weights(source: str | Path) -> Weights:
    """Read weights, recognise their layout and convert them.

    A trained model of this package is verified: ``model.json`` holds the checksums of itself and of the weights, and in
    the folder of a run, ``run.json`` holds that of ``model.json``. The folder of an adapted run holds the weights that
    it trained; those that it adapted are read too, and verified. Other files have no checksums to verify.

    Parameters
    ----------
    source : str or Path
        Folder of a run or of an export, its ``model.safetensors``, a ``.pth`` or ``.safetensors`` file in a published
        layout, a Hugging Face folder, ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``, ``timm:NAME``, or ``demo``, the
        model of this package; ``./demo`` is a folder of that name.

    Raises
    ------
    DataError
        If the source is missing, unsafe or damaged, if names are missing or unexpected, or if a value is not finite.
    """
    weights = _read_source(source)
    checked_norm(weights.norm.mean, weights.norm.std, source)
    if name := first_nonfinite(weights.tensors):
        raise DataError(f"{source}: tensor {name} holds values that are not finite; these weights cannot be used")
    if weights.code is None:  # others are compared with their model when that is built
        check_names(_expected_state(weights), weights.tensors, f"{source}: looks like {weights.description}, but")
    return weights


class _WithoutValues(TorchFunctionMode):
    """Leave new tensors unfilled, which takes no time for a model of any size.

    On the meta device they would have no values either, but there arithmetic imports PyTorch's compiler (1.5 s).
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):  # in place, such as `normal_`
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _expected_state(weights: Weights) -> dict[str, Tensor]:
    """State dict of the model in `weights.config`, without values; without a head if the weights have none."""
    head = weights.tensors.get("head.bias")
    headless = head is None and weights.classes is None
    with _WithoutValues():
        model = build_model(weights.config, len(weights.classes or (() if head is None else head)) or 1)
    heads = tuple(f"{name}." for name in weights.config.model.traits.head)
    return {k: v for k, v in model.state_dict().items() if not (headless and k.startswith(heads))}


def _read_source(source: str | Path) -> Weights:
    if str(source).startswith(TIMM):
        return _from_timm(str(source).removeprefix(TIMM))
    if str(source).startswith(HF):
        return _from_hub(str(source))
    path = DEMO_FOLDER if source == DEMO else Path(source)
    if path.is_dir():
        return _from_folder(path)
    if not is_file(path):
        raise DataError(
            f"{path}: no such file or folder; {did_you_mean(source, [DEMO])}a timm model is named with {TIMM}NAME, "
            f"and a repository of Hugging Face with {HF}OWNER/NAME"
        )
    if path.name == MODEL_FILES[0] and is_file(path.with_name(MODEL_FILES[1])):
        return _from_run(path.parent)
    return _from_file(path)


def _from_hub(source: str) -> Weights:
    snapshot = fetch(source)
    try:
        weights = _from_folder(snapshot.folder)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    weights.notes.insert(0, snapshot.note())
    return weights


def _from_folder(folder: Path) -> Weights:
    if is_file(folder / MODEL_FILES[1]):
        return _from_run(folder)
    weights = next((folder / name for name in HUGGING_FACE_WEIGHTS if is_file(folder / name)), None)
    if is_file(folder / "config.json") and weights is not None:
        return _from_file(weights)
    seeds = sorted(path.parent for path in folder.glob(f"seed*/{MODEL_FILES[1]}"))
    hint = f"did you mean {' or '.join(map(str, seeds[:3]))}? " if seeds else ""
    raise DataError(
        f"{folder}: does not contain a model; {hint}expected {' and '.join(MODEL_FILES)} of a trained model, "
        f"or config.json and {' or '.join(HUGGING_FACE_WEIGHTS)} of Hugging Face"
    )


def _from_run(folder: Path) -> Weights:
    """Read a trained model of this package, and verify it with its records."""
    file, path = (folder / name for name in MODEL_FILES)
    content = read_record(path, REMEDY)
    if is_file(folder / RUN_RECORD):  # an exported model has none
        verify(path, read_record(folder / RUN_RECORD, REMEDY), folder / RUN_RECORD, REMEDY)
    verify(file, content, path, REMEDY)
    try:
        config = validate(RunConfig, content["config"], str(path), "config")
        norm = Norm(content["norm"]["mean"], content["norm"]["std"])
        classes, kind = content["classes"], content["kind"]
    except (KeyError, TypeError):
        raise DataError(
            f"{path}: is not a model.json of this package; expected config, classes, kind and norm"
        ) from None
    code = None
    if (sha256 := code_sha256(config.model)) is not None:
        code = folder / CODE_FILE
        verify(code, {FILES: {CODE_FILE: sha256}}, path, REMEDY)
    tensors = read_tensors(file)
    if (base := content.get(BASE)) is not None:
        tensors = complete(tensors, config, len(classes), _base(base, path))
    model = config.model.kind if code else f"{config.model.kind} of this package"
    description = f"{model}, experiment {config.experiment}, seed {config.seed}"
    return Weights(description, tensors, config, norm, kind, classes, sha256=content[FILES][file.name], code=code)


def _base(record: dict[str, Any], path: Path) -> Weights:
    """The weights that a run adapted; `record` is the entry :data:`BASE` of its `model.json`, `path`."""
    source = record["source"]
    if not source.startswith((TIMM, HF)):
        source = str(path.parent / source)
    try:
        weights = read_weights(source)
    except DataError as error:
        raise DataError(f"{path}: {BASE}: needs the weights that this run adapted; {error}") from None
    check_base(weights, record, path)
    return weights


def _from_file(path: Path) -> Weights:
    digest = file_sha256(path)  # first, because its error says why a file cannot be read
    if is_file(record := path.with_name(EXPORT_RECORD)):
        _verify_export(path, record)
    layout, state = recognise(read_tensors(path), str(path))
    hf_files = _hugging_face_files(path.parent) if layout is HUGGING_FACE else {}
    return Weights(**convert_state(layout, state, str(path), hf_files), sha256=digest)


def _verify_export(path: Path, source: Path) -> None:
    """Verify the files of an export of this package with their record, if `path` is one of them."""
    remedy = f"export the model again, or delete {source.name} to use the files as they are"
    record = read_record(source, remedy)
    if path.name in record.get(FILES, {}):
        for name in record[FILES]:
            verify(source.with_name(name), record, source, remedy)


def _hugging_face_files(folder: Path) -> dict[str, Any]:
    """Contents of the `config` and `preprocessor` files in a Hugging Face folder, if they exist."""
    files = {"config": "config.json", "preprocessor": "preprocessor_config.json"}
    return {key: read_json(folder / name) for key, name in files.items() if is_file(folder / name)}


def _from_timm(name: str) -> Weights:
    try:
        import timm
    except ImportError as error:
        raise DataError(f"{TIMM}{name}: needs the package timm: pip install 'elasticast[timm]' ({error})") from None
    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*distilled*")[:5]) or "deit_base_distilled_patch16_384"
        raise DataError(f"{TIMM}{name}: timm {timm.__version__} has no such model; similar models: {near}")
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # many types are possible, from the hub, the network or the disk
        raise DataError(_download_problem(name, error)) from None
    layout, state = recognise(model.state_dict(), f"{TIMM}{name}")
    if layout is not VIT:
        raise DataError(f"{TIMM}{name}: not a ViT or DeiT")
    hf_files = {"config": {"num_attention_heads": model.blocks[0].attn.num_heads}}
    digest = hashlib.sha256(b"".join(state[k].contiguous().numpy().tobytes() for k in sorted(state))).hexdigest()
    return Weights(**convert_state(layout, state, f"{TIMM}{name}", hf_files), sha256=digest)


def _download_problem(name: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    save = f"import timm, torch; torch.save(timm.create_model('{name}', pretrained=True).state_dict(), '{name}.pth')"
    return (
        f"{TIMM}{name}: could not be downloaded ({type(error).__name__}: {reason}). On a machine with internet run\n"
        f'  python -c "{save}"\nand use the path of that file instead.'
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict. Code in the file is never executed.

    Raises
    ------
    DataError
        If the file is missing or damaged, or if it does not contain tensors only.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if damaged := _damaged_entry(path):
            raise DataError(f"{path}: entry {damaged} does not match its checksum: the file is damaged; copy it again")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: refused: not a plain file of tensors, and reading other files could execute code in them"
        ) from None
    except Exception as error:  # a damaged file can raise many types of errors
        raise DataError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from None
    for wrapped in ("model", "state_dict"):  # used by the files of DeiT and by many training scripts
        if isinstance(state, dict) and isinstance(state.get(wrapped), dict):
            state = state[wrapped]
    if not isinstance(state, dict) or not state or not _all_tensors(state.values()):
        raise DataError(f"{path}: contains no state dict; expected a dictionary of names and tensors")
    return state


def _all_tensors(values: Iterable[object]) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def _damaged_entry(path: Path) -> str | None:
    """The first entry of a zip file that does not match its CRC-32; `torch.load` does not compare these."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()
