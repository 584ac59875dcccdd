"""Models of users, as files that tests write: a GRU for padded clips, a model of one length, and faulty ones."""

GRU = '''
import torch
from pydantic import Field
from torch import nn

from elasticast.config import ModelSettings, Traits
from elasticast.errors import Problem


class GruSettings(ModelSettings):
    """Settings of a GRU."""

    width: int = Field(12, gt=0, description="Width.")
    names: list[str] = Field(["a"], description="A list, to see that it is kept.")

    @property
    def traits(self):
        return Traits(lengths="padded")

    def problems(self, run):
        if self.width % 2:
            return [Problem.between("model.width", self.width, "expected an even number")]
        return []


class Gru(nn.Module):
    """Both directions of a GRU over the tokens of padded clips."""

    Settings = GruSettings

    def __init__(self, settings, *, grid, classes):
        super().__init__()
        self.gru = nn.GRU(settings.patch**2, settings.width, batch_first=True)
        self.head = nn.Linear(settings.width, classes)

    def forward(self, batch):
        lengths = batch.mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(batch.patches, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.gru(packed)[1][0])
'''

GRID = '''
from torch import nn

from elasticast.config import ModelSettings, Traits


class GridSettings(ModelSettings):
    """Settings of a model of whole grids."""

    @property
    def traits(self):
        return Traits(lengths="one", missing_tokens="never", head=("norm", "out"))

    def flops(self, tokens, classes):
        return 2 * tokens * self.patch**2 * 8 + 2 * 8 * classes


class Grid(nn.Module):
    """Clips of one length, as one tensor."""

    Settings = GridSettings

    def __init__(self, settings, *, grid, classes):
        super().__init__()
        self.embed, self.norm, self.out = nn.Linear(settings.patch**2, 8), nn.LayerNorm(8), nn.Linear(8, classes)

    def forward(self, batch):
        if len(set(batch.seqlens)) > 1:
            raise ValueError("expected one length")
        x = self.embed(batch.patches).relu().unflatten(0, (len(batch), -1))
        return self.out(self.norm(x.mean(1)))
'''

BAG = '''
import torch
from torch import nn

from elasticast.config import ModelSettings, Traits


class BagSettings(ModelSettings):
    """Settings of a bag of patches."""
{settings}

class Bag(nn.Module):
    """The mean over the patches of a clip."""

    Settings = BagSettings

    def __init__(self, settings, *, grid, classes):
        super().__init__()
        self.embed = nn.Linear(settings.patch**2, 8)
        self.head = nn.Linear(8, classes)
        {init}

    def forward(self, batch):
        x = self.embed(batch.patches)
        x = torch.stack([clip.{reduce} for clip in x.relu().split(batch.seqlens)])
        {forward}
        return self.head(x){after}
'''


def bag(*, settings="", init="pass", reduce="mean(0)", forward="pass", after="") -> str:
    """A bag of patches; each argument replaces a part of its code."""
    return BAG.format(settings=settings, init=init, reduce=reduce, forward=forward, after=after)
