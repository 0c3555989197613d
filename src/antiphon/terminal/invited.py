"""The way in with an invitation: what it changes for the person, and what is said to whoever has none."""

from antiphon.client.aio.sign_in import SignIn
from antiphon.errors import InvitationUsed, NameTaken
from antiphon.identity.invitations import Secret
from antiphon.terminal.console import Console


async def lets_in(console: Console, sign_in: SignIn, name: str, invitation: Secret) -> bool:
    """Return whether `name` can register with the invitation; False where the account is there already.

    Then the person is told so, and may sign in with the password.

    Raises:
        InvitationRefused: it lets nobody in, and nobody has come in with it.
    """
    try:
        if (await sign_in.identify(name, invitation)).free:
            return True
        console.tell_error(NameTaken(name=name))
    except InvitationUsed as error:
        console.tell_error(error)
    return False


def tell_closed(console: Console) -> None:
    """Say, before a password is asked for, how those come in who have no account yet."""
    _ = console.translations.gettext
    console.tell(
        _(
            "This server does not take new names. If you have no account here yet, ask whoever runs it for an "
            "invitation, and give it in the place of the address."
        )
    )
