"""Backup of a data folder: the accounts in one archive, the keys in another, while servers run.

Neither file is there before it is whole: what is unfinished stands in a hidden folder beside it, private to this
user.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from antiphon.data.archive import FORMAT, Manifest, Writer, entry_of, write_archive
from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.data.folder import ADDRESS_FILE, KEY_RING_FILE, PORT_FILE, DataFolder
from antiphon.data.rekey import keys_held
from antiphon.data.staging import staging
from antiphon.errors import BackupExists, FileUnusable
from antiphon.files import check_replaceable, make_private, reported, sync_folder, write_atomically
from antiphon.store.copied import Told
from antiphon.store.opening import copy_store
from antiphon.version import __version__

KEYS = (KEY_RING_FILE, KEY_FILE, CERTIFICATE_FILE)
"""Files of the archive of keys, if they are there. The certificate is public, but of no use without its key."""
BESIDE = (PORT_FILE, ADDRESS_FILE)
"""Further files of the archive of accounts, if they are there: the same people find the server where it was."""
UNFINISHED = ".antiphon-backup-"
"""Beginning of the name of a folder with what is unfinished."""
ARCHIVE = "archive"
_TEMPORARY = Path(tempfile.gettempdir())
"""Folder of the copy if the archive goes to a pipe."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def check_target(path: Path, *, force: bool) -> None:
    """Check that a backup may be written to `path`; `force` allows a file that is there.

    Raises:
        BackupExists: something is there.
        FolderUnsafe, FileUnusable: no file can be put there.
    """
    check_replaceable(path, FileUnusable)
    with reported(path, FileUnusable):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not force:
        raise BackupExists(path=str(path))


def back_up(
    folder: DataFolder,
    store: str,
    accounts: Path | Writer,
    keys: Path | None,
    *,
    made_at: datetime,
    told: Told = lambda _done, _of: None,
    force: bool = False,
) -> Manifest:
    """Write the accounts of `store` and the keys of `folder` to two files; return the manifest of the accounts.

    Servers may run meanwhile, and wait for nothing. It blocks: run it outside the event loop.

    Args:
        folder: the data folder.
        store: as the value of `--store`.
        accounts: the file for the accounts, or a pipe.
        keys: the file for the keys; None leaves them out.
        made_at: the time.
        told: called as the work goes on.
        force: replace files that are there.

    Raises:
        BackupExists: a file is there.
        RekeyUnderWay: the keys are being changed: accounts and keys would not fit.
        UsageError: the store cannot be read, as `copy_store` says, or a file cannot be written.
    """
    targets = [path for path in (keys, accounts) if isinstance(path, Path)]
    for path in targets:
        check_target(path, force=force)
    with contextlib.ExitStack() as stack:
        stages = {path: stack.enter_context(_stage(path.parent)) for path in targets}
        stage = stages[accounts] if isinstance(accounts, Path) else stack.enter_context(_stage(_TEMPORARY))
        with keys_held(folder), reported(stage.parent, FileUnusable):
            copied = copy_store(store, folder.path, stage, told)
            beside = _copy(folder, BESIDE, stage)
            key_files = _copy(folder, KEYS, stages[keys]) if keys is not None else []
        with reported(stage.parent, FileUnusable):
            files = [entry_of(stage / name) for name in (*copied.files, *beside)]
            manifest = Manifest(
                format=FORMAT,
                part="accounts",
                made_at=made_at,
                version=__version__,
                files=files,
                store=copied.store,
                tables=copied.tables,
                accounts=copied.accounts,
            )
        if keys is not None:
            with reported(keys.parent, FileUnusable):
                files = [entry_of(stages[keys] / name) for name in key_files]
            of_keys = Manifest(format=FORMAT, part="keys", made_at=made_at, version=__version__, files=files)
            _write(stages[keys] / ARCHIVE, of_keys)
        if isinstance(accounts, Path):
            _write(stage / ARCHIVE, manifest, told)
        else:
            write_archive(accounts, manifest, stage, told)
        _publish([(stages[path] / ARCHIVE, path) for path in targets], force=force)  # the accounts come last
    return manifest


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        with reported(folder, FileUnusable):
            stage = stack.enter_context(staging(folder, UNFINISHED))
        yield stage


def _copy(folder: DataFolder, names: tuple[str, ...], stage: Path) -> list[str]:
    """Copy those of the files `names` of the data folder that exist; return their names."""
    with folder.lock():  # no pair is made meanwhile
        contents = {name: folder.read_private(name) for name in names}
    found = {name: data for name, data in contents.items() if data is not None}
    for name, data in found.items():
        write_atomically(stage / name, data, FileUnusable)
    return list(found)


def _write(path: Path, manifest: Manifest, told: Told = lambda _done, _of: None) -> None:
    """Write an archive of the files beside `path`; once this returns, it survives a crash."""
    with reported(path.parent.parent, FileUnusable):
        make_private(path)
        with path.open("r+b") as file:
            write_archive(file, manifest, path.parent, told)
            file.flush()
            os.fsync(file.fileno())


def _publish(files: list[tuple[Path, Path]], *, force: bool) -> None:
    """Give whole files their names; if one cannot have it, none has."""
    done: list[Path] = []
    try:
        for made, path in files:
            with reported(path, FileUnusable):
                if force:
                    os.replace(made, path)  # noqa: PTH105 - as below
                else:
                    _place(made, path)
                    done.append(path)
                sync_folder(path.parent)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise


def _place(made: Path, path: Path) -> None:
    """Give a file its name, unless another file has it."""
    try:
        os.link(made, path)  # a rename would replace a file that came there meanwhile
    except FileExistsError:
        raise BackupExists(path=str(path)) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(made, path)  # noqa: PTH104 - a file system without hard links
