"""Sections of the page. Each is replaced by itself when it changes."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import urlencode

from antiphon.data.validity import EXPIRY_NOTICE
from antiphon.server.control.advice import ADVICE, PROBLEMS
from antiphon.server.control.live import PAGE_SIZE, PAGES_MOST, Live, LiveSession
from antiphon.server.control.report import SILENT_SECONDS, ServerReport
from antiphon.server.status.history import refusals_of
from antiphon.server.status.page.html import Child, Html, joined, tag
from antiphon.server.status.page.pictures import Pictures
from antiphon.server.status.page.tables import table
from antiphon.server.status.page.view import View
from antiphon.server.status.page.words import (
    ENDS,
    REFUSALS,
    SILENT,
    SILENT_ADVICE,
    STARTING,
    STARTING_ADVICE,
)

REFUSALS_MOST = 8
"""Reasons of refusals that are shown, the most frequent first."""
CLOSED_SHOWN = 8
"""Closed sessions that are shown."""


def sections(view: View) -> dict[str, Html]:
    """Return what changes on the page, by the id of the element that holds it."""
    return {
        "state": state(view),
        "pictures": pictures(view),
        "sessions": sessions(view),
        "talkers": talkers(view),
        "closed": closed(view),
        "refusals": refusals(view),
        "workers": workers(view),
        "facts": facts(view),
    }


# --- is it well? ------------------------------------------------------------------------------------------------


def state(view: View) -> Html:
    """Return whether the server is well; else what is wrong, and what to do."""
    _ = view.translate
    found = list(_problems(view))
    if not found:
        return tag("p", _mark("✓"), tag("strong", _("All is well.")), class_="well")
    told = [tag("li", _mark("!"), tag("strong", problem), " ", advice) for problem, advice in found]
    return tag("ul", told, class_="problems")


def _mark(sign: str) -> Html:
    return tag("span", sign, class_="mark", aria_hidden="true")


def _problems(view: View) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and what to do."""
    _, posted, report = view.translate, view.posted, view.report
    if report is None:
        yield _(STARTING), _(STARTING_ADVICE)
        return
    if posted.age > SILENT_SECONDS:
        yield _(SILENT).format(seconds=round(posted.age)), _(SILENT_ADVICE)
    for word in report.problems:
        yield _(PROBLEMS[word]).format(days=EXPIRY_NOTICE.days), _(ADVICE[word])


# --- live pictures ----------------------------------------------------------------------------------------------


def pictures(view: View) -> Html:
    """Return the three pictures, each with its current value."""
    _, report, figures = view.translate, view.report, view.figures
    points = list(view.history.points)
    drawn = Pictures(points, figures, _)
    workers = report.workers if report else []
    last = points[-1] if points else None
    latency = [
        _legend("median", _("median"), figures.seconds(last.median_s if last else None)),
        _legend("p99", _("99 of 100"), figures.seconds(last.p99_s if last else None)),
    ]
    rate = figures.rate(sum(each.messages_per_s for each in workers))
    open_now = figures.number(sum(each.connections for each in workers))
    return joined(
        _card(_("Messages"), [_value(rate), " ", _("a second")], drawn.messages()),
        _card(_("Connections"), [_value(open_now), " ", _("open")], drawn.connections()),
        _card(_("Handler time"), latency, drawn.latency()),
    )


def _card(heading: str, value: Child, picture: Html) -> Html:
    return tag(
        "figure", tag("figcaption", tag("h2", heading), tag("p", value, class_="now")), picture, class_="card"
    )


def _value(text: str) -> Html:
    return tag("strong", text)


def _legend(name: str, label: str, value: str) -> Html:
    return tag("span", tag("span", class_=f"key {name}"), label, " ", tag("strong", value), class_="legend")


# --- who is connected -------------------------------------------------------------------------------------------


