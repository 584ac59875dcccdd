"""Random bytes in headers: the right samples, or a reason; never another error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elasticast.data.containers.extent import TAIL
from tests.fuzz import tries
from tests.unit.data.sounds import LENGTH, prepared, tone, written

KINDS = [
    *[("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16")],
    *[("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("CAF", "PCM_16")],
    *[("CAF", "ALAC_16"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("SVX", "PCM_16"), ("FLAC", "PCM_16")],
    *[("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
]
# Bytes of the header that give a length; others may rightly change the number of samples.
LENGTHS = {
    "WAV": [*range(4, 8), *range(40, 44)],
    "AIFF": [*range(4, 8), *range(22, 26), *range(42, 46)],
    "AU": [*range(8, 12)],
    "FLAC": [*range(22, 26)],
}
byte = st.one_of(st.sampled_from([0, 255, 127, 128]), st.integers(0, 255))
slow = settings(
    max_examples=tries(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_changed_header_ends_with_samples_or_a_reason(tmp_path, kind, subtype):
    content = written(kind, subtype)
    header = min(len(content), 1100 if kind == "NIST" else 200)

    @slow
    @given(st.lists(st.tuples(st.integers(0, header - 1), byte), min_size=1, max_size=4))
    def check(changes):
        wrong = bytearray(content)
        for place, value in changes:
            wrong[place] = value
        found = prepared(tmp_path / "clip", bytes(wrong))
        assert isinstance(found, str | np.ndarray)

    check()


@pytest.mark.parametrize("kind", list(LENGTHS))
def test_a_wrong_length_leaves_nothing_out(tmp_path, kind):
    content = written(kind)

    @slow
    @given(st.lists(st.tuples(st.sampled_from(LENGTHS[kind]), byte), min_size=1, max_size=8))
    def check(changes):
        wrong = bytearray(content)
        for place, value in changes:
            wrong[place] = value
        found = prepared(tmp_path / "clip", bytes(wrong))
        if not isinstance(found, str):
            assert LENGTH - TAIL // 2 <= len(found) <= LENGTH
            np.testing.assert_array_equal(found, tone()[: len(found)])

    check()


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_changed_body_of_a_stream_with_checksums_is_detected(tmp_path, kind, subtype):
    content = written(kind, subtype)
    whole = prepared(tmp_path / "clip", content)

    @slow
    @given(st.integers(0, len(content) - 1), st.integers(0, 7))
    def check(place, bit):
        wrong = bytearray(content)
        wrong[place] ^= 1 << bit
        found = prepared(tmp_path / "clip", bytes(wrong))
        if not isinstance(found, str) and place > 8000:
            np.testing.assert_array_equal(found, whole)

    check()


@slow
@given(
    st.binary(max_size=3000),
    st.sampled_from([b"", b"RIFF", b"FORM", b"OggS", b"fLaC", b"caff", b"ID3\4", b"\xff\xfb\x90"]),
)
def test_random_bytes(tmp_path, text, magic):
    found = prepared(tmp_path / "clip", magic + text)
    assert isinstance(found, str | np.ndarray)
