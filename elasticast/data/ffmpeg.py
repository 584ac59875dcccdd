"""Read audio that libsndfile cannot read, such as AAC, WMA and videos, with ffmpeg."""

import math
import os
import re
import select
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elasticast.data.recordings import BLOCK, Recording, UnusableAudioError

OUTPUT = ("-c:a", "pcm_f32be", "-f", "au")  # float samples after a header with sample rate and channels
TIMEOUT_SECONDS = 60.0  # how long to wait for output from ffmpeg


def _command(file: int) -> list[str]:
    """The command that decodes an open file.

    Passing the file descriptor keeps ffmpeg from taking the file's name as an option, an address or a format.
    """
    # The whitelist keeps a playlist from opening network addresses.
    source = ["-protocol_whitelist", "file", "-i", f"file:/dev/fd/{file}"]
    # Without -reinit_filter, samples after a change of the rate or the channels are converted, to another level.
    options = ["-nostdin", "-v", "error", "-xerror", "-reinit_filter", "0"]
    return ["ffmpeg", *options, *source, "-map", "0:a:0", *OUTPUT, "pipe:1"]


class FfmpegTrack(Recording):
    """The first audio track of any file that ffmpeg reads.

    ffmpeg outputs float samples at the sample rate and with the channels of the track; resampling and mixing are left
    to this package. Seeking by time is exact only in some formats. Therefore decoding always starts at the first
    sample, and a span is found by counting samples.
    """

    frames = math.inf

    def __init__(self, path: Path):
        with open(path, "rb") as file:
            self._messages = os.memfd_create("messages")  # a pipe would fill up, because nothing reads it meanwhile
            self._process = subprocess.Popen(
                _command(file.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                bufsize=0,
                pass_fds=[file.fileno()],
                start_new_session=True,  # otherwise Ctrl-C would stop ffmpeg, and the file would seem damaged
            )
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        try:
            header = self._take(24)
            if len(header) < 24:
                self._check_end(begun=False)
            _, data_offset, _, _, self.rate, self.channels = struct.unpack(">4s5I", header)
            self._take(data_offset - 24)
        except BaseException:
            self.close()
            raise

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        position, frame = 0, 4 * self.channels
        while position < end and len(data := self._take(min(BLOCK, end - position) * frame)) >= frame:
            block = np.frombuffer(data, ">f4", len(data) // frame * self.channels).reshape(-1, self.channels)
            position += len(block)
            if position > begin:
                yield block[max(0, len(block) - (position - begin)) :].astype(np.float32)
        if position < end:
            self._check_end(begun=True)

    def _take(self, size: int) -> bytes:
        """Read the next `size` bytes, or fewer at the end of the output."""
        parts = []
        while size:
            if not self._poll.poll(TIMEOUT_SECONDS * 1000):
                raise UnusableAudioError("ffmpeg hangs")
            parts.append(os.read(self._process.stdout.fileno(), size))
            if not parts[-1]:
                break
            size -= len(parts[-1])
        return b"".join(parts)

    def _check_end(self, begun: bool) -> None:
        """Raise an error if ffmpeg failed. For a truncated file it may succeed and only print a message."""
        try:
            status = self._process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise UnusableAudioError("ffmpeg hangs") from None
        if status == -signal.SIGKILL:
            raise MemoryError("ffmpeg was killed")
        messages = os.pread(self._messages, 1 << 20, 0).decode(errors="replace")
        if re.search("moov atom not found|ended prematurely|partial file", messages):
            raise UnusableAudioError("truncated")
        if "Changing audio frame properties" in messages:
            raise UnusableAudioError("the sample rate or the number of channels changes within the file")
        if "matches no streams" in messages:
            raise UnusableAudioError("no audio track")
        if status or not begun:
            raise UnusableAudioError("damaged" if begun else "not audio")

    def close(self) -> None:
        """Stop ffmpeg, even if it is still decoding."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._messages)
