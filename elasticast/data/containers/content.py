"""What a file is that libsndfile does not read, by its first bytes. The name of the file does not matter."""

from typing import NamedTuple

from elasticast.data.containers.extent import FileBytes, id3_length

HEAD = 4096


class Content(NamedTuple):
    """What a file holds, and whether ffmpeg may read audio from it."""

    name: str
    audio: bool


_AUDIO = (  # first byte, text, name
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (4, b"mdat", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or WMV"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x77\x0b", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"\xfe\x7f\x01\x80", "DTS"),
    (0, b"\x1f\xff\xe8\x00", "DTS"),
    (0, b"\xff\x1f\x00\xe8", "DTS"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "TTA"),
    (0, b"TTA2", "TTA"),
    (0, b"MP+", "Musepack"),
    (0, b"MPCK", "Musepack"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"tBaK", "TAK"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"ajkg", "Shorten"),
    (0, b"FLV\1", "Flash video"),
    (8, b"AVI ", "AVI"),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b"ADIF", "AAC"),
    (0, b"\x56\xe0", "AAC"),
    (0, b"\0\0\1\xba", "MPEG video"),
    (0, b"\0\0\1\xb3", "MPEG video"),
    (0, b"caff", "CAF"),
    (0, b"OggS", "Ogg"),
    (0, b"RIFF", "RIFF"),
    (0, b"RF64", "WAV"),
    (0, b"BW64", "WAV"),
    (0, b"riff", "Wave64"),
    (0, b"FORM", "IFF"),
    (0, b".snd", "AU"),
    (0, b"fLaC", "FLAC"),
    (0, b"NIST_1A", "NIST Sphere"),
    (0, b"Creative Voice File", "VOC"),
)
_OTHER = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 file, which needs the name of a dataset"),
    (0, b"PK\3\4", "ZIP archive"),
    (0, b"PK\5\6", "ZIP archive"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"BZh", "bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (0, b"Rar!", "RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard archive"),
    (257, b"ustar", "tar archive"),
    (0, b"%PDF", "PDF"),
    (0, b"\x89PNG", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"GIF8", "GIF image"),
    (8, b"WEBP", "WebP image"),
    (0, b"\x93NUMPY", "NumPy array"),
    (0, b"SQLite format 3", "SQLite database"),
    (0, b"MThd", "MIDI, which holds notes and no sound"),
    (0, b"\x7fELF", "program"),
    (0, b"PAR1", "Parquet table"),
    (0, b"version https://git-lfs", "Git LFS pointer, without the file"),
)
_TEXTS = ((b"<!doctype html", "HTML page"), (b"<html", "HTML page"), (b"<head", "HTML page"), (b"<?xml", "XML"))


def recognise(data: FileBytes) -> Content | None:
    """Name the content of a file; None if it is unknown."""
    head = data.at(0, HEAD)
    offset = 0
    while length := id3_length(head[:10]):
        offset += length
        head = data.at(offset, HEAD)
    for texts, audio in ((_OTHER, False), (_AUDIO, True)):
        for place, text, name in texts:
            if head.startswith(text, place):
                return Content(name, audio)
    if _is_aac(head.lstrip(b"\0") if offset else head):  # zeros may follow a tag
        return Content("AAC", True)
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Content("MPEG transport stream", True)
    if not head.strip(b"\0"):
        return Content("only zero bytes" if _is_zero(data) else "begins with zero bytes", False)
    place = head.find(b"WAVEfmt ")
    if place >= 8:
        return Content(f"WAV after {place - 8} bytes of something else", False)
    return _text(head) or (Content(f"{len(head)} bytes", False) if len(head) < 12 else None)


def _is_aac(head: bytes) -> bool:
    """Whether AAC frames with ADTS headers follow each other."""
    place = 0
    for _ in range(2):
        frame = head[place : place + 7]
        if len(frame) < 7 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
            return False
        length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
        place += max(7, length)
        if place >= len(head):
            return True
    return True


def _is_zero(data: FileBytes) -> bool:
    size = 1 << 20
    return not any(data.at(offset, size).strip(b"\0") for offset in range(0, data.size, size))


def _text(head: bytes) -> Content | None:
    """A web page, JSON or other text, as servers send it instead of a file."""
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if any(not character.isprintable() and character not in "\r\n\t\f\ufeff" for character in text):
        return None
    start = text.lstrip("\ufeff \r\n\t").encode()
    for beginning, name in _TEXTS:
        if start[:20].lower().startswith(beginning):
            return Content(name, False)
    return Content("JSON" if start[:1] in (b"{", b"[") else "text", False)
