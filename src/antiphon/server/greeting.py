"""What the server says to a person who comes in, in that person's language."""

from gettext import NullTranslations

from antiphon.store.contracts import Visit


def greeting(catalogue: NullTranslations, name: str, visit: Visit | None) -> str:
    """Greet `name`: as a newcomer, or with when and from where the last visit was and what was refused since.

    An empty name is somebody whom nobody has asked for one.
    """
    _ = catalogue.gettext
    if not name:
        return _("Welcome!")
    if visit is None:
        return _("Welcome, {name}! This is your first visit.").format(name=name)
    when = f"{visit.at:%Y-%m-%d %H:%M} UTC"
    text = _("Welcome back, {name}! Your last visit was on {when} from {address}.").format(
        name=name, when=when, address=visit.address
    )
    if visit.refusals:
        told = catalogue.ngettext(
            "One sign-in under your name has been refused since.",
            "{count} sign-ins under your name have been refused since.",
            visit.refusals,
        )
        text += " " + told.format(count=visit.refusals)
    return text