def sessions(view: View) -> Html:
    """Return a page of the connected sessions."""
    _, live, query, figures = view.translate, view.live, view.query, view.figures
    if live is None:
        return tag("p", _("The server does not say who is connected."), class_="empty")
    heads = [
        ("", _("Name")), ("", _("Connected for")), ("", _("From")),
        *([("", _("Worker"))] if view.several else []),
        ("number", _("Messages")), ("number", _("A second")), ("number", _("Handler")), ("acts", ""),
    ]  # fmt: skip
    rows = [(each.id, _session(view, each)) for each in live.sessions]
    found = figures.number(live.found)
    wanted = query.search.strip()
    empty = _("Nobody is connected.")
    caption = _("Connected sessions: {count}").format(count=found)
    if wanted:
        empty = _("No session with “{search}” in its name or address.").format(search=wanted)
        caption = _("Connected sessions with “{search}”: {count}").format(search=wanted, count=found)
    elif live.count and not rows:
        empty = _("This page is empty by now.")
    return joined(_silent(view, live), table(caption, heads, rows, empty), _pages(view, live))


def _silent(view: View, live: Live) -> Child:
    if not live.silent:
        return None
    _ = view.translate
    told = _("These workers do not answer, and what they hold is missing: {pids}.")
    return tag("p", _mark("!"), told.format(pids=", ".join(map(str, live.silent))), class_="missing")


def _session(view: View, session: LiveSession) -> list[Child]:
    _, figures = view.translate, view.figures
    return [
        _named(view, session.name),
        figures.since(session.opened_at, view.now),
        _address(session.address),
        *([_worker(view, session)] if view.several else []),
        figures.number(session.messages),
        figures.rate(session.messages_per_s),
        figures.seconds(session.handler_s),
        _acts(view, session),
    ]


def _worker(view: View, session: LiveSession) -> str:
    _ = view.translate
    if session.relayed:
        return _("{pid}, relayed").format(pid=session.pid)
    return str(session.pid)


def _named(view: View, name: str) -> Html:
    _ = view.translate
    return tag("bdi", name or tag("i", _("without a name")), class_="name")


def _address(address: str) -> Html:
    return tag("span", address, class_="address")


def _acts(view: View, session: LiveSession) -> Html:
    """Return what can be done to a session; the script asks before it does it."""
    _ = view.translate
    who = session.name or session.address
    revoke = tag(
        "button", _("End"), type="button", data_act="revoke", data_value=session.id,
        aria_label=_("End the session of {name}").format(name=who),
        data_question=_("End the session of {name} from {address}?").format(name=who, address=session.address),
    )  # fmt: skip
    if session.account <= 0:
        return tag("span", revoke)
    question = _("Disable the account of {name}? All its sessions end, and nobody can sign in to it.")
    disable = tag(
        "button", _("Disable"), type="button", data_act="disable", data_value=session.name,
        aria_label=_("Disable the account of {name}").format(name=session.name),
        data_question=question.format(name=session.name),
    )  # fmt: skip
    return tag("span", revoke, disable)


