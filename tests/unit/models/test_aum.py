"""Audio Mamba: the published equations, and clips that do not meet in a packed batch."""

import itertools
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from elasticast.benchmarks.check_model import check_model
from elasticast.benchmarks.check_subject import alone, difference, open_subject
from elasticast.config import AuMSettings
from elasticast.data.packing import Lengths, PackedClip, grid_positions, pack
from elasticast.models import AuM, aum
from elasticast.models.aum import MambaBlock, Mixer, Places, insert_cls, time_major
from elasticast.models.scan import has_kernel
from tests.gpu import gpu
from tests.unit.models.test_scan import loop

DIRECTIONS = ["fo_fo", "fo_bi", "bi_bi"]
CASES = [{"direction": "fo_fo", "pooling": "mean"}, {"direction": "fo_bi"}, {"direction": "bi_bi", "order": "time"}]


def settings(**values):
    return AuMSettings.model_validate({"kind": "aum", "dim": 16, "depth": 2, "d_state": 4, **values})


@pytest.fixture
def kernel(monkeypatch):
    """The interface of mamba_ssm, as a loop over tokens that knows no clips. Returns the step sizes it was given."""
    given = []

    def selective_scan_fn(u, delta, A, B, C):
        given.append(delta)
        assert all(x.dtype == torch.float32 and x.is_contiguous() for x in (u, delta, A, B, C))
        whole = torch.zeros(u.shape[-1], dtype=torch.bool)
        return loop(*(x[0].T for x in (u, delta)), A, *(x[0].T for x in (B, C)), whole).T[None]

    module = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    module.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(aum, "has_kernel", lambda _: True)
    return given


