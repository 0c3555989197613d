"""Document of the page: what stays while its sections change."""

from antiphon.language import N_
from antiphon.server.status.page.html import Html, joined, tag
from antiphon.server.status.page.sections import sections
from antiphon.server.status.page.view import View

SEARCH_SIZE = 64
"""Most characters of a search."""
_NOT_LIVE = N_(
    "Not live: the server cannot be reached, or too many of these pages are open. These figures are old."
)


def document(view: View, name: str, csrf: str) -> str:
    """Return the page for the administrator `name`; `csrf` goes with each request of its script."""
    _ = view.translate
    parts = sections(view)
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="csrf", content=csrf),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", _("Status of Antiphon")),
            tag("link", rel="icon", href="/access/icon.svg", type="image/svg+xml"),
            tag("link", rel="stylesheet", href="/page.css"),
            tag("script", type="module", src="/page.js"),
        ),
        tag("body", _body(view, parts, name)),
        lang=view.language,
    )


def _body(view: View, parts: dict[str, Html], name: str) -> Html:
    _ = view.translate
    return joined(
        tag("a", _("Skip to the content"), href="#main", class_="skip"),
        tag(
            "header",
            tag("h1", "Antiphon"),
            tag("p", _("Signed in as {name}").format(name=name), class_="who"),
            tag("button", _("Sign out"), type="button", data_act="sign-out", class_="scripted"),
        ),
        tag(
            "main",
            tag("p", _(_NOT_LIVE), class_="offline", role="status", hidden=True, data_old=True),
            tag("section", parts["state"], id="state", aria_label=_("State of the server"), aria_live="polite"),
            tag("section", parts["pictures"], id="pictures", aria_label=_("The last 15 minutes")),
            tag(
                "div",
                _connected(view, parts["sessions"]),
                tag("div", _section(_("Recently closed"), "closed", parts["closed"]),
                    _section(_("Top talkers"), "talkers", parts["talkers"]),
                    _section(_("Refusals"), "refusals", parts["refusals"]), class_="side"),
                tag("div", _section(_("Server"), "facts", parts["facts"]),
                    _section(_("Processes"), "workers", parts["workers"]) if view.several else None,
                    class_="columns"),
                class_="both",
            ),
            id="main",
        ),
        _dialogs(view),
    )  # fmt: skip


def _section(heading: str, id: str, content: Html) -> Html:
    return tag(
        "section",
        tag("h2", heading, id=f"{id}-heading"),
        tag("div", content, id=id),
        class_="card",
        aria_labelledby=f"{id}-heading",
    )


def _connected(view: View, content: Html) -> Html:
    _, search = view.translate, view.query.search
    form = tag(
        "form",
        tag("label", _("Name or address"), for_="search"),
        tag(
            "input", type="search", id="search", name="q", value=search, maxlength=SEARCH_SIZE, autocomplete="off"
        ),
        tag("button", _("Search"), type="submit"),
        tag("a", _("All"), href="/") if search else None,
        role="search",
        method="get",
        action="/",
    )
    invite = tag("button", _("Invite…"), type="button", data_act="invite", class_="scripted")
    return tag(
        "section",
        tag("div", tag("h2", _("Connected"), id="sessions-heading"), form, invite, class_="bar"),
        tag("div", content, id="sessions", data_hold=True, tabindex=-1),
        tag("p", _("The list waits while you point at it."), class_="held", hidden=True, data_held=True),
        class_="card wide",
        aria_labelledby="sessions-heading",
    )


def _dialogs(view: View) -> Html:
    """Return what asks before something is done, and what says how it went."""
    _ = view.translate
    return joined(
        tag(
            "dialog",
            tag("form", tag("p", id="question"), tag("div", _cancel(view),
                tag("button", _("Yes"), value="yes", class_="danger"), class_="choice"), method="dialog"),
            id="ask", aria_labelledby="question",
        ),
        tag(
            "dialog",
            tag("h2", _("Invite"), id="invite-heading"),
            tag(
                "form",
                tag("label", _("Name of the account"), for_="invited"),
                tag("input", id="invited", name="name", required=True, maxlength=255, autocomplete="off"),
                tag("div", _cancel(view), tag("button", _("Invite"), value="yes"), class_="choice"),
                method="dialog",
            ),
            id="invite", aria_labelledby="invite-heading",
            data_told=_("Give this code to {name}. It is shown only now, and is valid for a week:"),
        ),
        tag(
            "dialog",
            tag("form", tag("p", id="told", role="status"), tag("output", id="code", hidden=True),
                tag("div", tag("button", _("Copy"), type="button", data_act="copy", hidden=True),
                    tag("button", _("Close"), value="cancel"), class_="choice"), method="dialog"),
            id="outcome", aria_labelledby="told",
        ),
    )  # fmt: skip


def _cancel(view: View) -> Html:
    _ = view.translate
    return tag("button", _("Cancel"), type="button", data_act="cancel")  # Enter presses the first one that submits
