"""Refusals of a sign-in, a registration or a token, and ends of a session; exit code 4."""

from typing import ClassVar

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class SignInError(AntiphonError):
    """The server refused the sign-in or ended the session."""

    code = "sign-in"
    blame = "user"
    exit_code = 4
    sentence = N_("The server refused the sign-in.")


class SignInRefused(SignInError):
    """Unknown name, wrong password or disabled account: one refusal for all three (promise 5)."""

    code = "sign-in-refused"
    sentence = N_("Name or password is wrong.")
    hint = N_("Try again; if you have forgotten the password, ask the server's operator.")


class TooManyFailures(SignInError):
    """Too many sign-ins under a name have failed in a row: the next one must wait, and this one was not checked.

    The server answers so whether or not the name has an account.
    """

    code = "too-many-failures"
    sentence = N_("Too many sign-ins under this name have failed; this one was not checked.")
    hint = N_("Try again in {wait} s.")

    def __init__(self, *, wait: float = 1, **fields: object) -> None:
        """Create the error; `wait` is in how many seconds to try again."""
        super().__init__(wait=wait, **fields)
        self.fields.setdefault("wait", f"{wait:g}")


class NameLocked(SignInError):
    """A name is locked: so many sign-ins failed in a row that none is checked from a new address any more."""

    code = "name-locked"
    sentence = N_("This name is locked: too many sign-ins under it have failed.")
    hint = N_("Sign in from an address where you have signed in before, or ask the server's operator.")


class SignInTimedOut(SignInError):
    """The client did not sign in within `--entry-seconds`."""

    code = "sign-in-timed-out"
    blame = "client"
    sentence = N_("The sign-in took too long.")
    hint = N_("Connect again.")


class RegistrationClosed(SignInError):
    """The server does not register new names."""

    code = "registration-closed"
    sentence = N_("This server does not take new names.")
    hint = N_("Ask its operator for an invitation.")


class InvitationRefused(SignInError):
    """The server does not know the invitation; the subclasses are for known ones that it refuses."""

    code = "invitation-refused"
    sentence = N_("The server does not accept this invitation: another server made it, or it was withdrawn.")
    hint = N_("Ask its operator for another one.")


class InvitationUsed(InvitationRefused):
    """The invitation has been used to register."""

    code = "invitation-used"
    sentence = N_("This invitation has been used already.")
    hint = N_("If that was you, sign in with your password; if not, tell the server's operator.")


class InvitationExpired(InvitationRefused):
    """The invitation has expired."""

    code = "invitation-expired"
    sentence = N_("This invitation has expired.")


class InvitationForAnother(InvitationRefused):
    """The invitation is for another name."""

    code = "invitation-for-another"
    sentence = N_("This invitation is not for “{name}”.")
    hint = N_("Use the name that it was made for.")


class NameTaken(SignInError):
    """The name has an account already."""

    code = "name-taken"
    sentence = N_("The name “{name}” is taken.")
    hint = N_("Sign in with its password, or choose another name.")


class NameUnknown(SignInError):
    """The name has no account, and the client did not ask to register it."""

    code = "name-unknown"
    sentence = N_("The server does not know “{name}” yet.")
    hint = N_("Add --register to register this name.")


class CredentialRefused(SignInError):
    """The client made a verifier with other parameters than the server's."""

    code = "credential-refused"
    blame = "client"
    sentence = N_("The server refused the credential: it was made with other parameters.")
    hint = N_("Make it with the parameters in the server's HELLO.")


class SessionEnded(SignInError):
    """The session was left, has expired or was revoked; a token that never existed gets the same answer."""

    code = "session-ended"
    sentence = N_("This session is over.")
    hint = N_("Sign in again.")


class SessionExpired(SessionEnded):
    """The session was ended while it was in use, because its time was over."""

    code = "session-expired"
    sentence = N_("The time of this session is over.")


