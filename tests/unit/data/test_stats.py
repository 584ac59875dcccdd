"""Normalisation statistics: exact, independent of the number of workers, with correct standard errors."""

import json

import numpy as np
import pytest
import torch

from elasticast.checksums import write_record
from elasticast.config import FrontEnd
from elasticast.config.dataset import DatasetConfig
from elasticast.data import stats as module
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm, read_norm
from elasticast.data.stats import RELEASED, evenly_spaced, log_mel_stats, stats_rows, write_stats
from elasticast.errors import DataError
from tests.complaints import complains

FRONT_END = FrontEnd()
EPIC = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)


def noise(samples, seed, level):
    wave = level * np.random.default_rng(seed).standard_normal(samples)
    return wave.clip(-32768, 32767).astype(np.int16)


@pytest.fixture
def store(tmp_path, write_store):
    clips = {str(i): noise(n, i, 1000 * (i + 1)) for i, n in enumerate((300, 4000, 9000, 2000, 12000))}
    store = write_store(tmp_path / "train.h5", [dict(list(clips.items())[:2]), dict(list(clips.items())[2:])])
    write_record(tmp_path / "summary.json", {"sha256": "toy"}, [store.path])
    return store


def values_of(store, front_end, clips=None):
    picked = range(len(store)) if clips is None else clips
    waveforms = [torch.from_numpy(store[i] / 32768.0).float() for i in picked]
    return torch.cat([log_mel(waveform, front_end).flatten() for waveform in waveforms]).double()


@pytest.mark.parametrize("workers", [1, 2])
def test_they_are_those_of_all_values_together(store, workers):
    values = values_of(store, FRONT_END)
    found = log_mel_stats(store, FRONT_END, workers=workers)
    assert found["mean"] == pytest.approx(values.mean().item(), rel=1e-12)
    assert found["std"] == pytest.approx(values.std(correction=0).item(), rel=1e-12)
    assert (found["values"], found["clips"], found["of"]) == (len(values), 5, 5)
    assert (found["mean_error"], found["std_error"]) == (0, 0)  # all clips were used


def test_the_number_of_processes_changes_no_bit(store):
    assert log_mel_stats(store, FRONT_END, workers=1) == log_mel_stats(store, FRONT_END, workers=3)


def test_of_the_other_front_end(tmp_path, write_store):
    store = write_store(tmp_path / "train.h5", [{"a": noise(24000, 0, 500), "b": noise(30, 1, 500)}], rate=24000)
    values, found = values_of(store, EPIC), log_mel_stats(store, EPIC)
    assert (found["mean"], found["values"]) == (pytest.approx(values.mean().item(), rel=1e-12), len(values))


def test_they_bear_a_large_offset(store, monkeypatch):
    monkeypatch.setattr(module, "log_mel", lambda waveform, _: log_mel(waveform, FRONT_END).double())
    plain = log_mel_stats(store, FRONT_END)
    monkeypatch.setattr(module, "log_mel", lambda waveform, _: log_mel(waveform, FRONT_END).double() + 1e8)
    offset = log_mel_stats(store, FRONT_END)
    assert offset["std"] == pytest.approx(plain["std"], rel=1e-6)  # a running sum of squares loses all digits here
    assert offset["mean"] - 1e8 == pytest.approx(plain["mean"], rel=1e-6)


