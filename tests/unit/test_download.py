import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from elasticast.data.datasets import fsdd
from elasticast.data.download import download
from elasticast.data.prepare import prepare
from elasticast.dataset_config import FsddDigits
from elasticast.errors import DataError

DIGITS = FsddDigits(source="fsdd_digits")


@pytest.fixture
def archive(published):
    """As GitHub packs it, with files that are not wanted."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        contents = {f"free-x-1.0/recordings/{name}": content for name, content in published.items()}
        contents |= {"free-x-1.0/README.md": b"x", "free-x-1.0/recordings/9_eve_0.wav": b"not of the dataset"}
        contents |= {"../../outside.wav": b"x", "free-x-1.0/recordings/../../../up.wav": b"x"}
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; breaks off every answer after `limit` bytes; notes the ranges asked for."""

    content, limit, ranges_known, with_length = b"", None, True, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges_known else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.with_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(archive, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        server.content = archive
        monkeypatch.setattr(fsdd, "URL", server.url)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def recordings_in(root):
    return {path.name: path.read_bytes() for path in (root / "fsdd" / "recordings").iterdir()}


def test_missing_recordings_are_downloaded_once(server, sums, published, tmp_path):
    root = tmp_path / "fresh"
    fsdd.fetch(DIGITS, root, tmp_path / "out")
    assert recordings_in(root) == published
    assert {path.name for path in (root / "fsdd").iterdir()} == {"recordings", ".lock"}
    assert not list(tmp_path.rglob("outside.wav"))
    assert not list(tmp_path.rglob("up.wav"))
    fsdd.fetch(DIGITS, root, tmp_path / "out")
    assert server.asked == [None]


def test_several_at_once_download_once(server, sums, published, tmp_path):
    threads = [threading.Thread(target=fsdd.ensure_recordings, args=(tmp_path / "fresh",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recordings_in(tmp_path / "fresh") == published
    assert len(server.asked) == 1


@pytest.mark.parametrize("with_length", [True, False])
def test_a_download_without_a_length(server, tmp_path, with_length):
    server.with_length = with_length
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_broken_off_download_goes_on_where_it_stopped(server, tmp_path):
    server.limit = len(server.content) // 3
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.asked == [None, *(f"bytes={k * server.limit}-" for k in (1, 2, 3))]


def test_a_part_of_an_earlier_call_is_gone_on_from(server, tmp_path):
    (tmp_path / "file.part").write_bytes(server.content[:1000])
    download(server.url, tmp_path / "file")
    assert server.asked == ["bytes=1000-"]
    assert (tmp_path / "file").read_bytes() == server.content
    assert not (tmp_path / "file.part").exists()


def test_a_server_without_ranges_is_asked_from_the_start(server, tmp_path):
    server.ranges_known = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


@pytest.mark.parametrize("extra", [0, 50])
def test_a_part_as_long_as_the_file_or_longer_starts_afresh(server, tmp_path, extra):
    (tmp_path / "file.part").write_bytes(b"x" * (len(server.content) + extra))
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_server_that_sends_nothing_more_is_an_error_and_the_part_stays(server, tmp_path):
    (tmp_path / "file.part").write_bytes(server.content[:1000])
    server.limit = 0
    with pytest.raises(DataError, match="download failed"):
        download(server.url, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == server.content[:1000]


def test_a_damaged_archive_is_removed_and_said(server, sums, published, tmp_path):
    whole = server.content
    for content in (whole[:2000] + b"\0" * 50 + whole[2050:], whole[:-3000], b"<html>no such release</html>"):
        server.content = content
        with pytest.raises(DataError, match=r"damaged.*has been removed; run again"):
            fsdd.ensure_recordings(tmp_path / "fresh")
        assert not (tmp_path / "fresh" / "fsdd" / "recordings").exists()
    server.content = whole
    fsdd.ensure_recordings(tmp_path / "fresh")
    assert recordings_in(tmp_path / "fresh") == published


def test_a_corrupted_recording_in_the_archive_is_rejected(server, sums, published, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in published.items():
            member = tarfile.TarInfo(f"x/recordings/{name}")
            content = content[:-2] + b"\1\1" if name == "5_ada_5.wav" else content
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    server.content = buffer.getvalue()
    with pytest.raises(DataError, match=r"1 of 140 clips .* 1 × checksum differs from fsdd\.sha256"):
        prepare(DIGITS, tmp_path / "fresh", tmp_path / "digits")
    assert pd.read_csv(tmp_path / "digits" / "rejected.csv")["id"].tolist() == ["5_ada_5"]


def test_offline_and_missing_is_one_error_that_says_what_to_set(sums, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fsdd, "URL", "http://127.0.0.1:9/nothing.tar.gz")
    for call in (fsdd.fetch, fsdd.annotate):
        with pytest.raises(DataError) as caught:
            call(DIGITS, tmp_path / "nowhere", tmp_path / "out")
        for part in ("nowhere/fsdd/recordings", "`data_root` in config/config.yaml", "--config data_root=",
                     "fsdd/recordings/{digit}_{speaker}_{index}.wav", "140 files", "http://127.0.0.1:9"):  # fmt: skip
            assert part in str(caught.value)


def test_a_refused_download_is_the_same_error(server, sums, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(404))
    with pytest.raises(DataError, match="404"):
        fsdd.ensure_recordings(tmp_path / "fresh")
