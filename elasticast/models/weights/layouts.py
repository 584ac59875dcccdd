"""How published state dicts name what this package has too.

A layout is a table from our names to theirs. It alone decides what a file must hold: what it asks for and the file
lacks is missing, what the file holds beyond it is unexpected, and either is an error.
"""

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elasticast.errors import DataError


@dataclass(frozen=True)
class Layout:
    """Names of one kind of state dict.

    Attributes
    ----------
    name : str
        What users are told it is.
    block : str
        Prefix of a transformer block, ``{}`` standing for its number.
    inside, outside : dict of str to str
        Modules (a weight and a bias each) within a block and elsewhere: ours to theirs. Theirs may be several,
        separated by blanks, whose rows are joined.
    parameters : dict of str to str
        Single tensors, ours to theirs.
    optional : tuple of str
        Of ours, what a file may lack.
    spare : tuple of str
        Beginnings of names known to be there and not needed.
    """

    name: str
    block: str
    inside: dict[str, str]
    outside: dict[str, str]
    parameters: dict[str, str]
    optional: tuple[str, ...] = ()
    spare: tuple[str, ...] = field(default=())

    def table(self, state: dict[str, Tensor]) -> dict[str, list[str]]:
        """Our names to theirs, for as many blocks as `state` has; optional ones where `state` has any part of them."""
        modules = dict(self.outside)
        for i in range(self.depth(state)):
            modules |= {f"trunk.blocks.{i}.{k}": self._in_block(i, v) for k, v in self.inside.items()}
        names = {f"{k}.{p}": [f"{n}.{p}" for n in v.split()] for k, v in modules.items() for p in ("weight", "bias")}
        names |= {k: [v] for k, v in self.parameters.items()}
        there = [k for k in self.optional if any(n in state for ours in _of(names, k) for n in names[ours])]
        absent = {name for k in self.optional if k not in there for name in _of(names, k)}
        return {ours: theirs for ours, theirs in names.items() if ours not in absent}

    def _in_block(self, number: int, names: str) -> str:
        return " ".join(f"{self.block.format(number)}.{name}" for name in names.split())

    def depth(self, state: dict[str, Tensor]) -> int:
        """Number of blocks."""
        pattern = re.compile(re.escape(self.block).replace(r"\{\}", r"(\d+)") + r"\.")
        numbers = [int(found[1]) for name in state if (found := pattern.match(name))]
        return max(numbers, default=-1) + 1

    def difference(self, state: dict[str, Tensor]) -> tuple[list[str], list[str]]:
        """Names missing from `state`, and names in it that have no place here."""
        needed = {name for theirs in self.table(state).values() for name in theirs}
        return sorted(needed - state.keys()), sorted(n for n in state.keys() - needed if not n.startswith(self.spare))

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`state` under our names, in float32."""
        parts = {ours: [state[n].float() for n in theirs] for ours, theirs in self.table(state).items()}
        return {ours: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for ours, tensors in parts.items()}


def _of(names: dict[str, list[str]], module: str) -> list[str]:
    return [name for name in names if name == module or name.startswith(f"{module}.")]


def _timm(name: str, prefix: str = "", head: dict[str, str] | None = None, spare: tuple[str, ...] = ()) -> Layout:
    """A ViT or DeiT as timm names it, alone or as part of a larger model."""
    same = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    return Layout(
        name=name,
        block=f"{prefix}blocks.{{}}",
        inside={part: part for part in same},
        outside={"patch_embed": f"{prefix}patch_embed.proj", "trunk.norm": f"{prefix}norm", **(head or {})},
        parameters={"cls": f"{prefix}cls_token", "dist": f"{prefix}dist_token", "grid": f"{prefix}pos_embed"},
        optional=("dist",),
        # the classifier of the image model that the audio model began as
        spare=(f"{prefix}head.", f"{prefix}head_dist.", f"{prefix}pre_logits.", *spare),
    )


ELASTIC = Layout(
    name="ElasticAST as released",
    block="blocks.modules_list.{}",
    inside={
        "norm1": "norm1",
        "attn.qkv": "attn.to_q attn.to_kv",  # their kv is k first, then v
        "attn.proj": "attn.proj",
        "norm2": "norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
    outside={
        "patch_embed": "patch_embed.0",
        "trunk.norm": "norm",
        "pool.q": "attn_pool.to_q",
        "pool.kv": "attn_pool.to_kv",
        "pool.proj": "attn_pool.proj",
        "head_norm": "mlp_norm",
        "head": "head",
    },
    parameters={
        "positions.freq": "pos_embed_freq",
        "positions.time": "pos_embed_time",
        "pool.query": "attn_pool_queries",
    },
)
AST = _timm("AST (YuanGongND)", "v.", {"head_norm": "mlp_head.0", "head": "mlp_head.1"})
SSAST = _timm("SSAST", "v.", spare=("cpredlayer.", "gpredlayer.", "mask_embed", "p_input_fdim", "p_input_tdim"))
VIT = _timm("ViT or DeiT (timm)")
HUGGING_FACE = Layout(
    name="AST (Hugging Face)",
    block="encoder.layer.{}",
    inside={
        "norm1": "layernorm_before",
        "attn.qkv": "attention.attention.query attention.attention.key attention.attention.value",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
    outside={
        "patch_embed": "embeddings.patch_embeddings.projection",
        "trunk.norm": "layernorm",
        "head_norm": "classifier.layernorm",
        "head": "classifier.dense",
    },
    parameters={
        "cls": "embeddings.cls_token",
        "dist": "embeddings.distillation_token",
        "grid": "embeddings.position_embeddings",
    },
    optional=("head_norm", "head"),
)
LAYOUTS = (ELASTIC, AST, SSAST, HUGGING_FACE, VIT)
WRAPPERS = ("module.", "audio_spectrogram_transformer.")
"""Prefixes that say only what the model was wrapped in: data parallelism, Hugging Face's classifier."""


