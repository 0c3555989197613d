"""One tree of errors. Each has a code for programs, a sentence for people, and says what to do next.

::

    AntiphonError
    ├── UsageError                what was asked cannot be done as it was asked        exit 2
    │   ├── SettingInvalid, InputMissing
    │   ├── AddressInvalid, PortInvalid, NameInvalid, PasswordInvalid
    │   └── FolderUnsafe, FolderUnusable, PortTaken, AddressUnavailable,
    │       ExposureRefused, KeyRingUnusable, CertificateUnusable
    ├── ConnectError              no connection came about, or it broke                exit 3
    │   ├── HostUnknown, ConnectRefused, NotAntiphon
    │   └── ConnectionLost, ServerStopping
    ├── SignInError               the server said no                                   exit 4
    │   ├── SignInRefused, SignInTimedOut
    │   ├── RegistrationClosed, NameTaken, NameUnknown, CredentialRefused
    │   └── SessionEnded, SessionReplaced, TokenRefused
    ├── ProtocolError             a peer broke the protocol of docs/protocol.md        exit 5
    │   ├── FrameInvalid, FrameUnexpected, BodyInvalid, NotText
    │   ├── FrameTooLarge, and MessageTooLarge below it
    │   ├── VersionUnsupported, MechanismUnsupported, TooManyRefusals, PeerSilent, PeerTooSlow
    │   └── TrustError            TLS, or the server's key
    │       └── ServerKeyUnknown, ServerKeyChanged, ServerUnproven, TlsFailed
    ├── Fault                     this program's own                                   exit 1
    ├── TimedOut                  nothing came within the time allowed                 exit 6
    └── ServerError               the server's own fault, or its store's               exit 1
        └── TryLater, ServiceFailed

The same classes stand on both sides: the server sends `code`, and the client raises the class that has it.
"""

from collections.abc import Iterator
from typing import ClassVar

from antiphon.language import N_, Translate
from antiphon.printable import printable

COPY_LIMIT = 200
"""Characters of a foreign value that an error repeats; enough to recognise it, too few to flood a terminal."""


class Problem(str):
    """A part of a sentence, marked with `N_`, that is translated with it; it may hold fields of the same error."""

    __slots__ = ()


class AntiphonError(Exception):
    """The root. `str(error)` is its sentence and hint in English; `text(translate)` in any language."""

    code: ClassVar[str] = "error"
    blame: ClassVar[str] = "server"
    """Who erred: `user`, `operator`, `client`, `server`, `network`, `program`."""
    exit_code: ClassVar[int] = 1
    sentence: ClassVar[str] = N_("Something went wrong.")
    hint: ClassVar[str] = ""

    def __init__(self, *, wait: float = 0, **fields: object) -> None:
        """Keep `fields`, which fill the sentence, and `wait`, the seconds after which to try again."""
        self.wait = wait
        self.told: tuple[str, str] | None = None
        self.fields = {name: _kept(value) for name, value in fields.items()}
        super().__init__(type(self).code)

    def text(self, translate: Translate = str) -> str:
        """Return what happened, one sentence; what a server told stays in the server's words."""
        if self.told is not None:
            return self.told[0]
        return self._filled(self.sentence, translate)

    def advice(self, translate: Translate = str) -> str:
        """Return what the reader can do about it, or nothing."""
        if self.told is not None:
            return self.told[1]
        return self._filled(self.hint, translate) if self.hint else ""

    def full(self, translate: Translate = str) -> str:
        """Return sentence and advice, as a person reads them."""
        return f"{self.text(translate)} {self.advice(translate)}".rstrip()

    def _filled(self, message: str, translate: Translate) -> str:
        problems = {
            name: translate(value).format(**self.fields)
            for name, value in self.fields.items()
            if isinstance(value, Problem)
        }
        return translate(message).format(**self.fields | problems)

    def __str__(self) -> str:
        """Return sentence and advice in English."""
        return self.full()


def _kept(value: object) -> object:
    return value if isinstance(value, Problem | int | float) else _shown(str(value))


def _shown(value: str) -> str:
    value = printable(value[: COPY_LIMIT + 1])  # a foreign value may be huge
    return value if len(value) <= COPY_LIMIT else value[:COPY_LIMIT] + "…"


# --- what was asked cannot be done as it was asked ----------------------------------------------------------


class UsageError(AntiphonError):
    """What was asked cannot be done as it was asked."""

    code = "usage"
    blame = "user"
    exit_code = 2
    sentence = N_("{problem}")


