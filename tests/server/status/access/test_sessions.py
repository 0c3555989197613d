"""Sessions of the page: how they end, how many there may be, and what is kept of them."""

import pytest

from antiphon.server.status.access.sessions import (
    IDLE_SECONDS,
    PER_ACCOUNT,
    SESSIONS_MOST,
    TOTAL_SECONDS,
    PageSessions,
    is_token,
)
from antiphon.store.contracts import Account


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> PageSessions:
    return PageSessions(clock)


def account(number: int) -> Account:
    return Account(
        id=number, display=f"Ann{number}", key=f"ann{number}", disabled=False, epoch=0, credential_type="",
        credential=b"", administrator=True,
    )  # fmt: skip


def test_a_cookie_opens_the_session_that_it_was_given_for_and_no_other_does(sessions: PageSessions) -> None:
    cookie, ann = sessions.open(account(1))
    other, bob = sessions.open(account(2))
    assert (sessions.find(cookie), sessions.find(other)) == (ann, bob)
    for forged in ("", "x", cookie[:-1], cookie + "A", ann.csrf, "\ud800"):
        assert sessions.find(forged) is None
    assert len(cookie) == len(ann.csrf) == 43, "256 bits"
    assert len({cookie, other, ann.csrf, bob.csrf}) == 4
    assert cookie not in repr(vars(sessions)), "only a hash is kept"
    assert ann.csrf not in repr(vars(sessions)), "a secret is not shown"
    assert (is_token(ann.csrf, ann), is_token(bob.csrf, ann), is_token("", ann)) == (True, False, False)


def test_a_session_ends_when_its_person_does_nothing(sessions: PageSessions, clock: Clock) -> None:
    cookie, ann = sessions.open(account(1))
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(cookie) is ann
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(cookie, touch=False) is ann, "a script that reads by itself"
    clock.now += 1
    assert not ann.ended.is_set()
    assert sessions.find(cookie) is None
    assert ann.ended.is_set()
    assert not len(sessions)


def test_a_session_ends_after_a_working_day_whatever_its_person_does(sessions: PageSessions, clock: Clock) -> None:
    cookie, ann = sessions.open(account(1))
    while clock.now < 1000 + TOTAL_SECONDS:
        assert sessions.find(cookie) is ann
        clock.now += IDLE_SECONDS / 2
    sessions.expire()
    assert ann.ended.is_set()
    assert sessions.find(cookie) is None


def test_of_too_many_sessions_the_one_that_was_used_least_recently_ends(
    sessions: PageSessions, clock: Clock
) -> None:
    opened = []
    for number in range(PER_ACCOUNT):
        clock.now += 1
        opened.append(sessions.open(account(1)))
        assert len(sessions) == number + 1
    clock.now += 1
    assert sessions.find(opened[0][0])
    sessions.open(account(1))
    assert [ann.ended.is_set() for _, ann in opened] == [False, True] + [False] * (PER_ACCOUNT - 2)
    for number in range(2, 2 * SESSIONS_MOST):
        sessions.open(account(number))
    assert len(sessions) == SESSIONS_MOST
