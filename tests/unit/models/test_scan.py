"""The selective scan is a plain loop over the tokens, and clips do not meet in it."""

import pytest
import torch
import torch.nn.functional as F

from elasticast.models.scan import selective_scan


def loop(u, delta, a, b, c, first):
    """The definition, token by token."""
    h, outputs = torch.zeros_like(a), []
    for t in range(len(u)):
        h = torch.zeros_like(a) if first[t] else h
        h = torch.exp(delta[t][:, None] * a) * h + (delta[t] * u[t])[:, None] * b[t]
        outputs.append(h @ c[t])
    return torch.stack(outputs)


def draw(tokens, dtype=torch.float64, channels=5, states=4, seed=0):
    torch.manual_seed(seed)
    u, delta = torch.randn(2, tokens, channels, dtype=dtype)
    b, c = torch.randn(2, tokens, states, dtype=dtype)
    a = -torch.arange(1, states + 1, dtype=dtype).repeat(channels, 1)
    first = torch.rand(tokens) < 0.1
    first[0] = True
    return [x.requires_grad_() for x in (u, F.softplus(delta).detach(), a, b, c)], first


def worst(found, expected):
    return max(((x - y).abs().max() / y.abs().max()).item() for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 16, 50, None])
@pytest.mark.parametrize("tokens", [1, 2, 3, 50, 131])
def test_a_scan_is_a_loop_in_values_and_gradients(tokens, chunk, dtype, tolerance):
    inputs, first = draw(tokens, dtype)
    found, expected = selective_scan(*inputs, first, chunk=chunk), loop(*inputs, first)
    assert worst([found], [expected]) < tolerance
    weights = torch.randn_like(expected)
    found, expected = (torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True) for y in (found, expected))
    given = [i for i, gradient in enumerate(expected) if gradient.abs().max() > 0]
    assert worst([found[i] for i in given], [expected[i] for i in given]) < 10 * tolerance


def test_fast_decay_neither_overflows_nor_hides_the_input():
    inputs, first = draw(300, torch.float32, states=16)
    y = selective_scan(inputs[0], 20 * inputs[1], *inputs[2:], first)
    assert torch.allclose(y, loop(inputs[0], 20 * inputs[1], *inputs[2:], first), rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(y.square().sum(), inputs)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_gradients_are_those_of_finite_differences():
    inputs, first = draw(9, channels=2, states=3)
    assert torch.autograd.gradcheck(lambda *x: selective_scan(*x, first, chunk=4), inputs)


def test_no_value_passes_between_clips():
    inputs, first = draw(60)
    first[:] = False
    first[[0, 17, 41]] = True
    y = selective_scan(*inputs, first, chunk=8)
    reached = torch.autograd.grad(y[17:41].square().sum(), inputs[0])[0].abs().sum(1) > 0
    assert reached[17:41].all()
    assert not reached[:17].any()
    assert not reached[41:].any()
    other = [x.detach().clone() for x in inputs]
    for i in (0, 1, 3, 4):
        other[i][:17] = other[i][:17].abs() * 100
    assert torch.equal(selective_scan(*other, first, chunk=8)[17:], y[17:])


def test_states_stay_in_float32_under_autocast():
    inputs, first = draw(40, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(*(x.bfloat16() if i in (0, 3, 4) else x for i, x in enumerate(inputs)), first)
        exact = selective_scan(*inputs, first)
    assert y.dtype == torch.float32
    assert torch.equal(exact, selective_scan(*inputs, first))
    assert worst([y], [exact]) < 2e-2