class SettingInvalid(UsageError):
    """A flag, variable or line of the configuration holds what it cannot hold."""

    code = "setting-invalid"
    sentence = N_("{source}: {problem}")


class InputMissing(UsageError):
    """Something is needed and nobody can be asked."""

    code = "input-missing"
    sentence = N_("{what} is missing, and there is no terminal to ask at.")
    hint = N_("Give it by {how}.")


class AddressInvalid(UsageError):
    """An address that cannot be read."""

    code = "address-invalid"
    sentence = N_("“{address}” is not an address: {problem}.")
    hint = N_("An address looks like tls://name@host:7862, or host:7862, or just host.")


class PortInvalid(UsageError):
    """A port that is not one."""

    code = "port-invalid"
    sentence = N_("“{port}” is not a port.")
    hint = N_("Give a whole number from {lowest} to 65535.")


class NameInvalid(UsageError):
    """A name that nobody can have."""

    code = "name-invalid"
    blame = "client"
    sentence = N_("“{name}” cannot be a name: {problem}.")
    hint = N_("Choose up to 64 letters and digits of one alphabet, without spaces.")


class PasswordInvalid(UsageError):
    """A password that the rules do not allow."""

    code = "password-invalid"
    sentence = N_("This password cannot be used: {problem}.")
    hint = N_("Choose another one, or press Enter for a passphrase made for you.")


class FolderUnsafe(UsageError):
    """A state file that somebody else could read or has replaced."""

    code = "folder-unsafe"
    blame = "operator"
    sentence = N_("{path} {problem}.")
    hint = N_("Make sure that it is yours alone (chmod go= {path}), then start again.")


class FolderUnusable(UsageError):
    """The data folder, or a file in it, cannot be used."""

    code = "folder-unusable"
    blame = "operator"
    sentence = N_("{path} cannot be used: {problem}.")
    hint = N_("Name another folder with --data, or make room for this one.")


class PortTaken(UsageError):
    """No port is free where one was looked for."""

    code = "port-taken"
    blame = "operator"
    sentence = N_("Port {port} is taken on {host}.")
    hint = N_("Choose another with --port, or let the server choose with --port 0.")


class AddressUnavailable(UsageError):
    """A host on which nothing can listen here."""

    code = "address-unavailable"
    blame = "operator"
    sentence = N_("Cannot listen on {host}: {problem}.")
    hint = N_("Give --host an address of this machine, such as localhost, 0.0.0.0 or ::.")


class ExposureRefused(UsageError):
    """Plain TCP beyond this machine."""

    code = "exposure-refused"
    blame = "operator"
    sentence = N_("Plain TCP on {host} would send everything unencrypted over the network.")
    hint = N_("Leave out --plain to use TLS, or say --plain-anywhere if the network is yours alone.")


class KeyRingUnusable(UsageError):
    """The key ring is missing, damaged, or belongs to other data."""

    code = "key-ring-unusable"
    blame = "operator"
    sentence = N_("The key ring {path} cannot be used: {problem}.")
    hint = N_("Put back the backup of this file; without it nobody can sign in to the accounts beside it.")


class CertificateUnusable(UsageError):
    """The certificate or its key cannot be used."""

    code = "certificate-unusable"
    blame = "operator"
    sentence = N_("The certificate {path} cannot be used: {problem}.")
    hint = N_("Mend it, or move it and its key away: a new pair is made at the next start.")


# --- no connection ------------------------------------------------------------------------------------------


class ConnectError(AntiphonError):
    """No connection came about, or it broke."""

    code = "connection"
    blame = "network"
    exit_code = 3
    sentence = N_("There is no connection to {address}.")


class HostUnknown(ConnectError):
    """A host that does not resolve."""

    code = "host-unknown"
    blame = "user"
    sentence = N_("There is no host “{host}”.")
    hint = N_("Check how it is written, and that this machine has a network.")


class ConnectRefused(ConnectError):
    """Nothing answers at the address."""

    code = "connect-refused"
    sentence = N_("Nobody answers at {address}: {problem}.")
    hint = N_("Check the host and the port, and that the server is running.")


class NotAntiphon(ConnectError):
    """Something answers that is not this protocol."""

    code = "not-antiphon"
    sentence = N_("What answers at {address} does not speak this protocol.")
    hint = N_("Check the port, and whether the server wants tls:// or tcp://.")


