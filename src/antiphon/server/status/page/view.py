"""View: everything that the page shows at one moment, for one person."""

from datetime import UTC, datetime
from functools import cached_property

from antiphon.language import catalogue
from antiphon.server.control.live import Live, LiveQuery
from antiphon.server.control.report import ServerReport
from antiphon.server.status.board import Posted
from antiphon.server.status.history import History
from antiphon.server.status.page.figures import Figures


class View:
    """What sections and pictures are made of."""

    def __init__(
        self, posted: Posted, history: History, query: LiveQuery, live: Live | None, language: str
    ) -> None:
        """Show the report `posted`, and `live`, what was answered to `query`; None if nothing was, in time."""
        self.posted = posted
        self.history = history
        self.query = query
        self.live = live
        self.language = language
        self.translate = catalogue(language).gettext
        self.figures = Figures(language, self.translate)
        self.now = datetime.now(UTC)

    @property
    def report(self) -> ServerReport | None:
        """The last report; None while the server starts."""
        return self.posted.report

    @cached_property
    def several(self) -> bool:
        """Whether there are workers to tell apart, or other nodes that relay to this one."""
        report = self.report
        if report is None:
            return False
        is_node = any(each.facts.node is not None for each in report.workers)
        return is_node or max(report.workers_wanted, len(report.workers)) > 1
