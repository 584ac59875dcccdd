"""Attention by chunks: no token sees a later chunk, and a clip computed chunk by chunk is the whole clip."""

import pytest
import torch

from elasticast.benchmarks.check_model import check_model
from elasticast.benchmarks.check_subject import open_subject
from elasticast.data.packing import Lengths, pack
from elasticast.models.attention import attend, chunk_mask
from elasticast.models.chunks import ChunkMemory
from elasticast.models.token_merging import MergedTokens
from tests.gpu import gpu, skip_without
from tests.unit.models.test_models import model_of, random_clip

STREAMED = {"positions": "rotary", "init": "none"}
MODELS = {
    "attention": {},
    "mean": {"pooling": "mean"},
    "qk_norm": {"attention_scale": "qk_norm"},
    "bottleneck": {"adapt": {"kind": "bottleneck"}},
    "lora": {"adapt": {"kind": "lora"}},
}
every_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


def chunked_model(tiny, settings, **context):
    return model_of(tiny(model={**STREAMED, **settings, "depth": 3, "context": context}))


def in_chunks(clip, chunk):
    """The clip cut into clips of `chunk` time patches each."""
    for first in range(0, clip.time_patches, chunk):
        part = clip.select(torch.nonzero((clip.time >= first) & (clip.time < first + chunk))[:, 0])
        part.time, part.time_patches = part.time - first, int(part.time.max()) + 1 - first
        yield part


@pytest.mark.parametrize("past", [0, 1, 3, None])
@torch.no_grad()
def test_the_mask_is_a_band_of_chunks(past):
    lengths = Lengths.of([1, 7, 30, 12])
    generator = torch.Generator().manual_seed(0)
    chunks = torch.cat([torch.randint(0, 5, (n,), generator=generator) for n in lengths.counts])  # some are missing
    mask, order = chunk_mask(lengths, chunks, past, "dense")
    clip, chunk = lengths.owners()[order], chunks[order]
    distance = chunk[:, None] - chunk[None]
    expected = (clip[:, None] == clip[None]) & (distance >= 0) & (distance <= (99 if past is None else past))
    assert torch.equal(mask.dense(), expected)
    q, k, v = torch.randn(3, len(order), 2, 8)
    dense = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(0, 1) for x in (q, k, v)), attn_mask=expected
    ).transpose(0, 1)
    for backend in ("dense", "sdpa"):
        found = attend(q, k, v, chunk_mask(lengths, chunks, past, backend)[0], 8**-0.5)
        assert torch.allclose(found, dense, atol=1e-5)


