"""Invitations in an interactive sign-in: check whether one still works; explain that one is needed."""

from antiphon.client.aio.sign_in import SignIn
from antiphon.errors import InvitationUsed, NameTaken
from antiphon.identity.invitations import Secret
from antiphon.terminal.console import Console


async def can_register(console: Console, sign_in: SignIn, name: str, invitation: Secret) -> bool:
    """Return whether `name` can register with the invitation.

    If the account exists already, tell the person so and return False: they can sign in with the password.

    Raises:
        InvitationRefused: the server does not accept the invitation, and the account does not exist.
    """
    try:
        if (await sign_in.identify(name, invitation)).free:
            return True
        console.tell_error(NameTaken(name=name))
    except InvitationUsed as error:
        console.tell_error(error)
    return False


def tell_registration_closed(console: Console) -> None:
    """Tell the person that this server takes no new names, and how to get an account all the same."""
    _ = console.translations.gettext
    console.tell(
        _(
            "This server does not take new names. If you have no account here yet, ask its operator for an "
            "invitation, and give it instead of the address."
        )
    )
