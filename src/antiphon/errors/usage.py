"""Errors of usage: options, addresses, names, files, accounts and invitations; exit code 2."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_, Translate


class UsageError(AntiphonError):
    """The command cannot be carried out as given."""

    code = "usage"
    blame = "user"
    exit_code = 2
    sentence = N_("{problem}")


class SettingInvalid(UsageError):
    """A flag, variable or line of the configuration file has an invalid value."""

    code = "setting-invalid"
    sentence = N_("{source}: {problem}")


class InputMissing(UsageError):
    """A needed input is missing, and there is no terminal to ask at."""

    code = "input-missing"
    sentence = N_("{what} is missing, and there is no terminal to ask at.")
    hint = N_("Give it by {how}.")


class AddressInvalid(UsageError):
    """The text is not a server address."""

    code = "address-invalid"
    sentence = N_("“{address}” is not an address: {problem}.")
    hint = N_("An address looks like tls://name@host:7862, or host:7862, or just host.")


class PortInvalid(UsageError):
    """The text is not a port number."""

    code = "port-invalid"
    sentence = N_("“{port}” is not a port.")
    hint = N_("Give a whole number from {lowest} to 65535.")


class NameAmbiguous(UsageError):
    """The server knows several names at this client's address, and there is no terminal to ask at."""

    code = "name-ambiguous"
    sentence = N_("The server knows several names at this address: {names}.")
    hint = N_("Say which is yours by --name, ANTIPHON_NAME or name@host.")


class NameInvalid(UsageError):
    """The text cannot be a name."""

    code = "name-invalid"
    blame = "client"
    sentence = N_("“{name}” cannot be a name: {problem}.")
    hint = N_("Choose up to 64 letters and digits of one alphabet, without spaces.")


class AccountUnknown(UsageError):
    """The account that the operator named does not exist."""

    code = "account-unknown"
    blame = "operator"
    sentence = N_("There is no account “{name}” in {path}.")
    hint = N_("Run antiphon accounts list to see all accounts; --data selects another folder.")


class AccountExists(UsageError):
    """The name that the operator chose has an account already."""

    code = "account-exists"
    blame = "operator"
    sentence = N_("There is an account “{name}” already.")
    hint = N_("Choose another name, or remove that account first.")


class SessionUnknown(UsageError):
    """The session that the operator named does not exist."""

    code = "session-unknown"
    blame = "operator"
    sentence = N_("There is no session “{id}”.")
    hint = N_("Run antiphon sessions list to see all sessions.")


class InvitationInvalid(UsageError):
    """The text is not a complete invitation; the error does not repeat it, because it may contain the secret."""

    code = "invitation-invalid"
    sentence = N_("This invitation is damaged: {problem}.")
    hint = N_("Copy it again, from antiphon to its last character.")


class InvitationUnknown(UsageError):
    """The invitation that the operator named does not exist or was used."""

    code = "invitation-unknown"
    blame = "operator"
    sentence = N_("There is no unused invitation for “{name}”.")
    hint = N_("Run antiphon invitations list to see all invitations.")


class NamesUnusable(UsageError):
    """A file of names has unusable lines, each of which was reported before this error."""

    code = "names-unusable"
    blame = "operator"
    sentence = N_("Nobody was invited, because {path} has lines that cannot be used: {count}.")
    hint = N_("Fix them, then run the command again.")


class PasswordInvalid(UsageError):
    """The rules do not allow this password."""

    code = "password-invalid"
    sentence = N_("This password cannot be used: {problem}.")
    hint = N_("Choose another one, or press Enter for a passphrase made for you.")


class FolderUnsafe(UsageError):
    """Another user could read, write or replace a file or folder of this program."""

    code = "folder-unsafe"
    blame = "operator"
    sentence = N_("{path} {problem}.")
    hint = N_(
        "Make sure that it is yours alone (chmod go= {path}; for a folder above yours, chmod go-w), then start"
        " again."
    )


class FolderOfAnother(FolderUnsafe):
    """Root was told to use the folder of another user, and would leave files there that this user cannot use."""

    code = "folder-of-another"
    sentence = N_("{path} belongs to {user}, and you are root.")
    hint = N_("Put sudo -u {user} before the command, and it runs as that user.")


