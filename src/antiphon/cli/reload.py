"""`antiphon serve --reload`: a process that watches source files, above one that serves and is replaced.

The one above never runs a line of the user's, so that nothing of an old version is left in a new one.
"""

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from antiphon.cli.common import run_loop
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.server.run import run
from antiphon.server.server import Server
from antiphon.services import folder_of, load
from antiphon.settings import ServerSettings
from antiphon.terminal.console import Console

LOOK_SECONDS = 0.2
"""Between two looks at the files; five times as long as a look takes, where that is more."""
END_SECONDS = 0.02
"""Between two looks for the end of a process that is ending."""
PATIENCE_SECONDS = 10.0
"""What the server that is replaced has beyond its time to drain; one that hangs in a handler is killed then."""
_NOT_WRITTEN = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders in which nobody writes by hand; neither do they in hidden ones and in virtual environments."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NOT_YOURS = Problem(N_("“{service}” is no module of yours, so there is nothing to watch"))
_NO_FORK = Problem(N_("this system cannot do that"))
_CHANGED = N_("{file} has changed; the server starts again.")


def keep_reloading(console: Console, service: str, settings: ServerSettings, *, as_json: bool) -> int:
    """Serve, and serve again on the same port whenever a file has changed; return the exit code.

    What cannot be served after a change is told of, and waited for until it is mended.

    Raises:
        SettingInvalid: there is nothing to watch.
        AntiphonError: it cannot be served to begin with.
    """
    folder = folder_of(service)
    if folder is None:
        raise SettingInvalid(source="--reload", problem=_NOT_YOURS, service=service)
    if not hasattr(os, "fork"):
        raise SettingInvalid(source="--reload", problem=_NO_FORK)
    watch, below = Watch(folder), Below(settings.drain_seconds + PATIENCE_SECONDS)
    while (link := below.start()) is None:
        changed = below.wait_for(watch)
        below.end()
        if below.told or (changed is None and (below.listens or below.port is None)):
            return below.exit_code
        changed = changed or watch.wait()
        console.tell(console.translations.gettext(_CHANGED).format(file=changed))
    return _serve(console, service, settings, link, below.port, as_json=as_json)


def _serve(
    console: Console,
    service: str,
    settings: ServerSettings,
    link: socket.socket,
    port: int | None,
    *,
    as_json: bool,
) -> int:
    """Serve, in the process below, until a signal comes or the one above is gone."""
    if port is not None:
        settings = replace(settings, port=port, strict_port=True)
    threading.Thread(target=_end_with, args=(link,), daemon=True).start()
    sys.dont_write_bytecode = True  # an edit within a second of the last could not be told from it
    importlib.invalidate_caches()
    server = Server(load(service), settings, language=console.language)

    def tell(text: str) -> None:
        if port is None:
            print(text, flush=True)
        link.sendall(str(server.port).encode())

    return run_loop(run(server, as_json=as_json, tell=tell), fast=True)


def _end_with(link: socket.socket) -> None:
    """End in order when the process above is gone; it never says anything."""
    with contextlib.suppress(OSError):
        link.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


class Below:
    """The process that serves, as the one above sees it."""

    def __init__(self, patience: float) -> None:
        """Give it `patience` seconds to end."""
        self._patience = patience
        self._pid: int | None = None
        self._link: socket.socket
        self.port: int | None = None
        """Where the first one that listened did, and the others do."""
        self.listens = False
        self.told = False
        """Whether we were told to stop."""
        self.exit_code = 0
        self._replacing = False

    def start(self) -> socket.socket | None:
        """Fork; return None, and in the process below the link to the one above."""
        self.listens = False
        self._link, link = socket.socketpair()
        for number in _SIGNALS:
            signal.signal(number, self._pass_on)
        pid = os.fork()
        if pid:
            self._pid = pid
            link.close()
            return None
        os.setpgid(0, 0)  # signals come from above only: a terminal's Ctrl-C would else come twice
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        self._link.close()
        return link

    def wait_for(self, watch: "Watch") -> Path | None:
        """Wait until a file has changed, which is returned, or the process has ended."""
        while not self._ended():
            if select.select([self._link], [], [], watch.pause)[0]:
                said = self._link.recv(16)
                if not said:
                    self._wait_for_end()
                    return None
                self.listens, self.port = True, int(said)
            elif not self.told and (changed := watch.changed()):
                return changed
        return None

    def end(self) -> None:
        """Have it drain and end, if it has not."""
        if self._pid is not None:
            self._replacing = not self.told
            os.kill(self._pid, signal.SIGTERM)
            self._wait_for_end()
            self._replacing = False
        self._link.close()

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + self._patience
        while not self._ended():
            time.sleep(END_SECONDS)
            if self._pid is not None and time.monotonic() > deadline:
                os.kill(self._pid, signal.SIGKILL)

    def _ended(self) -> bool:
        if self._pid is not None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._pid = None
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code
        return self._pid is None

    def _pass_on(self, number: int, _: object) -> None:
        if self._pid is None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(0)
        self.told = True
        if self._replacing:  # it ends in order already, and a second signal would have it end at once
            self._replacing = False
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


class Watch:
    """The source files in a folder and below it."""

    def __init__(self, folder: Path) -> None:
        """Begin with the files as they are."""
        self._folder = folder
        self.pause = LOOK_SECONDS
        """Seconds until the next look."""
        self._seen = self._look()

    def changed(self) -> Path | None:
        """Return a file that has changed, come or gone since the last time, once nobody writes any more."""
        before, self._seen = self._seen, self._look()
        changed = {path for path, _ in before.items() ^ self._seen.items()}
        while changed:
            time.sleep(self.pause)
            last, self._seen = self._seen, self._look()
            if last == self._seen:
                return min(changed)
        return None

    def wait(self) -> Path:
        """Wait until a file has changed, and return it."""
        while (changed := self.changed()) is None:
            time.sleep(self.pause)
        return changed

    def _look(self) -> dict[Path, tuple[int, int]]:
        began = time.monotonic()
        found = {}
        for folder, folders, files in os.walk(self._folder):
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_WRITTEN]
            for path in (Path(folder, name) for name in files if name.endswith(".py")):
                with contextlib.suppress(OSError):  # gone again
                    state = path.stat()
                    found[path] = (state.st_mtime_ns, state.st_size)
        self.pause = max(LOOK_SECONDS, 5 * (time.monotonic() - began))
        return found
