"""The server said no; exit code 4."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


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
    hint = N_("Try again; if you have forgotten the password, ask the server's operator.")


class TooManyFailures(SignInError):
    """So many sign-ins under a name have failed in a row that the next ones must wait; this one was not tried.

    It is said of every name alike, whether anybody has it or not.
    """

    code = "too-many-failures"
    sentence = N_("Too many sign-ins under this name have failed; this one was not tried.")
    hint = N_("Try again in {wait} seconds.")

    def __init__(self, *, wait: float = 1, **fields: object) -> None:
        """Say after how many seconds, `wait`, another try makes sense."""
        super().__init__(wait=wait, **fields)
        self.fields.setdefault("wait", f"{wait:g}")


class NameLocked(SignInError):
    """So many sign-ins under this name have failed in a row that no further one is tried from a new address."""

    code = "name-locked"
    sentence = N_("So many sign-ins under this name have failed that it is locked.")
    hint = N_("Sign in from where you have signed in before, or ask the server's operator.")


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
    hint = N_("Ask its operator for an invitation.")


class InvitationRefused(SignInError):
    """An invitation that the server does not know; below are those that it knows and does not take."""

    code = "invitation-refused"
    sentence = N_("The server does not take this invitation: it is not one of its own, or it was withdrawn.")
    hint = N_("Ask its operator for another one.")


class InvitationUsed(InvitationRefused):
    """An invitation with which somebody has registered already."""

    code = "invitation-used"
    sentence = N_("This invitation has been used already.")
    hint = N_("If that was you, sign in with your password; if not, tell the server's operator.")


class InvitationExpired(InvitationRefused):
    """An invitation whose time is over."""

    code = "invitation-expired"
    sentence = N_("This invitation has expired.")


class InvitationForAnother(InvitationRefused):
    """An invitation that lets another name register."""

    code = "invitation-for-another"
    sentence = N_("This invitation is not for “{name}”.")
    hint = N_("Use the name that it was made for.")


class NameTaken(SignInError):
    """Somebody has the name."""

    code = "name-taken"
    sentence = N_("The name “{name}” is taken.")
    hint = N_("Sign in with its password, or choose another name.")


class NameUnknown(SignInError):
    """Nobody has the name, and registering was not asked for."""

    code = "name-unknown"
    sentence = N_("The server does not know “{name}” yet.")
    hint = N_("Add --register to register this name.")


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


class SessionClosed(SignInError):
    """The service has ended the session, and may have said why."""

    code = "session-closed"
    blame = "server"
    sentence = N_("The service has ended the session: “{reason}”.")


class SessionReplaced(SignInError):
    """The session was taken up on another connection."""

    code = "session-replaced"
    sentence = N_("This session continues on another connection.")
    hint = N_("Sign in again if that was not you, and change the password.")


class PasswordDue(SignInError):
    """A message of somebody who must choose a new password before anything else."""

    code = "password-due"
    sentence = N_("A new password must be chosen before anything else.")
    hint = N_("Sign in at a terminal, or give it by --new-password-file or ANTIPHON_NEW_PASSWORD.")


class TokenRefused(SignInError):
    """A message whose token is not the session's."""

    code = "token-refused"
    blame = "client"
    sentence = N_("The message did not carry this session's token and was not handled.")
    hint = N_("Send the token of the last WELCOME with each message.")