class SessionRevoked(SessionEnded):
    """An operator has ended the session; the subclasses are for what else ends a session from outside.

    Only the connection that held the session is told: RESUME gets `SessionEnded` later.
    """

    code = "session-revoked"
    blame = "operator"
    cause: ClassVar[str] = "revoked"
    """The word in the server's BYE and in its log."""
    sentence = N_("The server's operator has ended this session.")


class AccountDisabled(SessionRevoked):
    """The account of the session was disabled."""

    code = "account-disabled"
    cause = "disabled"
    sentence = N_("This session is over: the account was disabled.")
    hint = N_("Ask the server's operator.")


class AccountRemoved(SessionRevoked):
    """The account of the session was removed."""

    code = "account-removed"
    cause = "removed"
    sentence = N_("This session is over: the account was removed.")
    hint = N_("Ask the server's operator.")


class AccountRenamed(SessionRevoked):
    """The account of the session was given another name."""

    code = "account-renamed"
    cause = "renamed"
    sentence = N_("This session is over: the account has another name now.")
    hint = N_("Sign in with the new name; if you do not know it, ask the server's operator.")


class PasswordChanged(SessionRevoked):
    """The password of the account was reset by an operator, or changed in another session."""

    code = "password-changed"
    blame = "user"
    cause = "password"
    sentence = N_("This session is over: the password of the account was changed.")
    hint = N_("Sign in with the new one; if it was not you who changed it, ask the server's operator.")


class TooManySessions(SessionRevoked):
    """A new session has replaced this one: the limit of sessions was reached, and a client asked for it."""

    code = "too-many-sessions"
    blame = "user"
    cause = "too-many"
    sentence = N_("A newer session has replaced this one, because the limit of sessions is reached.")
    hint = N_("Sign in again. If the newer one is not yours, change the password.")


class EndedElsewhere(SessionRevoked):
    """The person has ended this session from another one of the same account."""

    code = "ended-elsewhere"
    blame = "user"
    cause = "elsewhere"
    sentence = N_("This session was ended from another session of the same account.")
    hint = N_("Sign in again. If it was not you who ended it, change the password.")


def revoked(cause: str) -> SessionEnded:
    """Return the error for the `cause` of a BYE `revoked`: `SessionEnded` itself for a word of a later version."""
    kinds: list[type[SessionRevoked]] = [SessionRevoked, *SessionRevoked.__subclasses__()]
    return next((kind() for kind in kinds if kind.cause == cause), SessionEnded())


class SessionClosed(SignInError):
    """The service has ended the session, perhaps with a reason."""

    code = "session-closed"
    blame = "server"
    sentence = N_("The service has ended the session: “{reason}”.")


class SessionsFull(SignInError):
    """The limit of sessions is reached, and connections hold all of them."""

    code = "sessions-full"
    sentence = N_("The limit of sessions ({most}) is reached, and all of them are in use.")
    hint = N_("Leave one of them, or sign in with --replace (in a program: replace=True) to end the oldest one.")

    def __init__(self, *, wait: float = 0, most: int = 10, **fields: object) -> None:
        """Create the error; `most` is the limit of sessions."""
        super().__init__(wait=wait, most=most, **fields)


class SessionReplaced(SignInError):
    """The session was resumed on another connection."""

    code = "session-replaced"
    sentence = N_("This session continues on another connection.")
    hint = N_("If that was not you, sign in again and change the password.")


class PasswordDue(SignInError):
    """A message came before the new password that this account must choose first."""

    code = "password-due"
    sentence = N_("A new password must be chosen before anything else.")
    hint = N_("Sign in at a terminal, or give it by --new-password-file or ANTIPHON_NEW_PASSWORD.")


class TokenRefused(SignInError):
    """A message carried a token that is not the session's."""

    code = "token-refused"
    blame = "client"
    sentence = N_("The message did not carry this session's token and was not handled.")
    hint = N_("Send the token of the last WELCOME with each message.")
