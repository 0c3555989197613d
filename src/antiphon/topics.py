"""Topics: their names, their limits, and who is subscribed to one."""

from datetime import datetime
from typing import NamedTuple

from antiphon.arguments import check_argument
from antiphon.errors import Problem, TopicInvalid
from antiphon.language import N_

TOPIC_MOST = 200
"""Bytes of a topic's name in UTF-8: names are kept for each subscription, in each process."""

INFO_MOST = 400
"""Bytes of what a service says of a subscriber, in UTF-8: enough for the longest name with something beside it."""

TOPICS_MOST = 10_000
"""Topics of a server, or of a database. For a new one, that is forgotten which was not used for longest and has no
subscribers."""
HISTORY_MOST = 1000
"""Entries that are kept of one topic: more than are published while a client is on its way to another process."""
HISTORY_LIMIT = 1024 * 1024
"""Bytes of memory that the entries of one topic take; its newest entry is kept however large it is."""
TOTAL_LIMIT = 64 * HISTORY_LIMIT
"""Bytes of memory that all entries take."""
ENTRY_OVERHEAD = 64
"""Bytes of memory that an entry takes beside its message: a pair, its size, and a place in the queue."""

_EMPTY = Problem(N_("it has no character"))
_TOO_LONG = Problem(N_("it is longer than {most} bytes in UTF-8"))
_UNPRINTABLE = Problem(N_("it holds characters that cannot be printed"))


class Subscriber(NamedTuple):
    """A session that is subscribed to a topic."""

    account: int
    """Number of its account, as `Session.account`."""
    name: str
    """Its name, as `Session.name`."""
    since: datetime
    """When it subscribed, in UTC."""
    info: str = ""
    """What the service has said of it when it subscribed."""


def check_info(info: str) -> None:
    """Check what a service says of a subscriber.

    Raises:
        TypeError: it is no text.
        ValueError: it is longer than `INFO_MOST` bytes in UTF-8, or UTF-8 cannot encode it.
    """
    check_argument("the info of a subscriber", info, str)
    if len(info) > INFO_MOST or len(info.encode()) > INFO_MOST:
        raise ValueError(f"the info of a subscriber has at most {INFO_MOST} bytes in UTF-8")


def check_topic(topic: str) -> None:
    """Check the name of a topic.

    Raises:
        TypeError: it is no text.
        TopicInvalid: it is empty or too long, or holds a control character or another that cannot be printed.
    """
    check_argument("the name of a topic", topic, str)
    if not topic:
        raise TopicInvalid(topic=topic, problem=_EMPTY)
    if len(topic) > TOPIC_MOST or len(topic.encode("utf-8", "surrogatepass")) > TOPIC_MOST:
        raise TopicInvalid(topic=topic, problem=_TOO_LONG, most=TOPIC_MOST)
    if not topic.isprintable():  # surrogates are not
        raise TopicInvalid(topic=topic, problem=_UNPRINTABLE)
