"""Check of a start: all that a server needs is tried, and nothing is served or changed.

What a start would read and make in the data folder is tried on a copy: the key ring, the certificate, the store
with its upgrade. What does not exist yet is made there, and goes with it.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from antiphon.address import relay_place
from antiphon.data.belonging import check_belonging, ring_missing, ring_of_database
from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE, load_or_make
from antiphon.data.credentials import check_ring
from antiphon.data.folder import KEY_RING_FILE, DataFolder, data_folder
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.store_note import store_of
from antiphon.data.validity import Condition, condition_of
from antiphon.errors import AntiphonError
from antiphon.files import check_makeable, check_writable, copy_as_it_is, reported
from antiphon.language import N_
from antiphon.observe.logfile import CONSOLE, open_file
from antiphon.server.listen.entrance import listen_as_set
from antiphon.server.listen.ports import Passed
from antiphon.server.listen.reach import reach_of
from antiphon.server.nodes.listener import listen as listen_for_nodes
from antiphon.server.status.endpoint import listening_for_status
from antiphon.services import as_service, load
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.store.contracts import Owned, ProcessRecord
from antiphon.store.copying import copy_store
from antiphon.store.opening import accounts_file, check_database, open_store
from antiphon.store_address import is_postgresql

_MADE = N_("{path} does not exist; it is made at the start")
_FOUND = "{path}"
_DATES: dict[Condition | None, str] = {
    None: N_("{path}, valid until {until}, key {key}"),
    "certificate-expires": N_("{path}, valid until {until} only, key {key}: renew the certificate"),
    "certificate-expired": N_("{path}, which has expired on {until}, key {key}: renew the certificate"),
    "certificate-not-yet-valid": N_("{path}, which is not valid before {since}, key {key}"),
}
"""Findings about the dates of a certificate; a server starts with each of them."""
_NOT_CHECKED = N_("not checked, because what it needs has a problem")

Fields = dict[str, object]
Said = tuple[str, Fields]


@dataclass(frozen=True)
class Checked:
    """One thing that a start needs."""

    what: str
    """`service`, `data folder`, `log`, `key ring`, `certificate`, `store`, `port`, `relays` or `status`."""
    said: str
    """What a start would find, a translatable sentence; empty where it has a problem."""
    fields: Fields = field(default_factory=dict)
    """What fills the sentence."""
    error: AntiphonError | None = None
    """The problem that would end the start."""


class StartCheck:
    """The check of one server. Call `run` once."""

    def __init__(
        self, service: str, settings: ServerSettings, program: ProgramSettings, passed: Sequence[Passed] = ()
    ) -> None:
        """Check the server that `antiphon serve` would start with these options, on `passed` sockets if any."""
        self._passed = passed
        self._service_name = service
        self._settings = settings
        self._program = program
        self._path: Path
        """The data folder, once it was found usable."""
        self._kept_in: str
        """The store of that folder, as the value of `--store`; known with it."""
        self._copy: Path
        """A folder with copies of what is in it."""
        self._ring: LiveKeyRing | None = None

    def run(self) -> Iterator[Checked]:
        """Yield each thing that was checked, in the order of a start."""
        yield _tried(N_("service"), self._service)
        found = _tried(N_("data folder"), self._data_folder)
        yield found
        if found.error is None:
            with tempfile.TemporaryDirectory(prefix="antiphon-check-") as copy:
                self._copy = Path(copy)
                yield _tried(N_("log"), self._log)
                yield self._in_copy(N_("key ring"), self._key_ring)
                yield self._in_copy(N_("certificate"), self._certificate)
                yield self._in_copy(N_("store"), self._store)
        else:
            for what in (N_("log"), N_("key ring"), N_("certificate"), N_("store")):
                yield Checked(what, _NOT_CHECKED)
        yield _tried(N_("port"), self._port)
        if self._settings.relay_address is not None:
            yield _tried(N_("relays"), self._relays)
        if self._settings.status is not None:
            yield _tried(N_("status"), self._status)

    def _in_copy(self, what: str, work: Callable[[], Said]) -> Checked:
        """Try something in the copy; what it says of the copy is told of the folder."""
        checked = _tried(what, work)
        if checked.error is not None:
            for name, value in checked.error.fields.items():
                if type(value) is str:
                    checked.error.fields[name] = value.replace(str(self._copy), str(self._path))
        return checked

    def _service(self) -> Said:
        as_service(load(self._service_name, self._program))
        return "{service}", {"service": self._service_name}

    def _data_folder(self) -> Said:
        path = self._path = (self._settings.data or data_folder()).absolute()
        if not os.path.lexists(path):
            check_makeable(path)
            self._find_store()
            return _MADE, {"path": path}
        DataFolder.open(path)
        with reported(path):
            check_writable(path)
        self._find_store()
        return _FOUND, {"path": path}

    def _find_store(self) -> None:
        self._kept_in = store_of(self._settings)
        self._settings = replace(self._settings, store=self._kept_in)  # which checks `--relay-address` against it

    def _log(self) -> Said:
        path = self._settings.log or self._path / "server.log"
        if str(path) in CONSOLE or os.path.lexists(path):
            open_file(path).close()
            return _FOUND, {"path": path}
        if path.parent.absolute() != self._path or self._path.exists():  # else the folder was checked
            with reported(path):
                check_writable(path.parent)
        return _MADE, {"path": path}

    def _key_ring(self) -> Said:
        copy_as_it_is(self._path / KEY_RING_FILE, self._copy / KEY_RING_FILE)
        copy, path = (
            DataFolder(self._copy, accounts_file(self._kept_in, self._path)),
            self._place(KEY_RING_FILE),
        )
        was_there = os.path.lexists(copy.place(KEY_RING_FILE))
        if is_postgresql(self._kept_in) and not was_there:
            noted, processes = self._database()[1]
            copy.has_accounts = noted.ring is not None
            if copy.has_accounts:
                raise ring_missing(str(path), self._kept_in, noted, processes)
        self._ring = copy.key_ring(os.urandom)
        return _FOUND if was_there else _MADE, {"path": path}

    def _certificate(self) -> Said:
        if self._settings.plain:
            return N_("none: plain TCP"), {}
        for name in (KEY_FILE, CERTIFICATE_FILE):
            copy_as_it_is(self._path / name, self._copy / name)
        copy, path = DataFolder(self._copy), self._place(CERTIFICATE_FILE)
        was_there = os.path.lexists(copy.place(CERTIFICATE_FILE))
        certificate = load_or_make(copy, [self._settings.host])
        if not was_there:
            return _MADE, {"path": path}
        condition = condition_of(certificate.valid_from, certificate.expires_at, datetime.now(UTC))
        return _DATES[condition], {
            "path": path,
            "since": certificate.valid_from.date().isoformat(),
            "until": certificate.expires_at.date().isoformat(),
            "key": certificate.fingerprint,
        }

    def _place(self, name: str) -> Path:
        """Return the path of a file of the data folder, or of the one that was given for it."""
        return DataFolder(self._path).place(name)

    def _store(self) -> Said:
        if self._ring is None:
            return _NOT_CHECKED, {}
        file = accounts_file(self._kept_in, self._path)
        if file is None:  # a database, of which no copy can be made
            version, (noted, processes) = self._database()
            path = str(self._place(KEY_RING_FILE))
            check_belonging(self._ring, path, self._kept_in, noted, processes)
            said = N_("{database}: no tables yet; a server makes them.") if version is None else "{database}"
            return said, {"database": self._kept_in}
        was_there = os.path.lexists(file)
        store = copy_store(self._kept_in, self._path, self._copy)
        upgraded = asyncio.run(self._open(store, self._ring))
        if upgraded and was_there:
            said = N_("{path} is of an older version; it is upgraded at the start, and a copy is kept")
        else:
            said = _FOUND if was_there else _MADE
        return said, {"path": file}

    def _database(self) -> tuple[int | None, tuple[Owned, list[ProcessRecord]]]:
        """Return the version of the tables of a database, what it notes about its key ring, and its processes."""
        store = self._kept_in
        version = check_database(store)
        if version is None:
            return None, (Owned(None, None), [])
        return version, asyncio.run(ring_of_database(store, DataFolder(self._copy)))

    async def _open(self, store: str, ring: LiveKeyRing) -> bool:
        """Open the copy of the store with the key ring; return whether it was upgraded."""
        opened = await open_store(store, self._copy, serving=True)
        try:
            await check_ring(ring, opened.accounts, str(self._path / KEY_RING_FILE))
            return bool(opened.copies)
        finally:
            await opened.close()

    def _port(self) -> Said:
        settings = self._settings
        last = DataFolder(self._path).last_port if hasattr(self, "_path") else None
        listening = listen_as_set(settings, last, self._passed)
        listening.close()
        reach_of(settings, listening)
        if settings.port_file is not None:
            with reported(settings.port_file):
                check_writable(settings.port_file.absolute().parent)
        if self._passed:
            return N_("{port}, on a socket that the system has passed"), {"port": listening.port}
        if settings.port == 0:
            return N_("any free one"), {}
        if listening.moved_from is not None:
            return N_("{taken} is taken; {port} would be used"), {
                "taken": listening.moved_from,
                "port": listening.port,
            }
        return N_("{port} is free"), {"port": listening.port}

    def _relays(self) -> Said:
        place = relay_place(self._settings.relay_address or "")
        assert place is not None, "the settings were checked"
        sock, address = listen_for_nodes(*place)
        sock.close()
        return N_("{port} is free"), {"port": address}

    def _status(self) -> Said:
        assert self._settings.status is not None, "the caller has looked"
        listening_for_status(self._settings.status).close()
        return N_("{port} is free"), {"port": self._settings.status}


def _tried(what: str, work: Callable[[], Said]) -> Checked:
    try:
        said, fields = work()
    except AntiphonError as error:
        return Checked(what, "", error=error)
    return Checked(what, said, fields)
