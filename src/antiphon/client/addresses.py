"""Addresses of one server: one, or those of its nodes in the order in which they are tried, and which keys count.

`protocol/reconnect.py` says when a client goes on to the next one. Every address is checked by itself, as if it
were the only one, and none less than the others: all or none have TLS, and if one carries a fingerprint, no key
counts that no address carries.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self

from antiphon.address import Address, parse
from antiphon.client.trust import Standing
from antiphon.errors import AddressInvalid, Problem, ServerKeyChanged, UsageError
from antiphon.identity.invitations import Code, read_place
from antiphon.identity.names import prepare
from antiphon.language import N_

Given = str | Address | Code | Iterable[str | Address]
"""Place of a server, as a program gives it; text may hold several addresses, with commas between them."""

_NONE = Problem(N_("There is no address."))
_MIXED = Problem(N_("Either all addresses begin with tls:// or all with tcp://."))
_NAMES = Problem(N_("The name stands before the first address, and is the same before others."))
_INVITATION = Problem(N_("an invitation stands alone"))


class Keys(Protocol):
    """Contract of what speaks for the key of a server; `KnownServers` fulfils it."""

    def standing(self, address: Address, fingerprint: str) -> Standing:
        """Return what speaks for the key `fingerprint` that the server at `address` has shown.

        Raises:
            ServerKeyChanged: another key was expected.
        """

    def together(self, address: Address, fingerprint: str) -> set[str]:
        """Return the keys that are known to be those of one server with `fingerprint`, at `address`."""


@dataclass(frozen=True)
class Addresses:
    """Addresses of one server, at least one."""

    each: tuple[Address, ...]
    pins: frozenset[str]
    """The fingerprints that they carried when they were given."""

    @classmethod
    def of(cls, given: "Address | Addresses | Iterable[Address]") -> "Addresses":
        """Return addresses that may stand together, without repetitions.

        Raises:
            UsageError: there is none, or they contradict each other.
        """
        if isinstance(given, Addresses):
            return given
        each = [given] if isinstance(given, Address) else list(given)
        if not each:
            raise UsageError(problem=_NONE)
        name = each[0].name
        if any(address.scheme != each[0].scheme for address in each):
            raise UsageError(problem=_MIXED)
        for address in each[1:]:
            if address.name is not None and (name is None or prepare(address.name).key != prepare(name).key):
                raise UsageError(problem=_NAMES)
        pins = frozenset(fingerprint for address in each for fingerprint in address.fingerprints)
        return cls(tuple(dict.fromkeys(replace(address, name=name) for address in each)), pins)

    @property
    def first(self) -> Address:
        """The address to try first."""
        return self.each[0]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.each)

    def __iter__(self) -> Iterator[Address]:
        """Iterate in the order in which they are tried."""
        return iter(self.each)

    @property
    def alone(self) -> Self:
        """The first address alone; which keys count there stays as it is."""
        return replace(self, each=self.each[:1])

    @property
    def turned(self) -> Self:
        """The same, to be tried from the second one on."""
        return replace(self, each=(*self.each[1:], self.first))

    def starting_with(self, address: Address) -> Self:
        """Return the same, to be tried from `address` on."""
        places = [(each.host, each.port) for each in self.each]
        at = places.index((address.host, address.port))
        return replace(self, each=(address, *self.each[at + 1 :], *self.each[:at]))

    def keys(self, known: Keys) -> Keys:
        """Return what speaks for a key at each of these addresses; `known` does if none carries a fingerprint."""
        return _GivenKeys(self.pins, known) if self.pins else known


class _GivenKeys:
    """The keys of addresses one of which at least carries a fingerprint: no other counts, whoever knows it."""

    def __init__(self, pins: frozenset[str], known: Keys) -> None:
        self._pins = pins
        self._known = known

    def standing(self, address: Address, fingerprint: str) -> Standing:
        """See `Keys`. The nodes of one data folder have one key: an address without one shows that of another."""
        if address.fingerprint is not None:
            return self._known.standing(address, fingerprint)
        if fingerprint in self._pins:
            return Standing.PINNED
        raise ServerKeyChanged(
            host=address.host, fingerprint=fingerprint, expected=" / ".join(sorted(self._pins)), remedy=""
        )

    def together(self, address: Address, fingerprint: str) -> set[str]:  # noqa: ARG002 - see `Keys`
        """See `Keys`. Only keys that an address carries count."""
        return set(address.fingerprints)


class ProvedKeys:
    """The keys of one session: those that it was signed in or resumed with, and what speaks for others.

    RESUME itself proves nothing about the server. An address that has been used must show the same key again, or
    another one of that server: nodes behind one address may have keys of their own. If the system's authorities
    vouched for it, they may vouch for another. Another address may show the key of any that was used, as nodes of
    one data folder do, unless a different one is known for it.
    """

    def __init__(self, keys: Keys, address: Address, fingerprint: str | None, standing: Standing) -> None:
        """Begin with the key that the first connection has proved at `address`; None on plain TCP.

        `standing` is what spoke for it beside the sign-in.
        """
        self._keys = keys
        self._vouched = standing is Standing.VOUCHED
        self._proved: dict[tuple[str, int], str] = {}
        self.prove(address, fingerprint)

    def prove(self, address: Address, fingerprint: str | None) -> None:
        """Note the key of a connection that holds the session."""
        if fingerprint is not None:
            self._proved[address.host, address.port] = fingerprint

    def standing(self, address: Address, fingerprint: str) -> Standing:
        """See `Keys`."""
        proved = self._proved.get((address.host, address.port))
        if proved is not None:
            if fingerprint == proved or fingerprint in address.fingerprints:
                return Standing.PINNED
            if address.fingerprint is None and self._vouched:
                return Standing.UNKNOWN  # authorities are asked again
            if address.fingerprint is None and fingerprint in self._keys.together(address, proved):
                return Standing.KNOWN
            raise ServerKeyChanged(host=address.host, fingerprint=fingerprint, expected=proved, remedy="")
        standing = self._keys.standing(address, fingerprint)
        if standing is Standing.UNKNOWN and fingerprint in self._proved.values():
            return Standing.PINNED
        return standing

    def together(self, address: Address, fingerprint: str) -> set[str]:
        """See `Keys`."""
        return self._keys.together(address, fingerprint)


def read_places(given: Given) -> Addresses | Code:
    """Return what a person or a program gave as the server to connect to: addresses, or an invitation.

    Raises:
        InvitationInvalid: it looks like an invitation and is not a valid one.
        AddressInvalid, PortInvalid: as `address.parse`.
        UsageError: as `Addresses.of`.
    """
    if isinstance(given, Code):
        return given
    if isinstance(given, Address):
        return Addresses.of(given)
    if isinstance(given, str):
        if "," not in given:
            place = read_place(given)
            return place if isinstance(place, Code) else Addresses.of(place)
        given = given.split(",")
    return Addresses.of([each if isinstance(each, Address) else _address(each) for each in given])


def _address(text: str) -> Address:
    if isinstance(read_place(text), Code):
        raise AddressInvalid(address="…", problem=_INVITATION)
    return parse(text)
