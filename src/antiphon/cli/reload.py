"""`antiphon serve --reload`: a parent process watches the source files, a child serves and is replaced.

The parent never imports the user's code, so that nothing of an old version stays in a new child.
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

from antiphon import streams
from antiphon.cli.event_loop import run_loop
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.server.run import run
from antiphon.server.server import Server
from antiphon.services import folder_of, load
from antiphon.settings import ServerSettings
from antiphon.terminal.console import Console

SCAN_SECONDS = 0.2
"""Shortest time between two scans of the files; a pause is also at least five times as long as the scan took."""
POLL_SECONDS = 0.02
"""Time between two checks whether the child has ended."""
KILL_AFTER_SECONDS = 10.0
"""Time after the drain limit until the child is killed, for example if a handler hangs."""
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders without source files to edit. Hidden folders and virtual environments are ignored too."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NOT_YOURS = Problem(N_("“{service}” is not a module of yours, so there is no file to watch"))
_NO_FORK = Problem(N_("this system cannot do that"))
_CHANGED = N_("{file} has changed; restarting the server.")


def keep_reloading(console: Console, service: str, settings: ServerSettings, *, as_json: bool) -> int:
    """Serve, and serve again on the same port whenever a file changes; return the exit code.

    If the service fails to load after a change, the error is shown and the next change is awaited.

    Raises:
        SettingInvalid: there is nothing to watch.
        AntiphonError: the service fails to load at the first start.
    """
    folder = folder_of(service)
    if folder is None:
        raise SettingInvalid(source="--reload", problem=_NOT_YOURS, service=service)
    if not hasattr(os, "fork"):
        raise SettingInvalid(source="--reload", problem=_NO_FORK)
    watcher, child = SourceWatcher(folder), ServingProcess(settings.drain_seconds + KILL_AFTER_SECONDS)
    while (parent := child.start()) is None:
        changed = child.wait_for(watcher)
        child.end()
        if child.stop_requested or (changed is None and (child.listens or child.port is None)):
            return child.exit_code
        changed = changed or watcher.wait()
        console.tell(console.translations.gettext(_CHANGED).format(file=changed))
    return _serve(console, service, settings, parent, child.port, as_json=as_json)


def _serve(
    console: Console,
    service: str,
    settings: ServerSettings,
    parent: socket.socket,
    port: int | None,
    *,
    as_json: bool,
) -> int:
    """Serve in the child until a signal comes or the parent is gone; `port` is that of the child before."""
    if port is not None:
        settings = replace(settings, port=port, strict_port=True)
    threading.Thread(target=_stop_with_parent, args=(parent,), daemon=True).start()
    sys.dont_write_bytecode = True  # bytecode records the second of a source: a later edit in it would be missed
    importlib.invalidate_caches()
    server = Server(load(service), settings, language=console.language)

    def tell(text: str) -> None:
        if port is None:
            streams.stdout.line(text)
        parent.sendall(str(server.port).encode())

    return run_loop(run(server, as_json=as_json, tell=tell), fast=True)


def _stop_with_parent(parent: socket.socket) -> None:
    """Drain when the parent is gone; it never sends anything, so `recv` returns only then."""
    with contextlib.suppress(OSError):
        parent.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


class ServingProcess:
    """The child that serves, as the parent sees it."""

    def __init__(self, kill_after: float) -> None:
        """Kill a child that has not ended `kill_after` seconds after it was told to."""
        self._kill_after = kill_after
        self._pid: int | None = None
        self._child: socket.socket
        self.port: int | None = None
        """The port of the first child that listened; the later ones listen on it too."""
        self.listens = False
        self.stop_requested = False
        """Whether this process got a signal to stop."""
        self.exit_code = 0
        self._replacing = False

    def start(self) -> socket.socket | None:
        """Fork; return None in the parent, and in the child its socket to the parent."""
        self.listens = False
        self._child, parent = socket.socketpair()
        for number in _SIGNALS:
            signal.signal(number, self._forward_signal)
        pid = os.fork()
        if pid:
            self._pid = pid
            parent.close()
            return None
        os.setpgid(0, 0)  # only the parent sends signals: otherwise Ctrl-C would arrive twice
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        self._child.close()
        return parent

    def wait_for(self, watcher: "SourceWatcher") -> Path | None:
        """Wait until a file has changed, and return it; return None if the child ends first."""
        while not self._ended():
            if select.select([self._child], [], [], watcher.pause)[0]:
                port = self._child.recv(16)
                if not port:
                    self._wait_for_end()
                    return None
                self.listens, self.port = True, int(port)
            elif not self.stop_requested and (changed := watcher.changed()):
                return changed
        return None

    def end(self) -> None:
        """Tell the child to drain, and wait for its end."""
        if self._pid is not None:
            self._replacing = not self.stop_requested
            os.kill(self._pid, signal.SIGTERM)
            self._wait_for_end()
            self._replacing = False
        self._child.close()

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + self._kill_after
        while not self._ended():
            time.sleep(POLL_SECONDS)
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

    def _forward_signal(self, number: int, _: object) -> None:
        if self._pid is None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(0)
        self.stop_requested = True
        if self._replacing:  # the child is draining already; a second signal would end it at once
            self._replacing = False
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM if number == signal.SIGHUP else number)  # the child would reload


class SourceWatcher:
    """The source files in a folder and below it."""

    def __init__(self, folder: Path) -> None:
        """Watch for changes from now on."""
        self._folder = folder
        self.pause = SCAN_SECONDS
        """Seconds until the next scan."""
        self._seen = self._scan()

    def changed(self) -> Path | None:
        """Return a file that was changed, added or removed since the last call, once all files have settled."""
        before, self._seen = self._seen, self._scan()
        changed = {path for path, _ in before.items() ^ self._seen.items()}
        while changed:
            time.sleep(self.pause)
            last, self._seen = self._seen, self._scan()
            if last == self._seen:
                return min(changed)
        return None

    def wait(self) -> Path:
        """Wait until a file has changed, and return it."""
        while (changed := self.changed()) is None:
            time.sleep(self.pause)
        return changed

    def _scan(self) -> dict[Path, tuple[int, int]]:
        began = time.monotonic()
        found = {}
        for folder, folders, files in os.walk(self._folder):
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".") and name not in _IGNORED_FOLDERS]
            for path in (Path(folder, name) for name in files if name.endswith(".py")):
                with contextlib.suppress(OSError):  # removed since it was listed
                    state = path.stat()
                    found[path] = (state.st_mtime_ns, state.st_size)
        self.pause = max(SCAN_SECONDS, 5 * (time.monotonic() - began))
        return found