@pytest.mark.parametrize(("clips", "total"), [(1, 1), (1, 10), (3, 10), (9, 10), (10, 10), (20_000, 1_912_134)])
def test_evenly_spaced(clips, total):
    picked = evenly_spaced(clips, total)
    assert len(picked) == len(np.unique(picked)) == clips
    assert picked[0] <= total / clips
    assert total - 1 - picked[-1] <= total / clips
    assert set(np.diff(picked)) <= {total // clips, -(-total // clips)}


def test_a_sample_is_of_its_clips_only(store):
    found = log_mel_stats(store, FRONT_END, clips=2)
    values = values_of(store, FRONT_END, [1, 3])
    assert (found["clips"], found["of"], found["values"]) == (2, 5, len(values))
    assert found["mean"] == pytest.approx(values.mean().item(), rel=1e-12)
    whole = log_mel_stats(store, FRONT_END)
    assert log_mel_stats(store, FRONT_END, clips=99) == log_mel_stats(store, FRONT_END, clips=5) == whole


def test_stated_errors_are_the_size_of_the_errors():
    rng = np.random.default_rng(0)
    counts = rng.integers(100, 5000, 3000).astype(float)
    means, deviations = rng.normal(-5, 2, 3000) - counts / 4000, rng.uniform(2, 5, 3000)  # long clips are quieter
    squares = counts * deviations**2
    whole = module._combine(counts, means, squares, 0.0)
    for clips in (30, 1500):  # 1,500 are half of all clips, which alone makes the errors smaller
        missed = {"mean": [], "std": []}
        for _ in range(300):
            some = rng.choice(3000, clips, replace=False)
            found = module._combine(counts[some], means[some], squares[some], 1 - clips / 3000)
            for name, errors in missed.items():
                errors.append((found[name] - whole[name]) / found[f"{name}_error"])
        for errors in missed.values():
            assert 0.8 < np.sqrt(np.mean(np.square(errors))) < 1.3


def test_one_clip_of_many_has_no_standard_error(store):
    found = log_mel_stats(store, FRONT_END, clips=1)
    assert (found["mean_error"], found["std_error"], found["clips"]) == (None, None, 1)


def test_a_single_clip_is_all_there_is(tmp_path, write_store):
    found = log_mel_stats(write_store(tmp_path / "train.h5", [{"a": noise(100, 0, 500)}]), FRONT_END)
    assert (found["mean_error"], found["values"]) == (0, 128)


def test_wrong_use_is_one_clear_error(tmp_path, write_store, store):
    with complains(DataError, "empty.h5"):
        log_mel_stats(write_store(tmp_path / "empty.h5", []), FRONT_END)
    with complains(DataError, "front_end.sample_rate", 24000, "train.h5", 16000):
        log_mel_stats(store, EPIC)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_part_is_one_clear_error(store, workers):
    content = bytearray(store.parts[1].read_bytes())
    content[content.index(store[3].tobytes())] ^= 1
    store.close()
    store.parts[1].write_bytes(content)
    with complains(DataError, store.parts[1]) as caught:
        log_mel_stats(store, FRONT_END, workers=workers)
    assert "Traceback" not in str(caught.value)


def test_silence_has_no_statistics(tmp_path, write_store):
    silent = {str(i): np.zeros(2000 + 7 * i, np.int16) for i in range(5)}
    store = write_store(tmp_path / "train.h5", [silent])
    for clips in (None, 1):
        with complains(DataError, "train.h5", "std", 0):
            log_mel_stats(store, FRONT_END, clips)


def test_a_changed_digit_is_an_error(store, tmp_path):
    out = tmp_path / "norm.json"
    write_stats(tmp_path, FRONT_END, out)
    text = out.read_text()
    mean = str(json.loads(text)["mean"])
    out.write_text(text.replace(mean, mean[:-3] + str((int(mean[-3]) + 1) % 10) + mean[-2:]))
    with complains(DataError, out):
        read_norm(out)


@pytest.mark.parametrize("wrong", [{"std": 0.0}, {"std": -1.0}])
def test_statistics_that_cannot_normalise_are_refused(tmp_path, wrong):
    write_record(tmp_path / "norm.json", {"mean": -4.0, "std": 4.0, "data_sha256": "toy"} | wrong)
    with complains(DataError, tmp_path / "norm.json", "std", wrong["std"]):
        read_norm(tmp_path / "norm.json")


def test_what_is_written(store, tmp_path):
    out = tmp_path / "norm.json"
    write_stats(tmp_path, FRONT_END, out, clips=2, module="vggsound")
    found = json.loads(out.read_text())
    assert found.items() >= log_mel_stats(store, FRONT_END, 2).items()
    assert (FrontEnd(**found["front_end"]), found["data_sha256"]) == (FRONT_END, "toy")
    assert read_norm(out, "toy") == Norm(found["mean"], found["std"])
    ours, elastic, _ = stats_rows("vgg", found)
    assert (ours["source"], ours["mean"], ours["clips"], ours["of"]) == ("this data", found["mean"], 2, 5)
    assert (elastic["dataset"], elastic["source"], elastic["std"]) == ("vgg", "ElasticAST", 4.453)
    assert elastic["mean_difference"] == pytest.approx(-5.08 - found["mean"])
    assert elastic["std_difference"] == pytest.approx(4.453 - found["std"])


@pytest.mark.parametrize("module_name", ["soundscapes", None, "epic_sounds"])  # the last: another front end
def test_dataset_without_released_statistics_has_one_row(store, tmp_path, module_name):
    write_stats(tmp_path, FRONT_END, tmp_path / "norm.json", module=module_name)
    found = json.loads((tmp_path / "norm.json").read_text())
    assert [row["source"] for row in stats_rows("toy", found)] == ["this data"]


def test_released_values():
    stated = {  # as the paper's repository has them, rounded to three digits
        "audioset": [(-4.414, 4.905), (-4.405, 4.902)],
        "vggsound": [(-5.08, 4.453), (-5.08, 4.453)],
        "voxceleb1": [(-5.843, 3.883), (-4.553, 4.193)],
        "epic_sounds": [(-8.661, 3.879), (-8.820, 3.779)],
    }
    modules = {source.module: source for source in DatasetConfig.__origin__.__args__}
    assert set(RELEASED) <= set(modules)
    for name, released in RELEASED.items():
        assert released.front_end.sample_rate == modules[name].model_fields["store_rate"].default
    for name, norms in stated.items():
        recipes = RELEASED[name].norms
        for recipe, (mean, std) in zip(("ElasticAST", "AST, by ElasticAST"), norms, strict=True):
            assert (round(recipes[recipe].mean, 3), round(recipes[recipe].std, 3)) == (mean, std)
