"""A lake on a store, with a mirror of it in a folder of this machine.

The mirror says in MIRROR.json what it stands for. Parts are immutable, so a file whose sha256 is right in the mirror
is never fetched again; pointers and LAKE.json are always the store's. Everything in a mirror may be deleted while no
job runs.

On the store a part's files carry their sha256 in their name (`<key12>/<sha12>/<file>`): machines hold no lock
together, and two that make one key at once would else write over each other's bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.disk import Disk, Found
from jobs.core.errors import IntegrityError, SupersededError, TryAgainError
from jobs.core.manifest import CURRENT_FILE, KEY_LENGTH, LOCK_FILE, MANIFEST_FILE
from jobs.core.store import Listed, Seen, Store, is_store, store_address

MARKER = "MIRROR.json"
FOLDER_VARIABLE = "LAKE_MIRROR"  # the folder of all mirrors of this machine
PDF_FILES = "pdfs/_files"
CONNECTIONS = 16  # manifests fetched at once: they are small, and a lake has hundreds
FETCH_WAIT_S = 3600.0  # for another process of this machine that is fetching the same file
_KEY = f"[0-9a-f]{{{KEY_LENGTH}}}"
_OBJECT_OF_PART = re.compile(rf"(.*/{_KEY})/{_KEY}/(.*)")
_OBJECT_IN_PART = re.compile(
    rf"(?P<part>[^/]+(?:/[^/]+){{1,2}}?)/(?:(?P<content>(?:_work/)?{_KEY})/.*|CURRENT|SEEN\.json)"
)


def disk_of(address: str | os.PathLike[str]) -> Disk:
    """The files of the lake with this address: a folder, a store, or the mirror of one."""
    if not is_store(address):
        return _mirror_in(Path(address)) or Disk(Path(address))
    address = store_address(address)
    root = mirror_folder(address)
    if not (root / MARKER).is_file():
        durable.make_dirs(root)
        durable.write_atomic(root / MARKER, durable.pretty_json({"address": address}))
    return Mirror(root, Store(address))


def disk_at(path: Path) -> Disk:
    """What a file or folder of some lake lies on."""
    return next((found for folder in (path, *path.parents) if (found := _mirror_in(folder))), None) or Disk(path)


def here(spelled: str) -> Path:
    """The place on this machine of what `Disk.spelled` names."""
    if not is_store(spelled):
        return Path(spelled)
    address, _, name = spelled.rpartition("//")
    return disk_of(address).root / name


def mirror_folder(address: str) -> Path:
    """Where the mirror of a store's lake lies: below LAKE_MIRROR, else the user's folder for caches."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get(FOLDER_VARIABLE) or f"{cache}/spark-arxiv/mirrors").expanduser().resolve()
    return folder / f"{address.rpartition('/')[2]}-{durable.sha256_bytes(address.encode())[:KEY_LENGTH]}"


