"""What a source delivers becomes plain JSON lines, or an error that says why."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.core.errors import ContractError, InputMissingError
from jobs.corpus import archive
from jobs.corpus.archive import Unpacked, unpack

LINES = b'{"id":"0704.0001"}\n{"id":"0704.0002"}\n'


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in members:
            made.writestr(name, content, method)
    return target.getvalue()


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> bytes:
    """A zip whose member says in both of its headers that it is encrypted."""
    content = bytearray(zipped(("a.json", LINES)))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


GOOD = {
    "plain": LINES,
    "byte-order mark": b"\xef\xbb\xbf" + LINES,
    "gzip": gzip.compress(LINES),
    "gzip in two members": gzip.compress(LINES[:19]) + gzip.compress(LINES[19:]),
    "zip": zipped(("readme.txt", b"hello"), ("arxiv-metadata-oai-snapshot.json", LINES)),
    "zip with a folder": zipped(("x/", b""), ("x/a.JSONL", LINES)),
    "zip without compression": zipped(("a.json", LINES), method=zipfile.ZIP_STORED),
}

BAD = {
    "array": (b' \n[{"id":"0704.0001"}]', "JSON array"),
    "array in gzip": (gzip.compress(b"[{}]"), "JSON array"),
    "UTF-16": (LINES.decode().encode("utf-16"), "UTF-16"),
    "binary": (b"PAR1\0\0\0", "binary"),
    "cut gzip": (gzip.compress(LINES)[:-9], "damaged gzip"),
    "wrong sum in gzip": (damaged(gzip.compress(LINES), -5), "damaged gzip"),
    "cut zip": (zipped(("a.json", LINES))[:-9], "damaged zip"),
    "wrong sum in zip": (damaged(zipped(("a.json", LINES), method=zipfile.ZIP_STORED), 40), "damaged zip"),
    "no member": (zipped(("a.txt", LINES)), "0 files"),
    "two members": (zipped(("a.json", LINES), ("b.jsonl", LINES)), "2 files"),
    "absolute name": (zipped(("/etc/a.json", LINES)), "leaves the archive"),
    "parent": (zipped(("x/../../a.json", LINES)), "leaves the archive"),
    "parent of Windows": (zipped(("..\\a.json", LINES)), "leaves the archive"),
    "drive": (zipped(("c:a.json", LINES)), "leaves the archive"),
    "hostile beside good": (zipped(("a.json", LINES), ("../b.txt", b"")), "leaves the archive"),
    "link": (zipped((link(), b"/etc/passwd")), "a link"),
    "encrypted": (encrypted(), "encrypted"),
    "rare method": (zipped(("a.json", LINES), method=zipfile.ZIP_LZMA), "method 14"),
}


def source(folder: Path, content: bytes) -> Path:
    path = folder / "snapshot.json"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", GOOD)
def test_every_form_becomes_the_same_lines(tmp_path: Path, form: str) -> None:
    target = io.BytesIO()
    found = unpack(source(tmp_path, GOOD[form]), target)
    assert target.getvalue() == LINES
    assert found == Unpacked(len(LINES), hashlib.sha256(LINES).hexdigest())


@pytest.mark.parametrize("fault", BAD)
def test_damaged_or_hostile_source_is_refused(tmp_path: Path, fault: str) -> None:
    content, message = BAD[fault]
    with pytest.raises(ContractError, match=message):
        unpack(source(tmp_path, content), io.BytesIO())


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_source_that_is_no_file_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputMissingError, match="missing"):
        unpack(tmp_path / name, io.BytesIO())


def test_empty_source_is_no_lines(tmp_path: Path) -> None:
    assert unpack(source(tmp_path, b""), io.BytesIO()).size_bytes == 0


@pytest.mark.parametrize("form", ["plain", "gzip", "zip"])
def test_source_over_the_size_limit_is_refused(tmp_path: Path, form: str) -> None:
    path = source(tmp_path, GOOD[form])
    assert unpack(path, io.BytesIO(), max_bytes=len(LINES)).size_bytes == len(LINES)
    with pytest.raises(ContractError, match="more than"):
        unpack(path, io.BytesIO(), max_bytes=len(LINES) - 1)


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped(("a.json", content))], ids=["gzip", "zip"])
def test_bomb_is_refused_long_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(archive, "RATIO_COUNTS_FROM_BYTES", 1 << 20)
    target = io.BytesIO()
    with pytest.raises(ContractError, match="bomb"):
        unpack(source(tmp_path, pack(b" " * (8 << 20))), target)
    assert len(target.getvalue()) < 2 << 20


def test_lines_longer_than_a_block_come_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 7)
    target = io.BytesIO()
    unpack(source(tmp_path, GOOD["zip"]), target)
    assert target.getvalue() == LINES


@pytest.mark.slow
def test_mutated_archives_fail_only_with_a_sentence(tmp_path: Path) -> None:
    rng = random.Random(1)
    n_refused = 0
    for _ in range(1500):
        content = bytearray(GOOD[rng.choice(["zip", "zip with a folder", "gzip"])])
        for _ in range(rng.choice([1, 2, 5])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            unpack(source(tmp_path, bytes(content)), io.BytesIO())
        except ContractError:
            n_refused += 1
    assert n_refused > 1000
