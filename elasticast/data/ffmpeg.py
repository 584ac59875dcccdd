"""Audio that only ffmpeg reads: AAC, WMA, videos and much else."""

import math
import os
import re
import select
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elasticast.data.recordings import BLOCK, Recording, UnusableAudioError

OUTPUT = ("-c:a", "pcm_f32be", "-f", "au")  # floats, after a header that tells rate and channels
PATIENCE_SECONDS = 60.0  # without a byte from ffmpeg
# Files with these names are never sound files to libsndfile; of others the content decides.
NEED_FFMPEG = {
    *(".mp4", ".m4a", ".m4v", ".mov", ".3gp", ".mkv", ".mka", ".webm", ".avi", ".flv", ".ts", ".mpg", ".mpeg"),
    *(".aac", ".ac3", ".amr", ".wma", ".wmv", ".asf"),
}


def _command(file: int) -> list[str]:
    """The command that decodes an open file, so that its name is no option and no address, and tells no format."""
    source = ["-protocol_whitelist", "file", "-i", f"file:/dev/fd/{file}"]  # a playlist leads to no network
    return ["ffmpeg", "-nostdin", "-v", "error", "-xerror", *source, "-map", "0:a:0", *OUTPUT, "pipe:1"]


class FfmpegTrack(Recording):
    """The first audio track of any file that ffmpeg reads, from its first sample on.

    It comes as float samples of its own rate and channels, so that resampling and mixing are ours. A span is counted
    in samples, for seeking by time is exact in some formats only: what comes before it is decoded, too.
    """

    frames = math.inf

    def __init__(self, path: Path):
        with open(path, "rb") as file:
            self._messages = os.memfd_create("messages")  # a pipe that nobody reads would fill up
            self._process = subprocess.Popen(
                _command(file.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                bufsize=0,
                pass_fds=[file.fileno()],
                start_new_session=True,  # Ctrl-C would end it as if its file were damaged
            )
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        try:
            header = self._take(24)
            if len(header) < 24:
                self._check_end(begun=False)
            _, place, _, _, self.rate, self.channels = struct.unpack(">4s5I", header)
            self._take(place - 24)
        except BaseException:
            self.close()
            raise

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        place, frame = 0, 4 * self.channels
        while place < end and len(data := self._take(min(BLOCK, end - place) * frame)) >= frame:
            block = np.frombuffer(data, ">f4", len(data) // frame * self.channels).reshape(-1, self.channels)
            place += len(block)
            if place > begin:
                yield block[max(0, len(block) - (place - begin)) :].astype(np.float32)
        if place < end:
            self._check_end(begun=True)

    def _take(self, size: int) -> bytes:
        """The next bytes; fewer at the end only."""
        parts = []
        while size:
            if not self._poll.poll(PATIENCE_SECONDS * 1000):
                raise UnusableAudioError("ffmpeg hangs")
            parts.append(os.read(self._process.stdout.fileno(), size))
            if not parts[-1]:
                break
            size -= len(parts[-1])
        return b"".join(parts)

    def _check_end(self, begun: bool) -> None:
        """Raise the reason why ffmpeg ended; of a file that was cut short it may only complain."""
        try:
            status = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise UnusableAudioError("ffmpeg hangs") from None
        messages = os.pread(self._messages, 1 << 20, 0).decode(errors="replace")
        if re.search("moov atom not found|ended prematurely|partial file", messages):
            raise UnusableAudioError("truncated")
        if "matches no streams" in messages:
            raise UnusableAudioError("no audio track")
        if status or not begun:
            raise UnusableAudioError("damaged" if begun else "not audio")

    def close(self) -> None:
        """End ffmpeg, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._messages)
