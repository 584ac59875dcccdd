"""Every planted fault is found by the check it belongs to, and an encoder without faults passes."""

import pytest
import torch

from elasticast.audit import consistency, cost, length, sampling
from elasticast.audit.clips import built_in
from elasticast.audit.cost import flops
from elasticast.audit.signals import to_length
from elasticast.audit.subject import Purse, Speed, Subject
from tests.unit.audit import planted

BATCHES = (
    "the same clip twice",
    "in a batch of one length",
    "in a batch of several lengths",
    "in another order",
    "a short clip in a batch with one of 10 s",
    "a quiet clip in a batch with a loud one",
)
LONG = Purse(1e6)


@pytest.fixture(scope="module")
def clips():
    return built_in(12)


@pytest.fixture
def subject(clips):
    def build(kind):
        subject = Subject(kind(), clips, 10)
        subject.refer(LONG)
        return subject

    return build


def statuses(subject):
    return {finding.what: finding.status for finding in subject.findings}


def values(subject, metric, **where):
    return {
        row["x"]: row["value"]
        for row in subject.rows
        if row["metric"] == metric and all(row[key] == value for key, value in where.items())
    }


def test_an_encoder_without_faults_passes_all_batches(subject):
    honest = subject(planted.Honest)
    consistency.check(honest, LONG)
    assert {statuses(honest)[what] for what in BATCHES} == {"pass"}


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (planted.Padded, {"in a batch of several lengths", "a short clip in a batch with one of 10 s"}),
        (planted.LoudnessOfBatch, {"a quiet clip in a batch with a loud one"}),
        (planted.OrderOfBatch, {"in another order", "in a batch of one length"}),
        (planted.Forgetful, set(BATCHES)),
    ],
)
def test_a_planted_fault_of_batches_fails_its_checks(subject, kind, found):
    faulty = subject(kind)
    consistency.check(faulty, LONG)
    assert found <= {what for what, status in statuses(faulty).items() if status == "fail"}


def test_padding_passes_where_nothing_is_padded(subject):
    padded = subject(planted.Padded)
    consistency.check(padded, LONG)
    clean = set(BATCHES) - {"in a batch of several lengths", "a short clip in a batch with one of 10 s"}
    assert {statuses(padded)[what] for what in clean} == {"pass"}


def test_silence_and_shifts_are_measured_at_every_amount(subject):
    honest = subject(planted.Honest)
    consistency.check(honest, LONG)
    drifts = values(honest, "drift_median", case="silence appended")
    assert list(drifts) == [0.1, 1.0, 5.0]
    assert drifts[0.1] < drifts[1.0] < drifts[5.0]
    assert statuses(honest)["start cut off by less than a patch"] == "pass"


# ---------------------------------------------------------------------------------------------
# Length
# ---------------------------------------------------------------------------------------------


def limits_of(subject, kind):
    found = subject(kind)
    found.speed.points = {1.0: 1e-3, 600.0: 1e-2}
    length.limits(found, LONG)
    return found


def test_the_shortest_input_is_found_to_the_sample_with_the_reason_below(subject):
    honest = limits_of(subject, planted.Honest)
    assert values(honest, "samples", case="shortest input").popitem()[1] == planted.FRAME
    assert any("shorter than a frame" in finding.text for finding in honest.findings)


def test_input_that_is_cut_in_silence_is_found(subject):
    cut = limits_of(subject, planted.CutInSilence)
    assert statuses(cut)["longest input"] == "warn"
    assert values(cut, "seconds", case="longest input").popitem()[1] == pytest.approx(2.0, abs=length.CUT_SECONDS)


def test_input_that_is_refused_is_found_with_the_error(clips):
    short = Subject(planted.AtMostThreeSeconds(), clips, 10)
    short.refer(LONG)
    assert max(map(len, short.waves)) == 2 * planted.RATE  # 4 s are refused, too
    assert any("RuntimeError" in text for text in short.untried)
    short.speed.points = {1.0: 1e-3, 600.0: 1e-2}
    length.limits(short, LONG)
    assert values(short, "seconds", case="longest input").popitem()[1] == pytest.approx(3.0, abs=length.CUT_SECONDS)
    assert any("RuntimeError: the size of tensor a" in finding.text for finding in short.findings)
    assert "\n" not in "".join(finding.text for finding in short.findings)


def test_input_that_is_used_to_its_end_has_no_limit(subject):
    assert statuses(limits_of(subject, planted.Honest))["longest input"] == "pass"