def recognise(state: dict[str, Tensor], where: str) -> tuple[Layout, dict[str, Tensor]]:
    """The layout of a state dict, and the state dict without wrappers' prefixes.

    Raises
    ------
    DataError
        If it has no known layout, or lacks or exceeds what its layout asks for: all such names are listed.
    """
    bare = dict(state)
    for wrapper in WRAPPERS:
        bare = {name.removeprefix(wrapper): value for name, value in bare.items()}
    differences = {layout.name: layout.difference(bare) for layout in LAYOUTS}
    nearest = min(LAYOUTS, key=lambda layout: sum(map(len, differences[layout.name])))
    missing, unexpected = differences[nearest.name]
    if len(unexpected) > len(bare) / 2 or not nearest.depth(bare):
        known = ", ".join(layout.name for layout in LAYOUTS)
        some = ", ".join(sorted(state)[:5])
        raise DataError(f"{where}: not recognised. Known: {known}, and runs of this suite. It holds {some}, ...")
    if missing or unexpected:
        raise DataError(f"{where}: looks like {nearest.name}, but\n{_listed(missing, unexpected)}")
    return nearest, bare


def check_names(wanted: dict[str, Tensor], given: dict[str, Tensor], where: str) -> None:
    """Compare names and shapes of two state dicts.

    Raises
    ------
    DataError
        With all that differ.
    """
    wrong = [
        f"{name} {list(given[name].shape)}, should be {list(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    missing, unexpected = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unexpected or wrong:
        raise DataError(f"{where}\n{_listed(missing, unexpected, wrong)}")


def _listed(missing: list[str], unexpected: list[str], wrong: list[str] = ()) -> str:
    """What does not fit, one line a kind."""
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": wrong}
    return "\n".join(f"  {kind} ({len(names)}): {', '.join(names)}" for kind, names in kinds.items() if names)