class FolderUnusable(UsageError):
    """The data folder, or a file in it, cannot be read or written."""

    code = "folder-unusable"
    blame = "operator"
    sentence = N_("{path} cannot be used: {problem}.")
    hint = N_("Name another folder with --data, or set this one right.")


class RowInvalid(UsageError):
    """A line of a hand-edited file of the store cannot be read."""

    code = "row-invalid"
    blame = "operator"
    sentence = N_("{path}, line {line}: {problem}.")
    hint = N_("Fix that line, or restore a backup of the file; until then the file is not changed.")


class FileUnusable(UsageError):
    """A file that an operator named cannot be read or written."""

    code = "file-unusable"
    blame = "operator"
    sentence = N_("{path} cannot be used: {problem}.")
    hint = N_("Name another file.")


class ImportRefused(UsageError):
    """A file to import has lines that cannot be read; nothing was imported."""

    code = "import-refused"
    blame = "operator"
    sentence = N_("Nothing was imported, because {path} has lines that cannot be read: {count}.")
    hint = N_("Fix them, or add --skip-broken to import the others.")


class KnownServersUnusable(UsageError):
    """The client's file of server keys cannot be read or written."""

    code = "known-servers-unusable"
    sentence = N_("{path} cannot be used: {problem}.")
    hint = N_("Fix it, or name another file with --known-servers.")


class RelayPortsTaken(UsageError):
    """No port of `--relay-address` is free."""

    code = "relay-ports-taken"
    blame = "operator"
    sentence = N_("No port of --relay-address is free: {ports} on {host}.")
    hint = N_(
        "Give it more ports: one for each worker, and as many again for those of the server before that drain."
    )


class PortTaken(UsageError):
    """The port is taken, or no port of the range that was tried is free."""

    code = "port-taken"
    blame = "operator"
    sentence = N_("Port {port} is taken on {host}.")
    hint = N_("Choose another with --port, or let the server choose with --port 0.")


class AddressUnavailable(UsageError):
    """The machine cannot listen on this host."""

    code = "address-unavailable"
    blame = "operator"
    sentence = N_("Cannot listen on {host}: {problem}.")
    hint = N_("Give --host an address of this machine, such as localhost, 0.0.0.0 or ::.")


class ExposureRefused(UsageError):
    """Plain TCP was asked for on an address that other machines can reach."""

    code = "exposure-refused"
    blame = "operator"
    sentence = N_("Plain TCP on {host} would send everything unencrypted over the network.")
    hint = N_("Leave out --plain to use TLS, or add --plain-anywhere if the network is yours alone.")


class AnyoneRefused(ExposureRefused):
    """Access for anyone was asked for on an address that other machines can reach."""

    code = "anyone-refused"
    sentence = N_("Access for anyone on {host} would let in everybody who can reach this machine.")
    hint = N_("Choose --access identify or authenticate, or add --anyone-anywhere if that is what you want.")


class KeyRingUnusable(UsageError):
    """The key ring is missing, damaged, or belongs to other data."""

    code = "key-ring-unusable"
    blame = "operator"
    sentence = N_("The key ring {path} cannot be used: {problem}.")
    hint = N_("Restore this file from a backup; without it nobody can sign in to the accounts beside it.")


class KeyRingElsewhere(KeyRingUnusable):
    """The key ring is not that of the database, which the nodes that use the database have."""

    code = "key-ring-elsewhere"
    hint = N_("Copy {source} to it, with mode 0600.")


class RekeyUnderWay(UsageError):
    """Another process is changing the keys of the same folder, or is backing them up."""

    code = "rekey-under-way"
    blame = "operator"
    sentence = N_("Another process is changing the keys of {path} now, or is backing them up.")
    hint = N_("Wait until it has finished, then run the command again if it is still needed.")


