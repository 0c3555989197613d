"""Greeting: the sentence in WELCOME, in the language of the person who signs in."""

from gettext import NullTranslations

from antiphon.store.contracts import Visit


def greeting(catalogue: NullTranslations, name: str, visit: Visit | None) -> str:
    """Return the greeting for `name`.

    Args:
        catalogue: translations into the person's language.
        name: empty in access `anyone`, where nobody gives a name.
        visit: the last visit and the refused sign-ins since; None on the first visit.
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
