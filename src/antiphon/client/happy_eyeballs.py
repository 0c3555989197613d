"""Happy eyeballs (RFC 8305): in which order a host's addresses are tried, and which failure is told.

`aio/dial.py` and `blocking/dial.py` race the attempts: each begins `DELAY_SECONDS` after the one before it, or as
soon as all earlier ones have failed, and the first that connects wins.
"""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

DELAY_SECONDS = 0.25
"""The RFC's Connection Attempt Delay: longer than most round trips, short for a person."""


class Endpoint(NamedTuple):
    """One address of a host, as `socket.getaddrinfo` returns it."""

    family: int
    kind: int
    protocol: int
    name: str
    place: Any
    """The socket address."""


def in_order(found: Iterable[tuple[Any, ...]]) -> list[Endpoint]:
    """Return the results of `socket.getaddrinfo`, each place once, with the families alternating (section 4).

    The family of the first one stays the first: the system has put it there.
    """
    families: dict[int, list[Endpoint]] = {}
    places = set()
    for entry in found:
        endpoint = Endpoint(*entry)
        if endpoint.place not in places:
            places.add(endpoint.place)
            families.setdefault(endpoint.family, []).append(endpoint)
    return [endpoint for endpoint in chain.from_iterable(zip_longest(*families.values())) if endpoint is not None]


def failure_of(failures: list[OSError]) -> OSError:
    """Return the failure that says most: that a machine is there and refuses, else the first one."""
    refusals = [failure for failure in failures if isinstance(failure, ConnectionRefusedError)]
    return [*refusals, *failures, OSError("no address")][0]
