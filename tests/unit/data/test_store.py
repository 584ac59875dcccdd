"""The waveform store: reading returns what was written, in one process or several."""

import pickle
import sys
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from elasticast.data.store import Store, writing_part
from elasticast.errors import DataError
from tests.complaints import complains


def noise(samples=4000, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * 3000).astype(np.int16)


@pytest.fixture
def store(tmp_path, write_store):
    clips = {f"clip {i} é": noise(1 + 37 * i, seed=i) for i in range(8)}
    names = list(clips)
    parts = [{name: clips[name] for name in some} for some in (names[:3], [], names[3:7], names[7:])]
    return write_store(tmp_path / "s.h5", parts, rate=24000), clips


def test_store_gives_back_what_was_written(store):
    reader, clips = store
    assert (len(reader), reader.sample_rate) == (8, 24000)
    assert reader.ids == list(clips)
    assert reader.lengths.tolist() == [len(samples) for samples in clips.values()]
    for i, samples in enumerate(clips.values()):
        assert reader[i].dtype == np.int16
        np.testing.assert_array_equal(reader[i], samples)
    with complains(IndexError, 8):
        reader[8]


def test_store_layout_is_the_documented_one(store):
    with h5py.File(store[0].path) as file:
        assert file.attrs["sample_rate"] == 24000
        assert (file["offsets"].dtype, file["first"][:].tolist()) == (np.int64, [0, 3, 3, 7])
        assert file["id"].asstr()[1] == "clip 1 é"
        parts = file["parts"].asstr()[:].tolist()
    with h5py.File(store[0].path.parent / parts[2]) as file:
        assert (file["audio"].dtype, file["offsets"].dtype) == (np.int16, np.int64)
        assert file["offsets"][-1] == len(file["audio"])


def test_a_store_can_be_moved_with_its_parts(store, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in tmp_path.glob("s*.h5"):
        path.rename(moved / path.name)
    np.testing.assert_array_equal(Store(moved / "s.h5")[7], list(store[1].values())[7])


def test_a_missing_part_is_an_error_and_no_silence(store):
    reader, _ = store
    reader.parts[2].unlink()
    with complains(DataError, "s.h5", 1, 4, "s-2.h5"):
        Store(reader.path)


def test_an_interrupted_writer_leaves_no_part(tmp_path):
    def interrupted():
        with writing_part(tmp_path / "p.h5", 16000) as writer:
            writer.append(noise())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store(tmp_path, write_store):
    reader = write_store(tmp_path / "s.h5", [])
    assert (len(reader), reader.ids, reader.lengths.tolist()) == (0, [], [])


def test_no_store_is_one_clear_error(tmp_path):
    with complains(DataError, "none.h5"):
        Store(tmp_path / "none.h5")


def _read_often(reader, index, queue):
    queue.put(sum(int(reader[index].astype(int).sum()) for _ in range(200)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_store_is_read_by_several_processes_at_once(store, method):
    """Even if the parent process has already opened the store."""
    if method == "fork" and sys.platform != "linux":
        pytest.skip("fork is used on Linux only")
    reader, clips = store
    reader[0]
    context = get_context(method)
    queue = context.Queue()
    children = [context.Process(target=_read_often, args=(reader, 7, queue)) for _ in range(2)]
    for child in children:
        child.start()
    expected = 200 * int(list(clips.values())[7].astype(int).sum())
    _ = [reader[i] for i in range(8)]
    assert [queue.get(timeout=60) for _ in children] == [expected] * 2
    for child in children:
        child.join()


def test_a_pickled_store_carries_no_open_file(store):
    reader, _ = store
    reader[0]
    copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(copy[3], reader[3])