class KeyNotEverywhere(UsageError):
    """A new sealing key is not yet on all nodes of a database, and so cannot seal."""

    code = "key-not-everywhere"
    blame = "operator"
    sentence = N_("Key {number} is not on all nodes yet; servers without it run on {places}.")
    hint = N_("Copy {path} into their data folders, with mode 0600, and run the command again.")


class BackupExists(UsageError):
    """A backup would replace a file."""

    code = "backup-exists"
    blame = "operator"
    sentence = N_("{path} exists already.")
    hint = N_("Name another file, or add --force to replace it.")


class BackupRefused(UsageError):
    """A file to restore is no backup, is damaged, or does not fit; nothing was restored."""

    code = "backup-refused"
    blame = "operator"
    sentence = N_("{path} cannot be restored: {problem}.")
    hint = N_("Nothing was changed. Name another backup.")


class RestoreRefused(UsageError):
    """The folder or database to restore into holds something, or another restore uses it."""

    code = "restore-refused"
    blame = "operator"
    sentence = N_("Nothing can be restored into {path}: {problem}.")
    hint = N_("Name a folder or a database that is new or empty.")


class CredentialUnreadable(UsageError):
    """No key of the ring opens a credential."""

    code = "credential-unreadable"
    blame = "operator"
    sentence = N_("The credential of “{name}” cannot be unsealed: it was altered, or sealed with another key.")
    hint = N_(
        "Give that account another password, or remove it; then run the command again. "
        "No other account is affected."
    )


class CertificateUnusable(UsageError):
    """The TLS certificate or its key cannot be used."""

    code = "certificate-unusable"
    blame = "operator"
    sentence = N_("The certificate {path} cannot be used: {problem}.")
    hint = N_("Fix it, or move it and its key away: a new pair is made at the next start.")


class CertificateKeyLocked(CertificateUnusable):
    """The key of the certificate is encrypted with a password, and a server starts without a person."""

    code = "certificate-key-locked"
    sentence = N_("The key {path} is locked with a password.")
    hint = N_("Save it without one (openssl pkey -in OLD -out NEW); the key and its fingerprint stay the same.")


class CertificateTooWeak(CertificateUnusable):
    """The certificate is intact, but TLS refuses its key or its signature as too weak."""

    code = "certificate-too-weak"
    sentence = N_("The certificate {path} is intact, but too weak for TLS: {problem}.")
    hint = N_(
        "Get one with an RSA key of 2048 bits or an ECDSA key, and SHA-256; its fingerprint will be different."
    )


class ServiceInvalid(UsageError):
    """The object given as a service is not a handler."""

    code = "service-invalid"
    sentence = N_("“{service}” cannot be served: {problem}.")
    hint = N_("Give a function that takes a message and returns the answer; see docs/services.md.")

    def advice(self, translate: Translate = str) -> str:
        """See `AntiphonError`; empty if its own code failed when it was inspected, at a `place`."""
        return "" if "place" in self.fields else super().advice(translate)


class ServiceNotLoaded(UsageError):
    """The service named after `antiphon serve` does not exist, or failed while it was loaded."""

    code = "service-not-loaded"
    sentence = N_("“{service}” cannot be loaded: {problem}.")
    hint = N_("Give echo, chat, module:attr, path/to/file.py:attr or exec:COMMAND; see docs/services.md.")

    def advice(self, translate: Translate = str) -> str:
        """See `AntiphonError`; empty if the module was found and its own code failed, at a `place`."""
        return "" if "place" in self.fields else super().advice(translate)


class ServiceNotStarted(UsageError):
    """The service failed while it started (`started` or `lifespan`), before the first connection."""

    code = "service-not-started"
    sentence = N_("“{service}” could not start: {problem}.")
    hint = N_("The traceback is in the server's log.")


class TopicInvalid(UsageError, ValueError):
    """The text cannot be the name of a topic."""

    code = "topic-invalid"
    blame = "program"
    sentence = N_("“{topic}” cannot be the name of a topic: {problem}.")


class TopicsFull(UsageError):
    """A session or a server has as many topics as it may have."""

    code = "topics-full"
    blame = "program"
    sentence = N_("There cannot be another topic: {problem}.")
    hint = N_("Unsubscribe from those that are not needed.")
