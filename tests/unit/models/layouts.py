"""State dicts in published layouts, made of a model of this package with names and shapes written out here."""

import torch


def _pairs(names):
    return {f"{ours}.{p}": f"{theirs}.{p}" for ours, theirs in names.items() for p in ("weight", "bias")}


def _blocks(state, depth, block, names):
    pairs = _pairs({f"trunk.blocks.{i}.{k}": f"{block.format(i)}.{v}" for i in range(depth) for k, v in names.items()})
    return {theirs: state[ours] for ours, theirs in pairs.items()}


def released_elastic(state, depth):
    """`state` of an ElasticAST as the released files name it."""
    same = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    found = _blocks(state, depth, "blocks.modules_list.{}", {name: name for name in same})
    for i in range(depth):
        for p in ("weight", "bias"):
            value = state[f"trunk.blocks.{i}.attn.qkv.{p}"]
            dim = len(value) // 3
            found[f"blocks.modules_list.{i}.attn.to_q.{p}"] = value[:dim]
            found[f"blocks.modules_list.{i}.attn.to_kv.{p}"] = value[dim:]
    others = {"patch_embed": "patch_embed.0", "trunk.norm": "norm", "head_norm": "mlp_norm", "head": "head"}
    others |= {"pool.q": "attn_pool.to_q", "pool.kv": "attn_pool.to_kv", "pool.proj": "attn_pool.proj"}
    found |= {theirs: state[ours] for ours, theirs in _pairs(others).items()}
    found |= {"pos_embed_freq": state["positions.freq"], "pos_embed_time": state["positions.time"]}
    found["attn_pool_queries"] = state["pool.query"]
    return {f"module.{name}": value.clone() for name, value in found.items()}


def _positions(state):
    return torch.cat([state["prefix_positions"], state["positions.table"][0].flatten(1).T])[None]


def timm(state, depth, prefix="", colours=1):
    """`state` of an AST as timm names a ViT or DeiT, with an ImageNet head, its patch weights spread over colours."""
    same = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    found = _blocks(state, depth, "blocks.{}", {name: name for name in same})
    dim, pixels = state["patch_embed.weight"].shape
    edge = int(pixels**0.5)
    weight = state["patch_embed.weight"].view(dim, 1, edge, edge)
    shares = torch.rand(colours)
    found["patch_embed.proj.weight"] = weight * (shares / shares.sum()).view(1, -1, 1, 1)
    found["patch_embed.proj.bias"] = state["patch_embed.bias"]
    found |= {"norm.weight": state["trunk.norm.weight"], "norm.bias": state["trunk.norm.bias"]}
    found["pos_embed"] = _positions(state)
    tokens = ("cls_token", "dist_token")[: len(state["prefix"])]
    found |= {name: state["prefix"][None, i : i + 1] for i, name in enumerate(tokens)}
    heads = ("head", "head_dist")[: len(state["prefix"])]
    found |= {f"{head}.weight": torch.randn(1000, dim) for head in heads}
    found |= {f"{head}.bias": torch.randn(1000) for head in heads}
    return {f"{prefix}{name}": value.clone() for name, value in found.items()}


def ast(state, depth):
    """`state` of an AST as YuanGongND's files name it."""
    found = timm(state, depth, "v.")
    names = _pairs({"head_norm": "mlp_head.0", "head": "mlp_head.1"})
    found |= {theirs: state[ours] for ours, theirs in names.items()}
    return {f"module.{name}": value.clone() for name, value in found.items()}


def ssast(state, depth, frames):
    """The trunk of `state` as SSAST's pretraining saves it."""
    dim = state["patch_embed.weight"].shape[0]
    found = timm(state, depth, "v.")
    found |= {"p_input_fdim": torch.tensor(128), "p_input_tdim": torch.tensor(frames)}
    found["mask_embed"] = torch.randn(1, 1, dim)
    for name in ("cpredlayer", "gpredlayer"):
        found |= {f"{name}.0.weight": torch.randn(dim, dim), f"{name}.0.bias": torch.randn(dim)}
        found |= {f"{name}.2.weight": torch.randn(256, dim), f"{name}.2.bias": torch.randn(256)}
    return {f"module.{name}": value.clone() for name, value in found.items()}


def hugging_face(state, depth):
    """`state` of an AST as Hugging Face's `ASTForAudioClassification` names it."""
    names = {"norm1": "layernorm_before", "attn.proj": "attention.output.dense", "norm2": "layernorm_after"}
    names |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    found = _blocks(state, depth, "encoder.layer.{}", names)
    for i in range(depth):
        for p in ("weight", "bias"):
            parts = state[f"trunk.blocks.{i}.attn.qkv.{p}"].chunk(3)
            for part, value in zip(("query", "key", "value"), parts, strict=True):
                found[f"encoder.layer.{i}.attention.attention.{part}.{p}"] = value
    dim, pixels = state["patch_embed.weight"].shape
    edge = int(pixels**0.5)
    found["embeddings.patch_embeddings.projection.weight"] = state["patch_embed.weight"].view(dim, 1, edge, edge)
    found["embeddings.patch_embeddings.projection.bias"] = state["patch_embed.bias"]
    found["embeddings.position_embeddings"] = _positions(state)
    found["embeddings.cls_token"] = state["prefix"][None, :1]
    found["embeddings.distillation_token"] = state["prefix"][None, 1:]
    found |= {"layernorm.weight": state["trunk.norm.weight"], "layernorm.bias": state["trunk.norm.bias"]}
    found = {f"audio_spectrogram_transformer.{name}": value for name, value in found.items()}
    heads = _pairs({"head_norm": "classifier.layernorm", "head": "classifier.dense"})
    found |= {theirs: state[ours] for ours, theirs in heads.items()}
    return {name: value.contiguous().clone() for name, value in found.items()}
