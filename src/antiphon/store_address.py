"""Values of `--store`, and what goes with them: which store they name, and whether it is one of several nodes."""

from pathlib import Path
from urllib.parse import parse_qsl

from antiphon.address import relay_place
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_

SQLITE = "sqlite"
"""The value of `--store` for the database in the data folder."""
POSTGRESQL = ("postgresql://", "postgres://")
"""Beginnings of a value of `--store` for a PostgreSQL database, as libpq has them."""

NO_HOME = Problem(N_("“{store}” names the home folder of a user who does not exist"))
_NO_STORE = Problem(N_("must be sqlite, files:DIR or postgresql://USER@HOST/DATABASE, not “{store}”"))
_PASSWORD_SHOWN = Problem(
    N_(
        "a password in an address can be read by others on this machine; put it into ~/.pgpass, or into the file"
        " that PGPASSFILE names"
    )
)
_NO_RELAY_PLACE = Problem(
    N_("must be HOST, HOST:PORT or HOST:PORT-PORT, such as node1.example.org:7700-7827, not “{place}”")
)
_NO_NODES = Problem(
    N_("only servers on one PostgreSQL database relay to each other: give --store postgresql://… too")
)
_SECRET_PARAMETERS = {"password", "sslpassword", "oauth_client_secret"}
"""Parameters of libpq that hold secrets."""


def check_store(store: str, source: str = "--store") -> None:
    """Check a value of `--store`; `source` is where it stands.

    Raises:
        SettingInvalid: it names no store, or the home folder of an unknown user; or it is the address of a
            database with a password in it, which the error does not show.
    """
    if is_postgresql(store):
        place, _, parameters = store.partition("://")[2].partition("?")
        keys = {key for key, _ in parse_qsl(parameters, keep_blank_values=True)}
        user, at, _ = place.rpartition("@")
        if (at and ":" in user) or keys & _SECRET_PARAMETERS:
            raise SettingInvalid(source=source, problem=_PASSWORD_SHOWN)
    else:
        files_folder(store, source)


def check_relay_address(place: str, store: str | None) -> None:
    """Check the value of `--relay-address`, beside that of `--store`, which may not be known yet.

    Raises:
        SettingInvalid: it names no host with ports, or the store is none of several nodes.
    """
    if relay_place(place) is None:
        raise SettingInvalid(source="--relay-address", problem=_NO_RELAY_PLACE, place=place)
    if store is not None and not is_postgresql(store):
        raise SettingInvalid(source="--relay-address", problem=_NO_NODES)


def is_postgresql(store: str) -> bool:
    """Return whether a value of `--store` is the address of a PostgreSQL database."""
    return store.startswith(POSTGRESQL)


def files_folder(store: str, source: str = "--store") -> Path | None:
    """Return the absolute folder that a value of `--store` names; None for SQLite and PostgreSQL.

    `source` is where the value stands.

    Raises:
        SettingInvalid: it names no store, or the home folder of an unknown user.
    """
    scheme, _, folder = store.partition(":")
    if store == SQLITE or is_postgresql(store):
        return None
    if scheme != "files" or not folder:
        shown = "…" if "@" in store or "=" in store else store  # there may be a password in it
        raise SettingInvalid(source=source, problem=_NO_STORE, store=shown)
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError:  # ~name, and no user has the name
        raise SettingInvalid(source=source, problem=NO_HOME, store=store) from None
