"""The bounds of all replay buffers together."""

from antiphon.client.protocol.session import ACK_EVERY
from antiphon.server.session.budget import ReplayBudget
from antiphon.server.session.replay import ReplayBuffer
from antiphon.wire.batch import PIECE_OVERHEAD

LIMIT, TOTAL = 100, 250


class Talker:
    """A session whose client acknowledges nothing."""

    def __init__(self, budget: ReplayBudget, host: str = "192.0.2.1") -> None:
        self.budget = budget
        self.host = host
        self.held = False
        self.was_cut = False

    def take(self, size: int) -> None:
        self.budget.report(self, size)

    def settle(self) -> None:
        """See `Budgeted`: nothing can be joined."""

    def hold_back(self) -> None:
        self.held = True

    def let_on(self) -> None:
        self.held = False

    def cut(self) -> None:
        self.was_cut = True
        self.take(0)


def test_a_session_that_grows_over_the_bound_of_its_source_is_held_back_and_let_on() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    one, two, other = Talker(budget), Talker(budget), Talker(budget, "192.0.2.2")
    one.take(60)
    two.take(50)
    other.take(90)
    assert (one.held, two.held, other.held) == (False, True, False)
    budget.enforce()
    assert not any(each.held or each.was_cut for each in (one, two, other))
    one.take(40)  # acknowledged meanwhile: nobody is cut
    budget.enforce()
    budget.enforce()
    assert not any(each.held or each.was_cut for each in (one, two, other))


def test_the_worst_of_a_source_are_cut_until_it_keeps_its_bound() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    sizes = [10, 40, 30, 5, 35]
    talkers = [Talker(budget) for _ in sizes]
    for talker, size in zip(talkers, sizes, strict=True):
        talker.take(size)
    budget.enforce()
    assert not any(talker.was_cut for talker in talkers)
    budget.enforce()
    assert [talker.was_cut for talker in talkers] == [False, True, False, False, False]
    assert budget.total == 80


def test_a_source_that_is_over_its_bound_again_is_given_time_again() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    talker = Talker(budget)
    for _ in range(3):
        talker.take(110)
        budget.enforce()
        talker.take(90)
        budget.enforce()
    assert not talker.was_cut


def test_over_the_bound_of_the_server_the_source_with_the_most_is_cut_first() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    quiet = Talker(budget, "192.0.2.9")
    quiet.take(45)
    crowd = [Talker(budget, "192.0.2.1") for _ in range(9)]
    others = [Talker(budget, "192.0.2.2") for _ in range(2)]
    for talker in crowd:
        talker.take(10)
    for talker in others:
        talker.take(40)
    more = Talker(budget, "192.0.2.3")
    more.take(45)
    assert more.held
    budget.enforce()
    budget.enforce()
    assert budget.total <= TOTAL
    assert [talker.was_cut for talker in (quiet, more, *others)] == [False] * 4
    assert sum(talker.was_cut for talker in crowd) == 1


def test_the_64_of_an_ipv6_address_is_one_source() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    one, two = Talker(budget, "2001:db8::1"), Talker(budget, "2001:db8::2:3")
    one.take(60)
    two.take(60)
    assert two.held


def test_a_session_that_moves_counts_where_it_is() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    one, two = Talker(budget), Talker(budget)
    one.take(60)
    one.host = "192.0.2.2"
    budget.moved(one)
    two.take(60)
    assert not two.held
    budget.moved(two)
    assert budget.total == 120


def test_nothing_is_left_of_sessions_that_have_ended() -> None:
    budget = ReplayBudget(LIMIT, TOTAL)
    talkers = [Talker(budget, f"192.0.2.{number}") for number in range(5)]
    for talker in talkers:
        talker.take(200)
    for talker in talkers:
        budget.forget(talker)
    assert budget.total == 0
    assert [*budget._sessions, *budget._sources, *budget._held_back] == []


class Answered(Talker):
    """A session whose client acknowledges as ours do; each answer is sent by itself on the fast path."""

    def __init__(self, budget: ReplayBudget) -> None:
        super().__init__(budget)
        self.replay = ReplayBuffer(owner=self)

    def replay_grown(self, size: int) -> None:
        self.take(size)

    def settle(self) -> None:
        self.replay.settle()

    def answer(self) -> None:
        self.replay.unsettled += (bytes(80), 1)
        self.replay.report(len(self.replay.unsettled) // 2 * (80 + PIECE_OVERHEAD))


def test_as_many_clients_as_it_is_made_for_are_never_held_back_however_small_their_answers() -> None:
    budget = ReplayBudget()
    talkers = [Answered(budget) for _ in range(200)]
    for _ in range(ACK_EVERY // 80):  # all are about to acknowledge
        for talker in talkers:
            talker.answer()
        assert not any(talker.held for talker in talkers)
    assert budget.total > 12_000_000


def test_nobody_is_cut_for_small_answers_that_were_not_joined() -> None:
    budget = ReplayBudget(source_limit=100_000)
    talker = Answered(budget)
    talker.take(90_000)  # and all join their frames, once between two calls of `enforce`
    talker.take(110_000)
    assert talker.held
    for _ in range(3):
        talker.replay.unsettled += (bytes(80), 1) * 300
        talker.replay.report(110_000)
        budget.enforce()
        assert not talker.was_cut
