"""Archive of a backup: a plain tar that begins with a manifest, which lists all files with their sums.

A backup is two archives: the accounts in one, the keys in the other. The reader takes nothing that the manifest
does not list, no name with a folder in it, and nothing but plain files; modes and owners in the archive count for
nothing.
"""

import hashlib
import io
import os
import re
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn, Protocol

import msgspec

from antiphon.errors import BackupRefused, Problem
from antiphon.files import make_private
from antiphon.language import N_
from antiphon.store.copied import Told

FORMAT = 1
"""Version of the manifest. A reader refuses a later one."""
MANIFEST = "manifest.json"
MANIFEST_MOST = 64 * 1024
"""Bytes of a manifest: a backup has at most six files."""
CHUNK = 1024 * 1024
"""Bytes between two calls of `told`."""
_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z]+)?")

_NO_BACKUP = Problem(N_("it is no backup of this program"))
_NEWER = Problem(N_("it is of a newer version of this program"))
_FOREIGN = Problem(N_("“{name}” does not belong into a backup"))
_NOT_PLAIN = Problem(N_("“{name}” in it is not a plain file"))
_DAMAGED = Problem(N_("“{name}” in it is damaged"))
_CUT = Problem(N_("it ends in the middle of “{name}”"))
_LACKS = Problem(N_("“{name}” is missing in it"))
_PART = {
    "accounts": Problem(N_("it holds keys, and the accounts are wanted here")),
    "keys": Problem(N_("it holds accounts, and the keys are wanted here")),
}


class Entry(msgspec.Struct, frozen=True):
    """A file in an archive."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Content of an archive."""

    format: int
    part: Literal["accounts", "keys"]
    made_at: datetime
    version: str
    """Of Antiphon."""
    files: list[Entry]
    store: Literal["sqlite", "files"] | None = None
    """Of the accounts."""
    tables: int | None = None
    """Version of the tables, in SQLite."""
    accounts: int | None = None
    """Number of accounts."""


class _Format(msgspec.Struct):
    """Fields of every version of the manifest."""

    format: int


class Writer(Protocol):
    """Target that an archive is written to."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""


def entry_of(path: Path) -> Entry:
    """Return the entry for a file, with its sum."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
            size += len(data)
    return Entry(path.name, size, digest.hexdigest())


def write_archive(file: Writer, manifest: Manifest, folder: Path, told: Told) -> None:
    """Write the archive that `manifest` describes, of files in `folder`.

    Raises:
        OSError: a file cannot be read, or `file` cannot be written.
    """
    total, done = sum(entry.size for entry in manifest.files), 0

    def counted(data: bytes) -> bytes:
        nonlocal done
        done += len(data)
        told(done, total)
        return data

    text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload] # it needs to write only
        archive.addfile(_header(MANIFEST, len(text), manifest), io.BytesIO(text))
        for entry in manifest.files:
            with (folder / entry.name).open("rb") as source:
                archive.addfile(_header(entry.name, entry.size, manifest), _Counting(source, counted))


def _header(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(manifest.made_at.timestamp())
    return header


class _Counting:
    """A file that is read while it is counted."""

    def __init__(self, file: BinaryIO, counted: Any) -> None:
        self._file = file
        self._counted = counted

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._counted(self._file.read(size))
        return data


class ArchiveReader:
    """An archive that is read from its beginning to its end, from a file or a pipe."""

    def __init__(self, file: BinaryIO, path: str, part: Literal["accounts", "keys"]) -> None:
        """Read the manifest of `file`; `path` is its name for people, `part` the wanted part of a backup.

        Raises:
            BackupRefused: it is no backup, of a newer format, or of the other part.
            OSError: it cannot be read.
        """
        self._path = path
        try:
            self._archive = tarfile.open(fileobj=file, mode="r|")  # noqa: SIM115 - read on in `extract`
            header = self._archive.next()
            if header is None or header.name != MANIFEST or not _is_plain(header) or header.size > MANIFEST_MOST:
                self._refuse(_NO_BACKUP)
            source = self._archive.extractfile(header)
            text = b"" if source is None else source.read()
            if msgspec.json.decode(text, type=_Format).format > FORMAT:
                self._refuse(_NEWER)
            self.manifest = msgspec.json.decode(text, type=Manifest)
        except (tarfile.TarError, EOFError, ValueError, msgspec.MsgspecError) as error:
            raise BackupRefused(path=path, problem=_NO_BACKUP) from error
        if self.manifest.part != part:
            self._refuse(_PART[part])

    def check_names(self, needed: set[str], allowed: set[str]) -> None:
        """Check that the archive has the files that are `needed`, and beside them none that is not `allowed`.

        Raises:
            BackupRefused: it has others.
        """
        names = [entry.name for entry in self.manifest.files]
        for name in names:
            if not _NAME.fullmatch(name) or name not in needed | allowed or names.count(name) > 1:
                self._refuse(_FOREIGN, name=name)
        for name in sorted(needed.difference(names)):
            self._refuse(_LACKS, name=name)

    def extract(self, folder: Path, told: Told) -> None:
        """Write the files into `folder`, each 0600, and check their sums. Precondition: their names are checked.

        Raises:
            BackupRefused: a file is damaged or missing, or something is there that the manifest does not list.
            OSError: it cannot be read, or the files cannot be written.
        """
        total, before = sum(entry.size for entry in self.manifest.files), 0
        for entry in self.manifest.files:
            try:
                header = self._archive.next()
                if header is None:
                    self._refuse(_LACKS, name=entry.name)
                if header.name != entry.name:
                    self._refuse(_FOREIGN, name=header.name)
                if not _is_plain(header):
                    self._refuse(_NOT_PLAIN, name=entry.name)
                if header.size != entry.size:
                    self._refuse(_DAMAGED, name=entry.name)
                source = self._archive.extractfile(header)
                assert source is not None, "it is a plain file"
                digest = hashlib.sha256()
                make_private(folder / entry.name)
                with (folder / entry.name).open("r+b") as file:
                    while data := source.read(CHUNK):
                        digest.update(data)
                        file.write(data)
                        told(before + file.tell(), total)
                    file.flush()
                    os.fsync(file.fileno())
            except (tarfile.TarError, EOFError, ValueError) as error:
                raise BackupRefused(path=self._path, problem=_CUT, name=entry.name) from error
            if digest.hexdigest() != entry.sha256:
                self._refuse(_DAMAGED, name=entry.name)
            before += entry.size
        self._check_end()

    def _check_end(self) -> None:
        try:
            if (header := self._archive.next()) is not None:
                self._refuse(_FOREIGN, name=header.name)
        except (tarfile.TarError, EOFError, ValueError):
            pass  # zeros are missing at the end: all files are there

    def _refuse(self, problem: Problem, name: str = "") -> NoReturn:
        raise BackupRefused(path=self._path, problem=problem, name=name)


def _is_plain(header: tarfile.TarInfo) -> bool:
    return header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)  # no sparse one either
