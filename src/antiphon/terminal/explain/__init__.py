"""`connect --explain`: shows each frame sent and received, in plain words and with its bytes."""

from antiphon.terminal.explain.explainer import DUMPED, Explainer, Watched

__all__ = ["DUMPED", "Explainer", "Watched"]