def _mirror_in(root: Path) -> Mirror | None:
    try:
        told = json.loads((root / MARKER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Mirror(root, Store(told["address"]))


class Mirror(Disk):
    """A folder of this machine that stands for a lake on a store."""

    is_one_folder = False
    sees_all_writers = False

    def __init__(self, root: Path, store: Store) -> None:
        super().__init__(root)
        self._store = store
        self._ahead: dict[str, Seen | None] = {}

    @property
    def address(self) -> str:
        """The store's address."""
        return self._store.address

    def look(self, name: str) -> Seen | None:
        """The store's object: another machine may have replaced it."""
        return self._ahead.pop(name) if name in self._ahead else self._store.read(name)

    @contextlib.contextmanager
    def looking_ahead(self, names: Iterable[str]) -> Iterator[None]:
        """Read them at one time: one after the other, a year of windows would cost a minute."""
        names = list(dict.fromkeys(names))
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            self._ahead = dict(zip(names, executor.map(self._store.read, names), strict=True))
        try:
            yield
        finally:
            self._ahead = {}

    def write(self, name: str, content: bytes) -> None:
        """Replace an object, and its copy here for whoever only looks."""
        self._store.write(name, content)
        super().write(name, content)

    def swap(self, name: str, content: bytes, seen: Seen | None) -> bool:
        """Compare and swap: False if another machine was faster."""
        is_ours = self._store.swap(name, content, seen)
        if is_ours:
            super().write(name, content)
        return is_ours

    def size_of(self, name: str) -> int | None:
        """What the store says; what only the mirror still has is gone for everybody else."""
        found = self._store.find(name)
        return found.size_bytes if found else None

    def published(self, dataset: str) -> list[str]:
        """Parts whose pointer the store has."""
        names = (one.name.removeprefix(f"{dataset}/") for one in self._listed(dataset))
        return sorted(name.removesuffix(f"/{CURRENT_FILE}") for name in names if name.endswith(f"/{CURRENT_FILE}"))

    def fetch(self, path: Path, size_bytes: int, sha256: str, *, by_size: bool = False) -> None:
        """Have a file here: verified, or fetched and verified."""
        self._fetch(self._name(path), path, size_bytes, sha256, by_size=by_size)

    def fetch_of_part(self, folder: Path, file: str, listed: dict[str, Any], *, by_size: bool = False) -> None:
        """The same. Raises TryAgainError if another machine made the part anew, with other bytes under its key."""
        name, size_bytes, sha256 = self._object_of(folder, file, listed["sha256"]), listed["bytes"], listed["sha256"]
        try:
            self._fetch(name, folder / file, size_bytes, sha256, by_size=by_size)
        except IntegrityError as error:
            now = self._store.read(f"{self._name(folder)}/{MANIFEST_FILE}")
            if now is None or now.content == (folder / MANIFEST_FILE).read_bytes():
                raise
            self.forget(folder)
            raise TryAgainError(f"{self.address}/{self._name(folder)} was made anew. Run this again.") from error

    def _object_of(self, folder: Path, file: str, sha256: str) -> str:
        return f"{self._name(folder)}/{sha256[:KEY_LENGTH]}/{file}"

    def _fetch(self, name: str, path: Path, size_bytes: int, sha256: str, *, by_size: bool) -> None:
        if _is_right(path, size_bytes, None if by_size else sha256):
            return
        durable.make_dirs(path.parent)
        with durable.locked(self.root / "_fetching" / f"{sha256[:KEY_LENGTH]}.lock", FETCH_WAIT_S):
            if _is_right(path, size_bytes, sha256):  # another process fetched it while we waited
                return
            with durable.replacing(path) as file:
                if (found := self._store.download(name, file)) != sha256:
                    said = "is missing" if found is None else f"has sha256 {found[:12]}…, expected {sha256[:12]}…"
                    raise IntegrityError(
                        f"{self.address}/{name} {said}. Remove the CURRENT object of its part and run its stage again, "
                        "or copy the part from another lake."
                    )

    def fetch_manifest(self, folder: Path) -> None:
        """Fetch it once: a part that was published stays as it is."""
        if (folder / MANIFEST_FILE).is_file():
            return
        if seen := self._store.read(f"{self._name(folder)}/{MANIFEST_FILE}"):
            durable.make_dirs(folder)
            durable.write_atomic(folder / MANIFEST_FILE, seen.content)

    def pull(self, folder: Path) -> None:
        """Fetch what other machines left of the work; a file of it never changes under its name."""
        for one in self._store.list(self._name(folder)):
            path = self.root / one.name
            if path.is_file():
                continue
            durable.make_dirs(path.parent)
            with contextlib.suppress(FileNotFoundError), durable.replacing(path) as file:
                if self._store.download(one.name, file) is None:  # its writer has just published
                    raise FileNotFoundError(one.name)

    def push(self, path: Path) -> None:
        """Put a file under its own name."""
        self._store.write(self._name(path), path)

    def is_begun(self, folder: Path) -> bool:
        """Whether the store has such a part. The mirror's copy is forgotten, so that the store's is looked at."""
        self.forget(folder)
        return self.has(f"{self._name(folder)}/{MANIFEST_FILE}")

    def place(self, written: Path, folder: Path) -> None:
        """Upload the files, the manifest last; they stay here. Raises SupersededError if another machine was faster."""
        name = self._name(folder)
        content = (written / MANIFEST_FILE).read_bytes()
        for file, listed in json.loads(content)["files"].items():
            self._store.write(self._object_of(folder, file, listed["sha256"]), written / file)
        if not self._store.swap(f"{name}/{MANIFEST_FILE}", content, None):
            raise SupersededError(
                f"{self.address}/{name} was published by another machine meanwhile. Run the stage again: it may find "
                "its work done."
            )
        durable.publish_dir(written, folder)

    def forget(self, folder: Path) -> None:
        """Drop the mirror's copy."""
        if folder.exists():
            super().remove(folder)

    def remove(self, path: Path) -> None:
        """Remove it from the store, a part's manifest first, then from here."""
        names = [one.name for one in self._objects(path)]
        self._store.remove(name for name in names if name.endswith(f"/{MANIFEST_FILE}"))
        self._store.remove(name for name in names if not name.endswith(f"/{MANIFEST_FILE}"))
        if path.exists():
            super().remove(path)

    def refresh(self) -> None:
        """Make folders for what the store has, and fetch the manifests that are not here yet."""
        names = [one.name for one in self._listed("")]
        for found in filter(None, map(_OBJECT_IN_PART.fullmatch, names)):
            folder = self.root / found["part"]
            (folder / (found["content"] or "")).mkdir(parents=True, exist_ok=True)
            (folder / LOCK_FILE).touch()
        folders = [(self.root / name).parent for name in names if name.endswith(f"/{MANIFEST_FILE}")]
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            list(executor.map(self.fetch_manifest, folders))

    def files(self, path: Path) -> list[Found]:
        """What the store has of the path, whether or not it was fetched."""
        return [
            Found(self.root / _OBJECT_OF_PART.sub(r"\1/\2", one.name), one.size_bytes, one.changed_at.timestamp())
            for one in self._objects(path)
        ]

    def spelled(self, path: Path) -> str:
        """Address and name, parted by two slashes."""
        return f"{self.address}//{self._name(path)}"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _objects(self, path: Path) -> list[Listed]:
        """The object of this name, or all below it."""
        itself = self._store.find(self._name(path))
        return [itself] if itself else list(self._store.list(self._name(path)))

    def _listed(self, prefix: str) -> Iterator[Listed]:
        """All objects but the PDFs, of which there may be a hundred thousand: lists come in order of name."""
        for one in self._store.list(prefix):
            if one.name.startswith(f"{PDF_FILES}/"):
                yield from self._store.list(prefix, after=f"{PDF_FILES}0")  # the sign behind the slash
                return
            yield one


def _is_right(path: Path, size_bytes: int, sha256: str | None) -> bool:
    try:
        durable.verify_file(path, size_bytes, sha256)
    except IntegrityError:
        return False
    return True
