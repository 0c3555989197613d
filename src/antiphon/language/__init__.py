"""Translations of messages for people."""

from antiphon.language.catalogue import LANGUAGES, N_, Translate, catalogue, choose

__all__ = ["LANGUAGES", "N_", "Translate", "catalogue", "choose"]