def _pages(view: View, live: Live) -> Child:
    _, query = view.translate, view.query
    last = min(max(0, live.found - 1) // PAGE_SIZE, PAGES_MOST - 1)
    here = min(max(query.page, 0), PAGES_MOST - 1)
    if not last and not here:
        return None
    told = _("Page {page} of {pages}").format(page=here + 1, pages=max(last, here) + 1)
    link = [
        _page_link(view, _("Previous"), here - 1, "prev", there=here > 0),
        tag("span", told, aria_current="page"),
        _page_link(view, _("Next"), here + 1, "next", there=here < last),
    ]  # fmt: skip
    more = None
    if live.found > PAGES_MOST * PAGE_SIZE:
        told = _("Only the first {count} can be turned to: search for a name or an address.")
        more = tag("p", told.format(count=view.figures.number(PAGES_MOST * PAGE_SIZE)))
    return joined(tag("nav", link, class_="pages", aria_label=_("Pages")), more)


def _page_link(view: View, text: str, page: int, rel: str, *, there: bool) -> Html:
    if not there:
        return tag("span", text, class_="off")
    wanted = {"q": view.query.search, "page": page + 1}
    return tag("a", text, href="/?" + urlencode({key: value for key, value in wanted.items() if value}), rel=rel)


# --- what happens -----------------------------------------------------------------------------------------------


def talkers(view: View) -> Html:
    """Return who sends most."""
    _, figures = view.translate, view.figures
    heads = [("", _("Name")), ("", _("From")), ("number", _("A second"))]
    rows = [
        (each.id, [_named(view, each.name), _address(each.address), figures.rate(each.messages_per_s)])
        for each in (view.live.talkers if view.live else ())
    ]
    return table(_("Sessions with most messages now"), heads, rows, _("Nobody says anything."))


def closed(view: View) -> Html:
    """Return the sessions whose connection has ended last."""
    _ = view.translate
    heads = [("", _("Name")), ("", _("From")), ("", _("Ago")), ("", _("Reason"))]
    rows = []
    for each in (view.live.closed if view.live else ())[:CLOSED_SHOWN]:
        reason = _(ENDS[each.reason]) if each.reason in ENDS else each.reason
        cause = [" ", tag("code", each.cause)] if each.cause and each.cause != each.reason else None
        key = f"{each.closed_at.timestamp():.6f} {each.address}"
        ago = view.figures.since(each.closed_at, view.now)
        rows.append((key, [_named(view, each.name), _address(each.address), ago, [reason, cause]]))
    return table(_("Sessions whose connection has ended last"), heads, rows, _("No connection has ended yet."))


def refusals(view: View) -> Html:
    """Return what was refused, by reason."""
    _, report, number = view.translate, view.report, view.figures.number
    counts = refusals_of(report) if report else {}
    lately = view.history.refused_lately(report) if report else {}
    heads = [("", _("What")), ("", _("Reason")), ("number", _("In 15 min")), ("number", _("In all"))]
    rows = []
    for event in sorted(counts, key=lambda each: (-lately.get(each, 0), -counts[each]))[:REFUSALS_MOST]:
        kind, _space, code = event.partition(" ")
        lately_told = number(lately.get(event, 0))
        rows.append((event, [_(REFUSALS[kind]), tag("code", code), lately_told, number(counts[event])]))
    return table(_("Refusals by reason"), heads, rows, _("Nothing was refused."))


# --- the server -------------------------------------------------------------------------------------------------


def workers(view: View) -> Html:
    """Return the processes that serve."""
    _, report, figures = view.translate, view.report, view.figures
    heads = [
        ("", _("Worker")), ("number", _("Connections")), ("number", _("A second")), ("number", _("Lag")),
        ("number", _("Heard")),
    ]  # fmt: skip
    rows = [
        (str(each.pid), [
            str(each.pid), figures.number(each.connections), figures.rate(each.messages_per_s),
            figures.seconds(each.lag_s), figures.seconds(each.silent_s + view.posted.age),
        ])
        for each in (report.workers if report else ())
    ]  # fmt: skip
    return table(_("Processes that serve"), heads, rows, _("No worker serves."))


def facts(view: View) -> Html:
    """Return what the server is."""
    _, report = view.translate, view.report
    if report is None:
        return tag("p", _(STARTING), class_="empty")
    shown: list[tuple[str, Child]] = [
        (_("Version"), report.version),
        (_("Up"), view.figures.since(report.started_at, view.now)),
    ]
    shown += [(_("Process"), str(report.pid))]
    if report.workers:
        shown += _facts(view, report)
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in shown])


def _facts(view: View, report: ServerReport) -> Iterable[tuple[str, Child]]:
    _, facts = view.translate, report.workers[0].facts
    written = max(each.store_age_s for each in report.workers)
    yield _("Connect"), [_address(address) for address in facts.addresses]
    yield _("Access"), facts.access
    yield _("Registration"), facts.registration
    if facts.expires_at is None:
        yield _("Certificate"), _("none: plain TCP")
    else:
        yield _("Certificate"), _("valid until {time}").format(time=_day(facts.expires_at))
    yield _("Store"), [facts.store, " ", _("written {seconds} ago").format(seconds=view.figures.seconds(written))]
    if facts.node is not None:
        yield _("Node"), _address(facts.node)
    yield _("Log"), _address(facts.log)


def _day(at: datetime) -> str:
    return at.date().isoformat()
