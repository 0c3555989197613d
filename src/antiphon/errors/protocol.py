"""Errors of the protocol, of TLS and of the server's key; exit code 5."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class ProtocolError(AntiphonError):
    """A peer broke the protocol (docs/protocol.md)."""

    code = "protocol"
    blame = "client"
    exit_code = 5
    sentence = N_("The protocol was broken: {problem}.")
    hint = N_("See docs/protocol.md.")


class FrameInvalid(ProtocolError):
    """The header of a frame is invalid: unknown kind or flags, reserved bits set, or too short."""

    code = "frame-invalid"


class FrameTooLarge(ProtocolError):
    """A frame is over the limit of its kind; its header alone tells, before the body is read."""

    code = "frame-too-large"
    sentence = N_("{size} bytes in one {kind} are too many: {limit} are allowed.")


class MessageTooLarge(FrameTooLarge):
    """A message is over `--message-limit`."""

    code = "message-too-large"
    sentence = N_("A message of {size} bytes is too large: {limit} are allowed.")
    hint = N_("Send less at once, or ask the operator to raise --message-limit.")


class FrameUnexpected(ProtocolError):
    """A frame's kind is not allowed in this phase, or not from this side."""

    code = "frame-unexpected"
    sentence = N_("{kind} is not allowed now.")
    hint = N_("Sign in first, only once; then send messages.")


class BodyInvalid(ProtocolError):
    """The body of a control frame does not fit its schema."""

    code = "body-invalid"
    sentence = N_("The body of {kind} is invalid: {problem}.")


class NotText(ProtocolError):
    """A payload is flagged as text and is not UTF-8."""

    code = "not-text"
    sentence = N_("A message flagged as text is not UTF-8.")
    hint = N_("Send UTF-8, or bytes without the flag.")


class TextOnly(ProtocolError):
    """The service accepts text only, and this message is bytes."""

    code = "text-only"
    sentence = N_("This service takes text only.")
    hint = N_("Send the message as text.")


class MessageInvalid(ProtocolError):
    """The service takes values of a type, and this message is none; the service was not called.

    The sentence names the field, and never repeats its value.
    """

    code = "message-invalid"
    sentence = N_("This message does not fit the service: {problem}{place}.")
    hint = N_("Send what the service takes; “antiphon schema” prints it.")


class VersionUnsupported(ProtocolError):
    """Client and server have no version of the protocol in common."""

    code = "version-unsupported"
    sentence = N_("Version {version} of the protocol is not supported here.")
    hint = N_("Supported versions: {versions}.")


class MechanismUnsupported(ProtocolError):
    """The sign-in mechanism is not the one of this kind of connection."""

    code = "mechanism-unsupported"
    sentence = N_("The sign-in mechanism {mechanism} is not offered here.")
    hint = N_("Use one of those in HELLO: {mechanisms}.")


class AccessUnsupported(ProtocolError):
    """A frame of the sign-in does not belong to the server's access (`--access`)."""

    code = "access-unsupported"
    sentence = N_("{kind} cannot be used to sign in here: the access is “{access}”.")
    hint = N_("Sign in as the access in HELLO requires.")


class TooManyRefusals(ProtocolError):
    """Three wrong passwords or three wrong tokens on one connection."""

    code = "too-many-refusals"
    sentence = N_("Too many refusals: a connection is closed after three.")
    hint = N_("Connect again.")


class PeerSilent(ProtocolError):
    """The peer has sent nothing for `--silence-seconds`, not even a heartbeat."""

    code = "peer-silent"
    sentence = N_("Nothing was received for {seconds} seconds.")
    hint = N_("Connect again; a client sends a heartbeat when it has nothing else to send.")


class PeerTooSlow(ProtocolError):
    """The peer does not read what it is sent."""

    code = "peer-too-slow"
    sentence = N_("Sent data was not read in time.")
    hint = N_("Read answers as they arrive.")


class TrustError(ProtocolError):
    """TLS could not be set up, or the server's key is not the one expected."""

    code = "trust"
    blame = "server"
    sentence = N_("The connection to {address} could not be trusted.")
    hint = ""


class ServerKeyUnknown(TrustError):
    """The client does not know the server's key, and there is no terminal to ask at."""

    code = "server-key-unknown"
    sentence = N_("The key of {host} is not known here: {fingerprint}.")
    hint = N_("Ask the operator for the whole address, which ends in #sha256:…, and connect to that.")


class CertificateRefused(TrustError):
    """The server's certificate is from an authority, but its dates, its name or its chain are not valid."""

    code = "certificate-refused"
    blame = "operator"
    sentence = N_("The certificate of {host} cannot be trusted: {problem}.")
    hint = N_(
        "Tell the operator. To trust its key all the same, ask for the whole address, "
        "which ends in #sha256:…, and connect to that."
    )


class ServerKeyChanged(TrustError):
    """The server's key is neither the one in the address nor one that is known for its host and port."""

    code = "server-key-changed"
    sentence = N_("The key of {host} is {fingerprint}, and {expected} was expected: this may be an impostor.")
    hint = N_("Ask the operator. If the change is real, connect to the new address{remedy}.")


class ServerUnproven(TrustError):
    """The server accepted the sign-in without proving that it knows the account."""

    code = "server-unproven"
    sentence = N_("The server at {address} could not prove that it knows your account.")
    hint = N_("Nothing was sent after this; check the address with the operator.")


class PasswordNotAsked(TrustError):
    """The client has a password, and the server asks for none: such a server proves nothing."""

    code = "password-not-asked"
    sentence = N_("The server at {address} asks for no password, so it does not prove that it knows your account.")
    hint = N_("Nothing was sent. If the server is meant to ask for none, leave out the password.")


class TlsFailed(TrustError):
    """The TLS handshake failed."""

    code = "tls-failed"
    sentence = N_("The TLS connection to {address} failed: {problem}.")
    hint = N_("Check whether the server uses tls:// or tcp://.")
