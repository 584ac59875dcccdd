"""Licences of generated audio."""

from elasticast.config.dataset.common import DatasetSettings

LICENCES = {
    "controls": "https://www.apache.org/licenses/LICENSE-2.0",
    "scenes": "https://www.apache.org/licenses/LICENSE-2.0",
    "soundscapes": "https://www.apache.org/licenses/LICENSE-2.0",
    "fsdd": "https://creativecommons.org/licenses/by-sa/4.0/",
}
"""Licence of the clips that a module of `elasticast.data.datasets` generates. Lists of the clips of other datasets may
not be ours to publish."""


def licence_of(dataset: DatasetSettings) -> str | None:
    """Licence of the clips of a dataset, if they are generated here; None if not."""
    return LICENCES.get(dataset.module) if dataset.generated else None
