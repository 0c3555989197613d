"""The measurements of `antiphon ping`: load, round-trip times and reports."""
