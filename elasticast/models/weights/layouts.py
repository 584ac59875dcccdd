"""Layouts: the names of tensors in published state dicts.

A layout maps the names of this package to the published ones. A file has to contain exactly the names of its layout:
missing and unexpected names raise an error.
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
        Name of the layout, for messages.
    block : str
        Prefix of a transformer block, with ``{}`` for its number.
    inside : dict of str to str
        Modules of a block, our name to the published name. A module has a weight and a bias. Several published names,
        separated by spaces, are concatenated along the first axis.
    outside : dict of str to str
        The same for modules outside the blocks.
    parameters : dict of str to str
        Single tensors, our name to the published name.
    optional : tuple of str
        Our names of modules and tensors that a file may lack.
    ignored : tuple of str
        Prefixes of published names that are ignored.
    """

    name: str
    block: str
    inside: dict[str, str]
    outside: dict[str, str]
    parameters: dict[str, str]
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = field(default=())

    def table(self, state: dict[str, Tensor]) -> dict[str, list[str]]:
        """Map our names to published ones.

        The table has as many blocks as `state`, and the optional modules of which `state` has any tensor.
        """
        names = self.names(self.depth(state))
        present = [k for k in self.optional if any(n in state for ours in _names_in(names, k) for n in names[ours])]
        absent = {name for k in self.optional if k not in present for name in _names_in(names, k)}
        return {ours: theirs for ours, theirs in names.items() if ours not in absent}

    def names(self, depth: int) -> dict[str, list[str]]:
        """Map our names to published ones, for this many blocks and with all that is optional."""
        modules = dict(self.outside)
        for i in range(depth):
            modules |= {f"trunk.blocks.{i}.{k}": self._in_block(i, v) for k, v in self.inside.items()}
        names = {f"{k}.{p}": [f"{n}.{p}" for n in v.split()] for k, v in modules.items() for p in ("weight", "bias")}
        return names | {k: [v] for k, v in self.parameters.items()}

    def _in_block(self, number: int, names: str) -> str:
        return " ".join(f"{self.block.format(number)}.{name}" for name in names.split())

    def depth(self, state: dict[str, Tensor]) -> int:
        """Number of blocks."""
        pattern = re.compile(re.escape(self.block).replace(r"\{\}", r"(\d+)") + r"\.")
        numbers = [int(match[1]) for name in state if (match := pattern.match(name))]
        return max(numbers, default=-1) + 1

    def difference(self, state: dict[str, Tensor]) -> tuple[list[str], list[str]]:
        """Names missing from `state`, and unexpected names in it."""
        needed = {name for theirs in self.table(state).values() for name in theirs}
        return sorted(needed - state.keys()), sorted(n for n in state.keys() - needed if not n.startswith(self.ignored))

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of `state`, and convert them to float32."""
        parts = {ours: [state[n].float() for n in theirs] for ours, theirs in self.table(state).items()}
        return {ours: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for ours, tensors in parts.items()}

    def published(self, tensors: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
        """Undo :meth:`convert`: the state dict by published names, of tensors by our names."""
        parts = {
            ours: zip(theirs, tensors[ours].chunk(len(theirs)), strict=True)
            for ours, theirs in self.names(depth).items()
        }
        return {name: part.contiguous() for pairs in parts.values() for name, part in pairs}


def _names_in(names: dict[str, list[str]], module: str) -> list[str]:
    """Our names that belong to a module or tensor."""
    return [name for name in names if name == module or name.startswith(f"{module}.")]


def _timm(name: str, prefix: str = "", head: dict[str, str] | None = None, ignored: tuple[str, ...] = ()) -> Layout:
    """Layout of a ViT or DeiT of timm, by itself or, with `prefix`, as part of a larger model."""
    same = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    return Layout(
        name=name,
        block=f"{prefix}blocks.{{}}",
        inside={part: part for part in same},
        outside={"patch_embed": f"{prefix}patch_embed.proj", "trunk.norm": f"{prefix}norm", **(head or {})},
        parameters={"cls": f"{prefix}cls_token", "dist": f"{prefix}dist_token", "grid": f"{prefix}pos_embed"},
        optional=("dist",),
        # the classifier of the image model that initialised the audio model
        ignored=(f"{prefix}head.", f"{prefix}head_dist.", f"{prefix}pre_logits.", *ignored),
    )


ELASTIC = Layout(
    name="ElasticAST as released",
    block="blocks.modules_list.{}",
    inside={
        "norm1": "norm1",
        "attn.qkv": "attn.to_q attn.to_kv",  # rows of to_kv: first k, then v
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
SSAST = _timm("SSAST", "v.", ignored=("cpredlayer.", "gpredlayer.", "mask_embed", "p_input_fdim", "p_input_tdim"))
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
"""Prefixes of wrapper modules: data parallelism, and the classifier of Hugging Face."""


def recognise(state: dict[str, Tensor], where: str) -> tuple[Layout, dict[str, Tensor]]:
    """Recognise the layout of a state dict.

    Parameters
    ----------
    state : dict of str to Tensor
        The state dict.
    where : str
        Source of the state dict, for messages.

    Returns
    -------
    layout : Layout
        The layout.
    state : dict of str to Tensor
        The state dict without the prefixes of wrapper modules.

    Raises
    ------
    DataError
        If no layout matches, or if names are missing or unexpected; the error lists all such names.
    """
    bare = dict(state)
    for wrapper in WRAPPERS:
        bare = {name.removeprefix(wrapper): value for name, value in bare.items()}
    differences = {layout.name: layout.difference(bare) for layout in LAYOUTS}
    nearest = min(LAYOUTS, key=lambda layout: sum(map(len, differences[layout.name])))
    missing, unexpected = differences[nearest.name]
    if len(unexpected) > len(bare) / 2 or not nearest.depth(bare):
        known = ", ".join(layout.name for layout in LAYOUTS)
        examples = ", ".join(sorted(state)[:5])
        raise DataError(
            f"{where}: unknown weights. Known: {known}, and trained models of this package. The file contains "
            f"{examples}, ..."
        )
    if missing or unexpected:
        raise DataError(f"{where}: looks like {nearest.name}, but\n{_list_names(missing, unexpected)}")
    return nearest, bare


def check_names(wanted: dict[str, Tensor], given: dict[str, Tensor], where: str) -> None:
    """Compare the names and shapes of two state dicts.

    Parameters
    ----------
    wanted, given : dict of str to Tensor
        Expected and actual state dict.
    where : str
        First line of the error.

    Raises
    ------
    DataError
        If names or shapes differ; the error lists all differences.
    """
    wrong = [
        f"{name} {list(given[name].shape)}, expected {list(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    missing, unexpected = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unexpected or wrong:
        raise DataError(f"{where}\n{_list_names(missing, unexpected, wrong)}")


def _list_names(missing: list[str], unexpected: list[str], wrong: list[str] = ()) -> str:
    """Format names for an error message, one line per kind of difference."""
    kinds = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    return "\n".join(f"  {kind} ({len(names)}): {', '.join(names)}" for kind, names in kinds.items() if names)