@every_model
@pytest.mark.parametrize(("chunk", "past"), [(1, None), (2, None), (3, None), (2, 4), (3, 3), (2, 0)])
@torch.no_grad()
def test_chunk_by_chunk_is_the_whole_clip(tiny, settings, chunk, past, equal):
    model, clip = chunked_model(tiny, settings, chunk=chunk, past=past), random_clip(0, 11 * 16)
    memory = ChunkMemory(99 if past is None else past // chunk)
    chunks = list(in_chunks(clip, chunk))
    found = [model.next_chunk(pack([part]), memory) for part in chunks]
    if past is None:  # after each chunk, the logits are those of the clip up to there
        ends = [clip.select(torch.nonzero(clip.time < n * chunk)[:, 0]) for n in range(1, len(chunks) + 1)]
        equal(f"chunks of {chunk} = clip until there, {settings}", torch.cat(found), model(pack(ends)), 1e-4)
    else:  # pooled over the context only; the states are those of the clip under the band
        batch = pack([clip])
        states = model._tokens(*model._embedded(batch), batch, "dense").x
        kept = clip.time // chunk >= len(chunks) - 1 - past // chunk
        expected = model._pooled(MergedTokens(states[kept], Lengths.of([int(kept.sum())])), "dense")
        equal(f"chunks of {chunk}, past {past}, {settings}", found[-1], model.head(model.head_norm(expected)), 1e-4)


@pytest.mark.parametrize(("chunk", "past"), [(1, None), (2, 4), (3, 0)])
@torch.no_grad()
def test_time_patches_chunk_by_chunk_are_those_of_the_whole_clip(tiny, chunk, past, equal):
    clip = random_clip(0, 11 * 16)
    model = chunked_model(tiny, {"frame_head": True}, chunk=chunk, past=past)
    memory = ChunkMemory(99 if past is None else past // chunk)
    found = [model.next_chunk(pack([part]), memory, frames=True).frames for part in in_chunks(clip, chunk)]
    expected = model(pack([clip]), frames=True).frames
    equal(f"time patches in chunks of {chunk}, past {past}", torch.cat(found), expected, 1e-4)


@every_model
@torch.no_grad()
def test_one_chunk_is_the_plain_model(tiny, clips, settings, equal):
    model = chunked_model(tiny, settings, chunk=16, past=0)
    plain = model_of(tiny(model={**STREAMED, **settings, "depth": 3}))
    plain.load_state_dict(model.state_dict())
    short = [clip for clip in clips if clip.time_patches <= 16]
    equal(f"one chunk = plain, {settings}", model(pack(short)), plain(pack(short)))


@torch.no_grad()
def test_the_backends_agree_if_tokens_are_left_out(tiny, clips, equal):
    model, dense = (chunked_model(tiny, {"backend": name}, chunk=2, past=2) for name in ("sdpa", "dense"))
    dense.load_state_dict(model.state_dict())
    clips = [clip.select(torch.randperm(len(clip.patches))[: 5 + clip.index].sort().values) for clip in clips]
    equal("chunks, sdpa = dense mask", model(pack(clips)), dense(pack(clips)))


@gpu
@pytest.mark.parametrize("backend", ["varlen", "xformers", "sdpa"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
@torch.no_grad()
def test_chunks_on_the_gpu_are_those_of_a_dense_mask(tiny, clips, equal, backend, dtype, tolerance):
    skip_without(backend, dtype)
    model, dense = (chunked_model(tiny, {"backend": name}, chunk=2, past=2).cuda() for name in (backend, "dense"))
    dense.load_state_dict(model.state_dict())
    batch = pack(clips).to("cuda")
    with torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
        found, expected = model(batch).float(), dense(batch).float()
        equal(
            f"chunks on the GPU, {backend} = dense mask, {dtype}",
            found,
            expected,
            tolerance * expected.abs().max().item(),
        )
        memory, part = ChunkMemory(1), next(in_chunks(clips[1], 2))
        for _ in range(3):
            assert model.next_chunk(pack([part]).to("cuda"), memory).isfinite().all()


@torch.no_grad()
def test_the_past_does_not_depend_on_the_future(tiny):
    model, clip = chunked_model(tiny, {}, chunk=3, past=3), random_clip(0, 160)
    other = clip.select(torch.arange(len(clip.patches)))
    other.patches[other.time >= 6] = 7.0
    states = [model._tokens(*model._embedded(b), b, "sdpa").x for b in (pack([clip]), pack([other]))]
    same = (states[0] - states[1]).abs().amax(1) < 1e-6
    assert torch.equal(same, clip.time < 6)


def test_memory_keeps_the_context_only(tiny):
    model, memory = chunked_model(tiny, {}, chunk=2), ChunkMemory(3)
    with torch.no_grad():
        for part in in_chunks(random_clip(0, 20 * 16), 2):
            model.next_chunk(pack([part]), memory)
    kept = [len(queue) for queue in (*memory._layers.values(), memory._states, memory._places)]
    assert kept == [4] * len(kept)


def test_training_reaches_all_parameters(tiny, clips):
    model = chunked_model(tiny, {}, chunk=2, past=2).train()
    model(pack(clips)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_a_model_with_a_context_keeps_the_contract(pooling):
    settings = {"positions": "rotary", "pooling": pooling, "context": {"chunk": 2, "past": 4}}
    settings |= {"frame_head": pooling == "mean"}
    subject = open_subject("elasticast", settings)
    subject.longest = 64
    failed = {r.check: r.detail for r in check_model(subject) if r.outcome == "failed"}
    assert not failed