class ConnectionLost(ConnectError):
    """The connection broke while it was in use."""

    code = "connection-lost"
    sentence = N_("The connection to {address} broke.")
    hint = N_("Connect again; what was not answered may or may not have been handled.")


class ServerStopping(ConnectError):
    """The server says goodbye."""

    code = "server-stopping"
    blame = "server"
    sentence = N_("The server is stopping.")
    hint = N_("Connect again in a moment.")


# --- the server said no -------------------------------------------------------------------------------------


class SignInError(AntiphonError):
    """The server said no."""

    code = "sign-in"
    blame = "user"
    exit_code = 4
    sentence = N_("The server did not let you in.")


class SignInRefused(SignInError):
    """The one refusal for an unknown name, a wrong password and a disabled account (promise 5)."""

    code = "sign-in-refused"
    sentence = N_("Name or password is wrong.")
    hint = N_("Try again; if you have forgotten the password, ask whoever runs the server.")


class SignInTimedOut(SignInError):
    """Nobody signed in while the server waited."""

    code = "sign-in-timed-out"
    blame = "client"
    sentence = N_("The sign-in took too long.")
    hint = N_("Connect again.")


class RegistrationClosed(SignInError):
    """New names are not taken here."""

    code = "registration-closed"
    sentence = N_("This server does not take new names.")
    hint = N_("Ask whoever runs it to let you in.")


class NameTaken(SignInError):
    """Somebody has the name."""

    code = "name-taken"
    sentence = N_("The name “{name}” is taken.")
    hint = N_("Sign in with its password, or choose another name.")


class NameUnknown(SignInError):
    """Nobody has the name, and registering was not asked for."""

    code = "name-unknown"
    sentence = N_("The server does not know “{name}” yet.")
    hint = N_("Say --register to become known under this name.")


class CredentialRefused(SignInError):
    """A verifier that was not made with the server's parameters."""

    code = "credential-refused"
    blame = "client"
    sentence = N_("The server asks for a credential made in another way.")
    hint = N_("Make it with the parameters of the server's HELLO.")


class SessionEnded(SignInError):
    """The session is over: left, expired or revoked; one answer for a token that never was."""

    code = "session-ended"
    sentence = N_("This session is over.")
    hint = N_("Sign in again.")


class SessionReplaced(SignInError):
    """The session was taken up on another connection."""

    code = "session-replaced"
    sentence = N_("This session went on elsewhere.")
    hint = N_("Sign in again if that was not you, and change the password.")


class TokenRefused(SignInError):
    """A message whose token is not the session's."""

    code = "token-refused"
    blame = "client"
    sentence = N_("The message did not carry this session's token and was not handled.")
    hint = N_("Send the token of the last WELCOME with each message.")


# --- a peer broke the protocol ------------------------------------------------------------------------------


class ProtocolError(AntiphonError):
    """A peer broke the protocol."""

    code = "protocol"
    blame = "client"
    exit_code = 5
    sentence = N_("The protocol was broken: {problem}.")
    hint = N_("See docs/protocol.md.")


class FrameInvalid(ProtocolError):
    """A header that cannot be: unknown kind or flags, reserved bits, too short."""

    code = "frame-invalid"


class FrameTooLarge(ProtocolError):
    """A frame over the limit of its kind, known from its header alone."""

    code = "frame-too-large"
    sentence = N_("{size} bytes in one {kind} are too many: {limit} are allowed.")


class MessageTooLarge(FrameTooLarge):
    """A message over the limit that the operator has set."""

    code = "message-too-large"
    sentence = N_("A message of {size} bytes is too large: {limit} are allowed.")
    hint = N_("Send less at once, or ask the operator to raise --message-limit.")


class FrameUnexpected(ProtocolError):
    """A kind that may not come now, or not from this side."""

    code = "frame-unexpected"
    sentence = N_("{kind} may not come now.")
    hint = N_("Sign in first, and once; then send messages.")


class BodyInvalid(ProtocolError):
    """A control body that does not fit its schema."""

    code = "body-invalid"
    sentence = N_("The body of {kind} does not fit: {problem}.")


class NotText(ProtocolError):
    """A payload flagged as text that is not UTF-8."""

    code = "not-text"
    sentence = N_("A message flagged as text is not UTF-8.")
    hint = N_("Send UTF-8, or bytes without the flag.")


class VersionUnsupported(ProtocolError):
    """No version in common."""

    code = "version-unsupported"
    sentence = N_("Version {version} of the protocol is not spoken here.")
    hint = N_("Versions spoken: {versions}.")


