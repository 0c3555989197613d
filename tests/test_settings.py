"""Options: each has a default, a help text and a range."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import SettingInvalid
from antiphon.server.server import Server
from antiphon.settings import ClientSettings, ServerSettings
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST

OPTIONS = [field for settings in (ServerSettings, ClientSettings) for field in dataclasses.fields(settings)]


def settings_with(**options: Any) -> ServerSettings | ClientSettings:
    """Return the settings with these options."""
    return (ClientSettings if {"timeout", "give_up"} & set(options) else ServerSettings)(**options)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_a_default_and_a_help_that_is_a_sentence(option: dataclasses.Field[object]) -> None:
    assert option.default is not dataclasses.MISSING
    assert option.metadata["help"].endswith(".")


def test_the_defaults_are_those_of_the_security_bar() -> None:
    settings = ServerSettings()
    assert (settings.entry_begin, settings.entry_rate, settings.entry_most, settings.entry_source) == (
        64,
        30,
        256,
        40,
    )
    assert (settings.handshake_seconds, settings.first_frame_seconds, settings.entry_seconds) == (5, 10, 20)
    assert (settings.heartbeat_seconds, settings.silence_seconds, settings.write_seconds) == (20, 40, 10)
    assert (settings.session_unheld, settings.session_total) == (30 * 60, 24 * 60 * 60)
    assert (settings.password_minimum, settings.message_limit) == (15, 2**20)


@pytest.mark.parametrize(
    ("option", "lowest", "highest"),
    [
        ("port", 0, 65535),
        ("password_minimum", 8, 1024),
        ("message_limit", 1024, MESSAGE_LIMIT_MOST),
        ("entry_rate", 0, 100),
        ("entry_begin", 1, 256),
        ("drain_seconds", 0, 15),
    ],
)
def test_the_ends_of_a_range_pass_and_one_further_is_refused(option: str, lowest: int, highest: int) -> None:
    assert getattr(settings_with(**{option: lowest}), option) == lowest
    assert getattr(settings_with(**{option: highest}), option) == highest
    for value in (lowest - 1, highest + 1):
        with pytest.raises(SettingInvalid) as caught:
            settings_with(**{option: value})
        flag = "--" + option.replace("_", "-")
        assert str(caught.value) == f"{flag}: must be from {lowest} to {highest}, not {value}"


DURATIONS = [option.name for option in OPTIONS if "Seconds" in option.metadata["help"]]


@pytest.mark.parametrize("option", [*DURATIONS, "entry_source", "registrations_source", "registrations_most"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_no_duration_and_no_count_is_negative_or_not_a_number_or_without_end(option: str, value: float) -> None:
    with pytest.raises(SettingInvalid, match="--" + option.replace("_", "-")):
        settings_with(**{option: value})


@pytest.mark.parametrize("option", sorted({*DURATIONS} - {"drain_seconds", "give_up"}))
def test_no_duration_is_zero(option: str) -> None:
    with pytest.raises(SettingInvalid, match="must be more than 0"):
        settings_with(**{option: 0})


def test_dropping_begins_no_later_than_the_cap() -> None:
    assert ServerSettings(entry_begin=10, entry_most=10).entry_most == 10
    with pytest.raises(SettingInvalid, match="--entry-begin"):
        ServerSettings(entry_begin=11, entry_most=10)


def test_settings_do_not_change_and_hold_no_password() -> None:
    settings = ClientSettings(name="ann", password_file="-", known_servers=Path("x"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.name = "bob"  # type: ignore[misc]
    assert not [option.name for option in OPTIONS if option.name in {"password", "token", "secret"}]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("data", "folder", "--data: must be Path | None, not 'folder'"),
        ("port", "x", "--port: must be int | None, not 'x'"),
        ("port", True, "--port: must be int | None, not True"),
        ("plain", 1, "--plain: must be bool, not 1"),
        ("session_total", "1", "--session-total: must be float, not '1'"),
        ("access", "all", "--access: must be one of 'anyone', 'identify', 'authenticate', not 'all'"),
        ("registration", 5, "--registration: must be one of 'open', 'closed', not 5"),
        ("store", Path("x"), "--store: must be str | None, not "),
        ("timeout", None, "--timeout: must be float, not None"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_sentence(option: str, value: object, told: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        settings_with(**{option: value})
    assert str(caught.value).startswith(told)


def test_a_whole_number_will_do_for_seconds() -> None:
    assert ServerSettings(session_total=60).session_total == 60


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("prot", "prot: there is no such setting; do you mean port?"),
        ("colour", "colour: there is no such setting"),
    ],
)
def test_a_setting_that_does_not_exist_is_told(option: str, told: str) -> None:
    options: dict[str, Any] = {option: 1}
    with pytest.raises(SettingInvalid) as caught:
        Server(**options)
    assert str(caught.value) == told


@pytest.mark.parametrize("status", ["9464", "localhost", "localhost:99999"])
def test_the_place_of_the_metrics_is_a_host_and_a_port(status: str) -> None:
    with pytest.raises(SettingInvalid, match=f"--status: must be HOST:PORT.*not “{status}”"):
        ServerSettings(status=status)
