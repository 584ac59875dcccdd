"""What every format of an export is written from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from elasticast.checksums import file_sha256, write_record
from elasticast.files import write_text
from elasticast.inference.card import model_card
from elasticast.models.pretrained import Pretrained
from elasticast.models.trained import EXPORT_RECORD
from elasticast.models.weights.adapted import plain
from elasticast.models.weights.content import Weights
from elasticast.models.weights.sources import read_weights

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """A finished run, to be exported.

    Attributes
    ----------
    run : Path
        Its folder.
    pretrained : Pretrained
        The model.
    provenance : dict
        Its record, without what it says of the machine.
    evidence : dict of str to str
        Its test scores and data, see :func:`elasticast.inference.evidence.evidence`.
    """

    run: Path
    pretrained: Pretrained
    provenance: dict[str, Any]
    evidence: dict[str, str] = field(default_factory=dict)

    @cached_property
    def weights(self) -> Weights:
        """The weights; those of an adapted run as a plain model, if there is one."""
        weights = read_weights(self.run)
        adaptation = weights.config.model.adaptation
        return plain(weights) if adaptation is not None and adaptation.plain else weights

    def describe(self, out: Path, files: Iterable[str], use: str, notes: Iterable[str] = (), **about: Any) -> None:
        """Write the model card, and a record of what was exported with the checksums of the files.

        Parameters
        ----------
        out : Path
            Folder of the export.
        files : iterable of str
            Names of its files; the first one holds the weights.
        use : str
            How to use the folder, in Markdown.
        notes : iterable of str
            What the format cannot say of the model.
        about : Any
            Further entries of the record.
        """
        names, notes = list(files), list(notes)
        content = {
            "classes": self.pretrained.classes,
            "kind": self.pretrained.kind,
            "norm": {"mean": self.pretrained.norm.mean, "std": self.pretrained.norm.std},
            "config": self.weights.config.model_dump(mode="json"),
            "notes": notes,
            "provenance": self.provenance,
            **about,
        }
        write_record(out / EXPORT_RECORD, content, [out / name for name in names])
        card = model_card(self.pretrained, self.provenance, file_sha256(out / names[0]), self.evidence, use, notes)
        write_text(out / CARD, card)
