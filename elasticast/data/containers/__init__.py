"""Where the samples of a sound file start and end, by its own header and by the bytes that are there.

libsndfile reads what is there and says nothing if the header promised more, and believes some counts that are wrong.
:func:`locate` therefore reads the header first. The rule, for every container:

- The header gives a length that fits into the file: these bytes are the samples. What follows must be chunks, tags,
  zeros, or at most `TAIL` bytes of anything. More is refused, and so is a second recording.
- The header gives no length, or a placeholder of a program that could not go back and fill it in
  (:func:`~elasticast.data.containers.extent.is_placeholder`): the samples reach to the end of the file.
- The header gives any other length that is not there: the file is truncated.
- Compressed streams (MP3, FLAC, Ogg) are counted by the headers of their frames or pages. A count in the header of the
  file is used only if it agrees.
- Files for ffmpeg (MP4, Matroska, WMA, Flash video, AVI, WavPack, TTA, SoX, transport streams) have to be as long as
  they say, and their parts have to follow each other.
"""

from collections.abc import Callable

from elasticast.data.containers import ffmpeg_only, flac, headers, iff, mpeg, ogg, riff
from elasticast.data.containers.content import recognise
from elasticast.data.containers.extent import Extent, FileBytes, UnusableAudioError, id3_length

_MAGIC: dict[bytes, Callable[[FileBytes, int], Extent | None]] = {
    b"RIFF": riff.wav,
    b"RIFX": riff.wav,
    b"RF64": riff.wav,
    b"BW64": riff.wav,
    b"riff": riff.w64,
    b"FORM": iff.iff,
    b"caff": iff.caf,
    b".snd": headers.au,
    b"dns.": headers.au,
    b"NIST": headers.nist,
    b"Crea": headers.voc,
    b"2BIT": headers.avr,
    b"ALaw": headers.wve,
    b"MATL": headers.mat5,
    **dict.fromkeys(headers.UNSIZED, headers.unsized),
    b"fLaC": flac.flac,
    b"OggS": ogg.ogg,
    ffmpeg_only.ASF_HEADER[:4]: ffmpeg_only.asf,
    ffmpeg_only.EBML: ffmpeg_only.matroska,
    b"FLV\1": ffmpeg_only.flv,
    b"wvpk": ffmpeg_only.wavpack,
    b"TTA1": ffmpeg_only.tta,
    b".SoX": ffmpeg_only.sox,
    b"XoS.": ffmpeg_only.sox,
}


def locate(data: FileBytes) -> Extent | None:
    """Find the samples of a sound file.

    Returns
    -------
    Extent or None
        None if the container has no length that could be compared with the file, or is not known here.

    Raises
    ------
    UnusableAudioError
        truncated, empty, damaged, length unknown, several recordings in one file, data after the samples.
    """
    base = after_id3(data, 0)
    found = _MAGIC.get(data.at(base, 4))
    if found is not None:
        return found(data, base)
    if data.at(base + 4, 4) in ffmpeg_only.BOXES:
        return ffmpeg_only.mp4(data, base)
    if ffmpeg_only.is_transport_stream(data, base):
        return ffmpeg_only.transport_stream(data, base)
    if data.size - base < 4 and any(magic.startswith(data.at(base, 4)) for magic in _MAGIC):
        return None
    for read in (headers.mpc2k, headers.mat4, headers.sds):
        if extent := read(data, base):
            return extent
    known = recognise(data) is not None
    if (base or mpeg.frame(data.at(0, 3)) or not known) and (
        extent := mpeg.mp3(data, base)
    ):  # may begin within a frame
        return extent
    if base and not known:  # ffmpeg would look for the first frame after a part of the samples
        raise UnusableAudioError("damaged (an ID3 tag of a wrong size, or of an unknown format)")
    return None


def after_id3(data: FileBytes, offset: int) -> int:
    """The first byte after the ID3v2 tags that start at `offset`."""
    while (length := id3_length(data.at(offset, 10))) and offset + length <= data.size:
        offset += length
    if length:
        raise UnusableAudioError("truncated")
    return offset