def test_agreement_is_perfect_at_full_length_and_worse_for_shorter_clips(subject, monkeypatch):
    monkeypatch.setattr(length, "LENGTHS", (0.25, 1.0, 4.0, 16.0, 64.0))
    honest = subject(planted.Honest)
    length.check(honest, LONG)
    drifts = values(honest, "drift_median", check="length")
    assert drifts[0.25] > drifts[1.0] > drifts[4.0]
    assert max(drifts[x] for x in drifts if x >= 16) < 0.5  # a repeated clip has the same mean
    assert set(values(honest, "score", case="cut")) >= {0.25, 4.0}


def test_a_needle_is_diluted_by_the_mean_and_not_by_the_maximum(subject, monkeypatch):
    monkeypatch.setattr(length, "HAYSTACKS", (10.0, 30.0, 120.0))
    monkeypatch.setattr(length, "MOST_NEEDLES", 3)
    mean, maximum = subject(planted.Honest), subject(planted.Loudest)
    for found in (mean, maximum):
        length.needles(found, LONG)
    diluted, kept = (values(found, "response", case="1 s") for found in (mean, maximum))
    assert diluted[120.0] == pytest.approx(diluted[30.0] / 4, rel=0.2)
    assert kept[120.0] > 0.7 * kept[10.0]
    assert statuses(mean)["an event of 1 s in a long background"] != "pass"
    assert statuses(maximum)["an event of 1 s in a long background"] == "pass"


# ---------------------------------------------------------------------------------------------
# Sampling and cost
# ---------------------------------------------------------------------------------------------


def test_lower_sample_rates_are_further_away(subject):
    honest = subject(planted.Honest)
    sampling.check(honest, LONG)
    drifts = values(honest, "drift_median", case="sample rate")
    assert drifts[16000] == 0 < drifts[8000] < drifts[4000]
    assert values(honest, "drift_median", case="telephone file")[8000] > 0
    assert set(values(honest, "drift_median", case="a longer hop")) == {20.0}


def test_a_fixed_hop_is_not_applicable(subject, monkeypatch):
    monkeypatch.setattr(planted.Honest, "compressions", (1.0,))
    fixed = subject(planted.Honest)
    sampling.check(fixed, LONG)
    assert statuses(fixed)["a longer hop"] == "none"


@pytest.mark.parametrize(("kind", "power"), [(planted.Linear, 1), (planted.Quadratic, 2)])
def test_the_exponent_of_operations_is_that_of_the_encoder(clips, kind, power):
    measured = Subject(kind(), clips, 10)
    counts = [flops(measured.encoder, to_length(clips.waves[0], s * planted.RATE)) for s in (4, 8, 16)]
    assert counts[1] / counts[0] == pytest.approx(2**power, rel=0.02)
    assert counts[2] / counts[1] == pytest.approx(2**power, rel=0.02)


def test_operations_are_those_of_the_formula():
    encoder = planted.Linear()
    frames = 100  # of one second
    assert flops(encoder, torch.randn(planted.RATE)) == 2 * frames * planted.BANDS * 64 + 2 * planted.BANDS * 5


def test_attention_is_counted():
    class Attending(planted.Honest):
        def embed(self, waveforms, compression):
            (b,) = [self.bands(wave)[None, None] for wave in waveforms]
            return nn_attention(b, b, b)[0].mean(1)

    nn_attention = torch.nn.functional.scaled_dot_product_attention
    assert flops(Attending(), torch.randn(planted.RATE)) == 4 * 100 * 100 * planted.BANDS + 2 * planted.BANDS * 5


def test_what_the_budget_does_not_allow_is_named(clips):
    measured = Subject(planted.Honest(), clips, 10)
    cost.check(measured, Purse(0.05))
    assert any("--budget" in text for text in measured.untried)


def test_time_is_interpolated_and_extrapolated_by_its_exponent():
    speed = Speed()
    assert speed.estimate(3.0) == 3.0
    speed.points = {1.0: 1.0, 2.0: 2.0, 4.0: 8.0}
    assert speed.estimate(2.0) == pytest.approx(2.0)
    assert speed.estimate(0.5) == pytest.approx(1.0)
    assert speed.estimate(8.0) == pytest.approx(32.0)
    speed.points = {1.0: 1.0, 2.0: 100.0}
    assert speed.estimate(4.0) == pytest.approx(400.0)  # at most quadratic