class MechanismUnsupported(ProtocolError):
    """No sign-in mechanism in common."""

    code = "mechanism-unsupported"
    sentence = N_("The sign-in mechanism {mechanism} is not offered here.")
    hint = N_("Use one of those in HELLO: {mechanisms}.")


class TooManyRefusals(ProtocolError):
    """Three wrong passwords or three wrong tokens on one connection."""

    code = "too-many-refusals"
    sentence = N_("Three refusals are the most on one connection.")
    hint = N_("Connect again.")


class PeerSilent(ProtocolError):
    """Not even a heartbeat came."""

    code = "peer-silent"
    sentence = N_("Nothing was heard for {seconds} seconds.")
    hint = N_("Connect again; a client sends a heartbeat when it has nothing to say.")


class PeerTooSlow(ProtocolError):
    """The peer does not take what it is sent."""

    code = "peer-too-slow"
    sentence = N_("What was sent was not taken in time.")
    hint = N_("Read the answers as they come.")


class TrustError(ProtocolError):
    """TLS could not be set up, or the server's key is not the one expected."""

    code = "trust"
    blame = "server"
    sentence = N_("The connection to {address} could not be trusted.")
    hint = ""


class ServerKeyUnknown(TrustError):
    """A server that this client has not met, and nobody to ask."""

    code = "server-key-unknown"
    sentence = N_("The key of {host} is not known here: {fingerprint}.")
    hint = N_("Ask the operator for the whole address, which ends in #sha256:…, and connect to that.")


class ServerKeyChanged(TrustError):
    """A server whose key is not the one it had, or not the one in the address."""

    code = "server-key-changed"
    sentence = N_("The key of {host} is {fingerprint}, and {expected} was expected: this may be an impostor.")
    hint = N_(
        "Ask the operator. If the change is real, connect to the new address, or remove the line "
        "of {host} from {file}."
    )


class ServerUnproven(TrustError):
    """A server that let us in without proving that it knows the account."""

    code = "server-unproven"
    sentence = N_("The server at {address} could not prove that it knows your account.")
    hint = N_("Nothing was sent after this; check the address with the operator.")


class TlsFailed(TrustError):
    """No TLS came about."""

    code = "tls-failed"
    sentence = N_("No TLS connection to {address} came about: {problem}.")
    hint = N_("Check whether the server wants tls:// or tcp://.")


# --- the rest -----------------------------------------------------------------------------------------------


class TimedOut(AntiphonError):
    """Nothing came within the time allowed."""

    code = "timed-out"
    blame = "network"
    exit_code = 6
    sentence = N_("{address} did not answer within {seconds} seconds.")
    hint = N_("Check the address, or allow more time with --timeout.")


class Fault(AntiphonError):
    """A fault of this program; the trace is kept in a file."""

    code = "fault"
    blame = "program"
    sentence = N_("This program has failed, and it is not your fault.")
    hint = N_("What happened is written down in {path}; please pass it on to the authors.")


class ServerError(AntiphonError):
    """The server's own fault; its log knows more, the peer does not."""

    code = "server-error"
    sentence = N_("The server failed.")
    hint = N_("Its operator finds the reason in the log.")


class TryLater(ServerError):
    """The store does not answer now, or too much is going on."""

    code = "try-later"
    sentence = N_("The server cannot do this now.")
    hint = N_("Try again in {wait} seconds.")

    def __init__(self, *, wait: float = 3, **fields: object) -> None:
        """Say after how many seconds, `wait`, another try makes sense."""
        super().__init__(wait=wait, **fields)
        self.fields.setdefault("wait", f"{wait:g}")


class ServiceFailed(ServerError):
    """The service raised while it handled the message."""

    code = "service-failed"
    sentence = N_("The service failed on this message.")
    hint = N_("The session goes on; the reason is in the server's log.")


# --- from the wire ------------------------------------------------------------------------------------------


def every_error(root: type[AntiphonError] = AntiphonError) -> Iterator[type[AntiphonError]]:
    """Yield `root` and all classes below it."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)


def from_wire(code: str, text: str, hint: str = "", wait: float = 0) -> AntiphonError:
    """Return the error that an ERROR frame tells of: the class with that code, in the server's own words.

    A code of a later version gives an `AntiphonError` that still carries text, hint and `wait`.
    """
    kind = next((error for error in every_error() if error.code == code), AntiphonError)
    error = kind(wait=wait)
    error.told = (_shown(text), _shown(hint))
    return error
