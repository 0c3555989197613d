"""A supervisor that has not run judges nobody by the time in which it has not."""

from antiphon.server.workers.attention import GAP_SECONDS, Attention


def test_silence_counts_while_the_supervisor_looks() -> None:
    attention = Attention(100.0)
    for second in range(101, 120):
        attention.look(second)
    assert attention.silence(105.0, 120.0) == 15.0
    assert attention.silence(50.0, 120.0) == 20.0, "nobody was silent before it began"


def test_after_a_gap_everybody_is_as_just_heard() -> None:
    attention = Attention(100.0)
    attention.look(101.0)
    attention.look(101.0 + GAP_SECONDS + 0.1)
    assert attention.silence(100.0, 104.0) < 0.5
    attention.look(105.0)
    assert attention.silence(104.5, 105.0) == 0.5