def test_a_kernel_that_cannot_be_imported_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    assert not any(has_kernel.__wrapped__(device) for device in ("cpu", "cuda"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_kernel_that_knows_no_clips_gives_the_same_values_and_gradients(kernel, direction):
    torch.manual_seed(0)
    mixer = shaken(Mixer(settings(direction=direction)))
    lengths = Lengths.of([3, 1, 9, 2], torch.device("cpu"))
    x, places = torch.randn(15, 16), Places(lengths)
    results = []
    for kind in ("auto", "torch"):
        mixer.kind = kind
        mixer.zero_grad()
        y = mixer(x, places)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        results.append([y, *(parameter.grad for parameter in mixer.parameters())])
    for found, expected in zip(*results, strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert {delta.shape[-1] for delta in kernel} == {15 + 4}  # a row per clip
    assert len(kernel) == (1 if direction == "fo_fo" else 2)


@gpu
@pytest.mark.parametrize("kind", ["torch", "auto"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_mixer_on_the_gpu_gives_the_values_and_gradients_of_float64(direction, kind):
    if kind == "auto" and not has_kernel("cuda"):
        pytest.skip("mamba_ssm cannot be imported")
    torch.manual_seed(0)
    mixer, counts = shaken(Mixer(settings(direction=direction))), [3, 1, 900, 2, 250]
    x = torch.randn(sum(counts), 16)
    results = []
    for device, dtype, scan in (("cuda", torch.float32, kind), ("cpu", torch.float64, "torch")):
        mixer.kind = scan
        mixer.zero_grad()
        y = mixer.to(device, dtype)(x.to(device, dtype), Places(Lengths.of(counts, torch.device(device))))
        (y * torch.linspace(-1, 1, y.numel(), device=device, dtype=dtype).view_as(y)).sum().backward()
        results.append([y, *(parameter.grad for parameter in mixer.parameters())])
        results[-1] = [value.detach().cpu().double() for value in results[-1]]
    for found, expected in zip(*results, strict=True):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def shaken(module, amount=0.1):
    for parameter in module.parameters():
        parameter.data += amount * torch.randn_like(parameter)
    return module


def build(classes=3, grid=(2, 8), **values):
    torch.manual_seed(0)
    return shaken(AuM(settings(patch=4, **values), grid=grid, classes=classes)).double()


def clip(time_patches, seed=0, freq=2):
    grid = grid_positions(freq, time_patches)
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(len(grid[0]), 16, generator=generator, dtype=torch.float64)
    return PackedClip(seed, patches, *grid, torch.zeros(3))


def clips(lengths=(3, 1, 8, 11, 1, 20)):
    return [clip(length, seed) for seed, length in enumerate(lengths)]


def plain_mixer(mixer, x):
    """The equations of the paper on one clip `[n, D]`, with a loop over its tokens."""
    first = torch.tensor([True] + [False] * (len(x) - 1))

    def direction(part, x):
        pad = F.pad(x.T[None], (part.conv.kernel_size[0] - 1, 0))
        u = F.silu(F.conv1d(pad, part.conv.weight, part.conv.bias, groups=x.shape[1])[0].T)
        rank, b, c = part.x_proj(u).split(part.sizes, -1)
        return u, F.softplus(part.dt_proj(rank)), b, c

    def scan(inputs, a_log, d):
        u, delta, b, c = inputs
        return loop(u, delta, -a_log.exp(), b, c, first) + d * u

    x, z = mixer.in_proj(x).chunk(2, -1)
    inputs = direction(mixer.forwards, x)
    y = scan(inputs, mixer.forwards.a_log, mixer.forwards.d) * F.silu(z)
    if mixer.direction == "fo_bi":
        flipped = [value.flip(0) for value in inputs]
        y = y + (scan(flipped, mixer.backward_a_log, mixer.forwards.d) * F.silu(z.flip(0))).flip(0)
    elif mixer.direction == "bi_bi":
        part = mixer.backwards
        backward = scan(direction(part, x.flip(0)), part.a_log, part.d) * F.silu(z.flip(0))
        y = (y + backward.flip(0)) / 2
    return mixer.out_proj(y)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_packed_mixer_is_the_equations_clip_by_clip(direction, dtype, tolerance):
    torch.manual_seed(0)
    mixer, counts = shaken(Mixer(settings(direction=direction))).to(dtype), [1, 7, 2, 30, 3]
    x = torch.randn(sum(counts), 16, dtype=dtype, requires_grad=True)
    found = mixer(x, Places(Lengths.of(counts)))
    expected = torch.cat([plain_mixer(mixer, part) for part in x.split(counts)])
    assert difference(found, expected) < tolerance
    inputs, weights = (x, *mixer.parameters()), torch.randn_like(found)
    gradients = (torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected))
    assert all(difference(g, h) < 10 * tolerance for g, h in zip(*gradients, strict=True))


@pytest.mark.parametrize("values", CASES)
def test_packed_is_one_by_one_in_any_order_with_gradients(values):
    model, batch = build(**values), clips()
    logits = model(pack(batch))
    assert difference(logits, alone(model, batch)) < 1e-10
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1)).tolist()
    assert difference(model(pack([batch[i] for i in order])), logits[order]) < 1e-10
    weights, parameters = torch.randn_like(logits), list(model.parameters())
    found, expected = (torch.autograd.grad((y * weights).sum(), parameters) for y in (logits, alone(model, batch)))
    assert all(difference(g, h) < 1e-8 for g, h in zip(found, expected, strict=True))


@pytest.mark.parametrize("values", CASES)
def test_clips_neither_see_each_other_nor_share_gradients(values):
    model, batch = build(**values), pack(clips())
    logits = model(batch)
    batch.patches.requires_grad_()
    parts = torch.autograd.grad(model(batch)[2].square().sum(), batch.patches)[0].split(batch.seqlens)
    assert [bool(part.any()) for part in parts] == [i == 2 for i in range(len(parts))]
    with torch.no_grad():
        batch.patches[: batch.seqlens[0]] *= 100
    assert torch.equal(model(batch)[1:], logits[1:])


@pytest.mark.parametrize("values", CASES)
def test_missing_tokens_are_as_if_they_had_never_been(values):
    model = build(**values)
    batch = [c.select(torch.arange(seed % 2, len(c.patches), 2)) for seed, c in enumerate(clips())]
    assert difference(model(pack(batch)), alone(model, batch)) < 1e-10


def test_a_bi_bi_mixer_with_equal_directions_commutes_with_reversing():
    torch.manual_seed(0)
    mixer = shaken(Mixer(settings(direction="bi_bi"))).double()
    mixer.backwards.load_state_dict(mixer.forwards.state_dict())
    x, places = torch.randn(23, 16, dtype=torch.float64), Places(Lengths.of([23]))
    assert difference(mixer(x.flip(0), places), mixer(x, places).flip(0)) < 1e-10


@pytest.mark.parametrize(("direction", "causal"), [("fo_fo", True), ("fo_bi", False), ("bi_bi", False)])
def test_only_fo_fo_is_causal(direction, causal):
    torch.manual_seed(0)
    mixer, places = shaken(Mixer(settings(direction=direction))).double(), Places(Lengths.of([12]))
    x = torch.randn(12, 16, dtype=torch.float64)
    other = x.clone()
    other[7:] += 1
    assert torch.equal(mixer(x, places)[:7], mixer(other, places)[:7]) == causal


@pytest.mark.parametrize(
    ("direction", "dim", "millions"),
    [
        *[("fo_fo", 192, 6.29), ("fo_fo", 384, 23.64), ("fo_fo", 768, 91.52)],
        *[("fo_bi", 192, 6.44), ("fo_bi", 384, 23.94), ("fo_bi", 768, 92.11)],
        *[("bi_bi", 192, 7.02), ("bi_bi", 384, 25.54), ("bi_bi", 768, 97.08)],
    ],
)
def test_the_published_sizes_have_the_published_numbers_of_parameters(direction, dim, millions):
    block = MambaBlock(settings(dim=dim, d_state=16, direction=direction))
    rest = AuM(settings(dim=dim, depth=1, d_state=16, direction=direction), grid=(8, 64), classes=527)
    size = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert round((size(rest) + 23 * size(block)) / 1e6, 2) == millions


@pytest.mark.parametrize(("place", "expected"), [("first", 0), ("middle", 256), ("last", 512)])
def test_cls_is_in_each_clip_at_its_place(place, expected):
    counts = [512, 1, 2, 3]
    x = torch.arange(1.0, sum(counts) + 1)[:, None]
    joined, rows = insert_cls(x, torch.zeros(1), Lengths.of(counts), place)
    assert torch.equal(joined[joined != 0], x[:, 0])
    assert (joined[rows] == 0).all()
    assert rows[0] == expected
    begins = itertools.pairwise([0, *itertools.accumulate(n + 1 for n in counts)])
    assert all(begin <= row < after for row, (begin, after) in zip(rows.tolist(), begins, strict=True))


def test_time_order_goes_column_by_column():
    batch = pack([clip(3), clip(2)])
    order = time_major(batch)
    found = torch.stack([batch.time[order], batch.freq[order]], 1).tolist()
    assert found == [[t, f] for n in (3, 2) for t in range(n) for f in range(2)]
    assert order[:6].max() < 6


def test_positions_of_the_trained_grid_are_the_table_and_others_resized():
    model, batch = build(), pack([clip(8), clip(16), clip(4)])
    own, longer, shorter = model._positions(batch).split(batch.seqlens)
    table = model.positions.table
    assert torch.equal(own, table[0].flatten(1).T)
    for found, n in ((longer, 16), (shorter, 4)):
        resized = F.interpolate(table, size=(2, n), mode="bilinear", align_corners=False, antialias=True)
        assert torch.equal(found, resized[0].flatten(1).T)
    model.positions.cut = True
    assert torch.equal(model._positions(pack([clip(4)])), table[0, :, :, :4].flatten(1).T)


@pytest.mark.parametrize(("backward_dt", "small"), [("same", True), ("released", False)])
def test_initial_step_sizes_are_small_in_both_directions(backward_dt, small):
    model = AuM(settings(direction="bi_bi", backward_dt=backward_dt), grid=(8, 8), classes=3)
    for block in model.blocks:
        steps = [F.softplus(part.dt_proj.bias) for part in (block.mixer.forwards, block.mixer.backwards)]
        inside = [bool(((s > 0.99e-4) & (s < 0.1001)).all()) for s in steps]
        assert inside == [True, small]


def test_the_residual_and_the_parameters_of_scans_stay_in_float32_under_autocast():
    model, batch = build().float(), pack(clips())
    batch.patches = batch.patches.float()
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, x: seen.append(x.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(batch).square().sum().backward()
    assert set(seen) == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_keeps_the_contract(direction):
    subject = open_subject("aum", {"direction": direction})
    subject.longest = subject.time_patches(5.0)
    assert {result.outcome for result in check_model(subject)} <= {"passed", "not applicable"}


@pytest.mark.parametrize("order", ["frequency", "time"])
@pytest.mark.parametrize("place", [None, "first", "middle", "last"])
def test_embeddings_over_time_are_means_over_frequency_in_the_order_of_time(order, place):
    pooling = {"pooling": "mean"} if place is None else {"pooling": "cls", "cls_place": place}
    model, batch = build(order=order, **pooling), pack(clips())
    model.blocks = torch.nn.ModuleList()  # the states of a token are those of its embedding
    states = model.norm(model.patch_embed(batch.patches) + model._positions(batch)).split(batch.seqlens)
    times = batch.time.split(batch.seqlens)
    for found, x, time in zip(model.frame_embeddings(batch), states, times, strict=True):
        expected = torch.stack([x[time == t].mean(0) for t in range(int(time.max()) + 1)])
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
