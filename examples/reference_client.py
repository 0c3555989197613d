r"""Reference client of docs/protocol.md, with Python's standard library only: a model for other languages.

It signs in, sends each line of standard input as a message, and prints the answers:

    printf 'hello\n' | ANTIPHON_PASSWORD=... python3 reference_client.py 'tls://ann@localhost:7862#sha256:...'
"""

import getpass
import hashlib
import hmac
import json
import os
import secrets
import socket
import ssl
import stringprep
import struct
import sys
import unicodedata
import urllib.parse
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

HELLO, AUTHENTICATE, CHALLENGE, WELCOME = 0x01, 0x04, 0x05, 0x07
MESSAGE, END, ERROR, HEARTBEAT, BYE = 0x10, 0x11, 0x20, 0x21, 0x22
TEXT, LAST = 0x01, 0x02
LARGEST = 8 + 16 * 1024 * 1024  # the header after its length, and the largest message that a server may allow
GS2 = b"p=tls-server-end-point,,"
HASHES = {  # object identifier of a certificate's signature: its hash function; ECDSA, then RSA
    "2a8648ce3d040302": "sha256", "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512",
    "2a864886f70d01010b": "sha256", "2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512",
}  # fmt: skip


class Refused(Exception):
    """The server refused, or broke the protocol, or cannot be trusted."""


