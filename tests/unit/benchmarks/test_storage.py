import pytest

from elasticast.benchmarks import storage
from elasticast.config.dataset import Soundscapes
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.errors import DataError
from tests.complaints import complains

WAYS = ("files", "files, log-mel", "store", "store, log-mel")


@pytest.fixture
def data(tmp_path):
    prepare(Soundscapes(source="soundscapes", clips={"train": 6, "test": 1}, seconds=[0.3, 0.6]), tmp_path, tmp_path)
    return tmp_path


def test_speeds_are_those_of_the_best_round_and_ratios_are_to_the_files(data, monkeypatch):
    """With a clock that gives each call its time: the later, the faster, but for a disturbed last round."""
    asked = []

    def timed(way, order, processes):
        asked.append(processes)
        seconds = 100.0 if len(asked) > 16 else 1 / len(asked)
        return seconds, sum(way[clip] for clip in order)

    monkeypatch.setattr(storage, "_timed", timed)
    found = storage.measure_reading(data, "train", 6, [0, 1]).set_index(["read", "workers"])
    assert asked == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert set(found.index) == {(way, workers) for way in WAYS for workers in (0, 1)}
    # the second round's calls 9 to 16 are the best: files, store, files with log-mel, store with log-mel
    second = {("files", 0): 9, ("store", 0): 10, ("files, log-mel", 0): 11, ("store, log-mel", 0): 12}
    second |= {(way, 1): call + 4 for (way, _), call in second.items()}
    audio = Store(data / "train.h5").lengths.sum() / 16000
    for (way, workers), call in second.items():
        row = found.loc[(way, workers)]
        assert row["clips_per_s"] == pytest.approx(6 * call)
        assert row["times_real_time"] == pytest.approx(audio * call)  # files and store hold the same samples
        assert row["ratio"] == pytest.approx(call / second[way.replace("store", "files"), workers])


@pytest.mark.parametrize("processes", [0, 1])
def test_the_first_clip_is_read_before_the_clock_starts_and_made_up_for(processes):
    class Clips:
        def __getitem__(self, index):
            return 100

        def __len__(self):
            return 5

    seconds, samples = storage._timed(Clips(), [3, 0, 4, 1, 2], processes)
    assert samples == 500
    assert seconds > 0


def test_what_cannot_be_measured_is_one_clear_error(data):
    for split, clips in (("test", 1), ("dev", 0)):
        with complains(DataError, data, split, clips):
            storage.measure_reading(data, split, 5, [0])
    for path in (data / "audio").glob("*.wav"):
        path.unlink()
    with complains(DataError, data / "audio", ".wav", "missing"):
        storage.measure_reading(data, "train", 5, [0])
