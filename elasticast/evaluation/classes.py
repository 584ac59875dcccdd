"""Match the classes of a model to those of the data that it is evaluated on."""

from collections import Counter
from dataclasses import replace

import torch

from elasticast.errors import DataError
from elasticast.models.pretrained import Pretrained
from elasticast.progress import LOG

_SHOWN = 5  # names in an error message


def match_classes(weights: Pretrained, classes: list[str], where: str, data: str) -> Pretrained:
    """Bring the logits of a model into the order of the classes of the data.

    Parameters
    ----------
    weights : Pretrained
        The model.
    classes : list of str
        Classes of the data.
    where : str
        Source of the weights, for messages.
    data : str
        Name of the data, for messages.

    Returns
    -------
    Pretrained
        With these classes, and with a note if the order was changed or if the names are not known.

    Raises
    ------
    DataError
        If the classes are not the same.
    """
    note = None
    if not weights.classes_known:
        if len(weights.classes) != len(classes):
            raise DataError(f"{where}: {weights.description}, but {data} has {len(classes)} classes")
        note = f"the file does not name its {len(classes)} classes; assumed to be those of {data}, in that order"
        LOG.warning("%s: %s", where, note)
    elif weights.classes != classes:
        _check_same_names(weights, classes, where, data)
        _use_rows(weights, classes)
        note = f"the classes of {data} are in another order than those of the weights; the logits were reordered"
        LOG.warning("%s: %s", where, note)
    return replace(weights, classes=classes, notes=[*weights.notes, *([note] if note else [])])


def _check_same_names(weights: Pretrained, classes: list[str], where: str, data: str) -> None:
    theirs, ours = Counter(weights.classes), Counter(classes)
    if theirs == ours:
        return
    only = {"the weights": theirs - ours, data: ours - theirs}
    names = (f"only in {what}: {_some(list(found.elements()))}" for what, found in only.items() if found)
    raise DataError(
        f"{where}: {weights.description}: its {len(weights.classes)} classes are not the {len(classes)} of {data}; "
        + "; ".join(names)
        + ". Name the folders or labels of the data as the classes of the weights, or, if the weights are of Hugging "
        "Face, set `id2label` in their config.json to the names of the data"
    )


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def select_classes(weights: Pretrained, classes: list[str], data: str) -> Pretrained:
    """Keep the logits of some classes of a model, if it has all of `classes` and others; else return it unchanged."""
    if not weights.classes_known or not set(classes) < set(weights.classes):
        return weights
    note = f"{len(classes)} of its {len(weights.classes)} classes are those of {data}; the others are left out"
    LOG.warning("%s: %s", weights.description, note)
    _use_rows(weights, classes)
    return replace(weights, classes=list(classes), notes=[*weights.notes, note])


def _use_rows(weights: Pretrained, classes: list[str]) -> None:
    """Select and order the rows of the head, in place."""
    rows = torch.tensor([weights.classes.index(name) for name in classes])
    traits = weights.config.model.traits
    for head in (traits.head[-1], *(["frame_head"] if traits.frames else [])):
        for parameter in weights.model.get_submodule(head).parameters(recurse=False):
            parameter.data = parameter.data[rows]