class Client:
    """One connection to a server: frames, sign-in, messages, goodbye."""

    def __init__(self, host: str, port: int, fingerprint: str) -> None:
        """Connect over TLS 1.3, and check that the server's key has this fingerprint."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # we trust the fingerprint instead
        self.sock = context.wrap_socket(socket.create_connection((host, port), timeout=10), server_hostname=host)
        self.certificate = self.sock.getpeercert(binary_form=True) or b""
        if fingerprint_of(self.certificate) != fingerprint:
            self.sock.close()
            raise Refused(f"The key of {host} is not {fingerprint}: this may be an impostor.")
        self.id, self.token = 0, b""
        self.sock.settimeout(self.control(HELLO, 0)["limits"]["heartbeat"] / 2)

    # --- frames ---------------------------------------------------------------------------------------------

    def send(self, kind: int, payload: bytes = b"", *, id: int = 0, flags: int = 0) -> None:
        """Send a frame; the body of a MESSAGE begins with the token."""
        body = self.token + payload if kind == MESSAGE else payload
        self.sock.sendall(struct.pack(">IBBHI", 8 + len(body), kind, flags, 0, id) + body)

    def receive(self) -> tuple[int, int, int, bytes]:
        """Return kind, flags, id and payload of the next frame, skipping heartbeats and unknown optional kinds."""
        while True:
            (length,) = struct.unpack(">I", self.read(4))
            if not 8 <= length <= LARGEST:  # checked before memory is allocated
                raise Refused("The server does not speak this protocol.")
            kind, flags, _, id, payload = struct.unpack(f">BBHI{length - 8}s", self.read(length))
            if kind == ERROR:
                error = json.loads(payload)
                raise Refused(f"{error['text']} {error.get('hint', '')}")
            if kind < 0x80 and kind != HEARTBEAT:
                return kind, flags, id, payload

    def read(self, size: int) -> bytes:
        """Return `size` bytes; send a heartbeat whenever the server is silent, and give up after four silences."""
        data, silences = b"", 0
        while len(data) < size:
            try:
                piece = self.sock.recv(size - len(data))
            except TimeoutError:
                silences += 1
                if silences == 4:
                    raise
                self.send(HEARTBEAT)
                continue
            if not piece:
                raise Refused("The server has closed the connection.")
            data, silences = data + piece, 0
        return data

    def control(self, kind: int, id: int) -> dict[str, Any]:
        """Return the body of the next frame, which must have this kind and id."""
        came, _, answered, payload = self.receive()
        if (came, answered) != (kind, id):
            raise Refused("The server does not speak this protocol.")
        return dict(json.loads(payload))

    def request(self, kind: int, answer: int, **body: str) -> dict[str, Any]:
        """Send a sign-in request; return the body of its answer, which must be of the kind `answer`."""
        self.id += 1
        self.send(kind, json.dumps(body).encode(), id=self.id)
        return self.control(answer, self.id)

    # --- sign-in, messages, goodbye -------------------------------------------------------------------------

    def sign_in(self, name: str, password: str) -> dict[str, Any]:
        """Sign in by SCRAM-SHA-256-PLUS: prove the password, check the server's proof, return WELCOME."""
        nonce = b64encode(secrets.token_bytes(24))
        first = b"n=" + name.replace("=", "=3D").replace(",", "=2C").encode() + b",r=" + nonce
        begin = b64encode(GS2 + first).decode()
        answer = self.request(AUTHENTICATE, CHALLENGE, mechanism="SCRAM-SHA-256-PLUS", data=begin)
        challenge = b64decode(answer["data"])
        said = dict(field.split(b"=", 1) for field in challenge.split(b","))
        rounds = int(said[b"i"])
        short = len(said[b"r"]) < len(nonce) + 20  # of the server's part
        if short or not said[b"r"].startswith(nonce) or not 4096 <= rounds <= 1_000_000:
            raise Refused("The challenge of the server is not safe to answer.")
        salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), b64decode(said[b"s"]), rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        stored_key = hashlib.sha256(client_key).digest()
        unproven = b"c=" + b64encode(GS2 + binding_of(self.certificate)) + b",r=" + said[b"r"]
        signed = b",".join((first, challenge, unproven))
        signature = hmac.digest(stored_key, signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        final = b64encode(unproven + b",p=" + b64encode(proof)).decode()
        welcome = self.request(CHALLENGE, WELCOME, data=final)
        its_proof = b"v=" + b64encode(hmac.digest(server_key, signed, "sha256"))
        if not hmac.compare_digest(b64decode(welcome["data"] or ""), its_proof):
            raise Refused("The server could not prove that it knows your account.")
        self.token = b64decode(welcome["token"])
        return welcome

    def ask(self, message: bytes) -> Iterator[bytes]:
        """Send a text and yield its answers, up to the one with the flag LAST or up to END."""
        self.id += 1
        self.send(MESSAGE, message, id=self.id, flags=TEXT)
        kind = flags = 0
        while not flags & LAST and kind != END:
            kind, flags, id, payload = self.receive()
            if kind == BYE:
                raise Refused("The server has said goodbye.")
            if id != self.id:  # a push, or an answer to an earlier message
                kind = flags = 0
            elif kind == MESSAGE:
                yield payload

    def leave(self) -> None:
        """Send BYE and wait for the server's BYE."""
        self.send(BYE, b'{"reason": "left"}')
        while self.receive()[0] != BYE:
            pass
        self.sock.close()


def elements(der: bytes) -> list[tuple[bytes, bytes]]:
    """Split a sequence of DER elements; return each whole, and its content."""
    found = []
    while der:
        size, start = der[1], 2
        if size & 0x80:  # long form: the low bits are the number of bytes of the size
            start += size & 0x7F
            size = int.from_bytes(der[2:start], "big")
        found.append((der[: start + size], der[start : start + size]))
        der = der[start + size :]
    return found


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate's public key, as addresses carry it."""
    (_, to_be_signed), *_ = elements(elements(certificate)[0][1])
    fields = [whole for whole, _ in elements(to_be_signed) if whole[0] != 0xA0]  # without the version
    return "sha256:" + urlsafe_b64encode(hashlib.sha256(fields[5]).digest()).decode().rstrip("=")


def binding_of(certificate: bytes) -> bytes:
    """Return the channel binding tls-server-end-point: the certificate's hash by its signature's hash function."""
    _, (_, algorithm), _ = elements(elements(certificate)[0][1])
    return hashlib.new(HASHES[elements(algorithm)[0][1].hex()], certificate).digest()


def saslprep(text: str) -> str:
    """Return a password in the form that SCRAM hashes (SASLprep, RFC 4013)."""
    mapped = (" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    text = unicodedata.ucd_3_2_0.normalize("NFKC", "".join(mapped))
    right = [stringprep.in_table_d1(c) for c in text]  # right-to-left text must be so throughout
    mixed = any(right) and (not right[0] or not right[-1] or any(map(stringprep.in_table_d2, text)))
    tables = ("a1", "c12", "c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9")
    if mixed or any(getattr(stringprep, f"in_table_{table}")(c) for table in tables for c in text):
        raise Refused("The password has a character that cannot be used to sign in.")
    return text


def shown(text: str) -> str:
    """Return the text of a server without characters that a terminal could act on."""
    return "".join(filter(str.isprintable, text))


def main() -> None:
    """Send the lines of standard input; all are read first, so that no connection waits while a person types."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    address = urllib.parse.urlsplit(sys.argv[1])
    messages = [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    password = os.environ.get("ANTIPHON_PASSWORD") or getpass.getpass()
    client = Client(address.hostname or "", address.port or 7862, address.fragment)
    welcome = client.sign_in(urllib.parse.unquote(address.username or ""), password)
    print(shown(welcome["greeting"]), file=sys.stderr)
    for message in messages:
        for answer in client.ask(message):
            sys.stdout.buffer.write(answer + b"\n")
    client.leave()


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as error:
        sys.exit(shown(str(error)))
    except (LookupError, TypeError, ValueError) as error:
        sys.exit(f"The server does not speak this protocol, or the address is not valid: {shown(str(error))}.")
