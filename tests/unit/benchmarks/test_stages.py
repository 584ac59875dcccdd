"""`elasticast bench frontend` and `sweep`: what is compared is the same."""

import pytest
import torch

from elasticast.benchmarks import stages
from elasticast.benchmarks.stages import measure_front_end, measure_sweep, torchaudio_fbank
from elasticast.config import FrontEnd
from elasticast.data.features import log_mel
from elasticast.errors import ElasticASTError

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.mark.parametrize("hop_ms", [10, 22])
def test_the_log_mel_is_that_of_torchaudio(hop_ms):
    waveform, front_end = torch.randn(16000, generator=torch.Generator().manual_seed(0)), FrontEnd(hop_ms=hop_ms)
    torch.testing.assert_close(log_mel(waveform, front_end), torchaudio_fbank(waveform, front_end).T, atol=0, rtol=0)


def test_each_length_and_way_of_the_front_end_is_a_row():
    table = measure_front_end(FrontEnd(), [0.2, 0.5], rounds=2)
    assert table[["length_s", "way"]].values.tolist() == [
        [length, way] for length in (0.2, 0.5) for way in ("torchaudio", "elasticast")
    ]
    assert (table.loc[table["way"] == "torchaudio", "speedup"] == 1).all()


def test_a_sweep_in_one_pass_is_that_of_separate_passes(tiny, prepared, monkeypatch):
    monkeypatch.setattr(stages, "SAME_LOGITS", 1e-6)
    table = measure_sweep(tiny(view={"max_frames": 128}), prepared, "test", lengths=5, clips=4, rounds=1)
    assert table["way"].tolist() == ["one pass per length", "one pass"]


def test_ways_that_differ_are_not_timed(monkeypatch):
    monkeypatch.setattr(stages, "log_mel", lambda waveform, front_end: log_mel(waveform, front_end) + 0.01)
    with pytest.raises(ElasticASTError, match="log-mels"):
        measure_front_end(FrontEnd(), [0.2], rounds=1)
