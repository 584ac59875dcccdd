import pytest

from elasticast.benchmarks.storage import reading
from elasticast.config.dataset import Soundscapes
from elasticast.data.prepare import prepare
from elasticast.errors import DataError


@pytest.fixture
def data(tmp_path):
    prepare(Soundscapes(source="soundscapes", clips={"train": 6, "test": 1}, seconds=[0.3, 0.6]), tmp_path, tmp_path)
    return tmp_path


def test_every_way_is_measured_against_the_files(data):
    found = reading(data, "train", 5, [0, 1]).set_index(["read", "workers"])
    assert len(found) == 8
    for workers in (0, 1):
        assert found.loc[("files", workers), "ratio"] == found.loc[("files, log-mel", workers), "ratio"] == 1
    speeds = found["clips_per_s"]
    assert (speeds > 0).all()
    assert found.loc[("store", 0), "ratio"] == pytest.approx(speeds["store", 0] / speeds["files", 0])


def test_what_cannot_be_measured_is_one_clear_error(data):
    for split, clips in (("test", 1), ("dev", 0)):
        with pytest.raises(DataError, match=f"split '{split}' has {clips} usable clips, too few"):
            reading(data, split, 5, [0])
    for path in (data / "audio").glob("*.wav"):
        path.unlink()
    with pytest.raises(DataError, match=r"train_.*\.wav: missing; the files that were prepared have to be there"):
        reading(data, "train", 5, [0])
