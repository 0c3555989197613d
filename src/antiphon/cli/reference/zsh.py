"""Completion script for zsh: an autoloaded function `_antiphon` over `_arguments`."""

import shlex
from collections.abc import Iterator

from antiphon.cli.reference.declaration import Command, Option, brief

_ACTIONS = {"text": " ", "file": "_files", "folder": "_files -/"}


def script(whole: Command) -> str:
    """Return the script for the commands of `whole`."""
    functions = "\n".join("".join(_function(command)) for command in whole.every())
    return (
        "#compdef antiphon\n# Completion of antiphon for zsh; made by: antiphon completions zsh >_antiphon\n\n"
        f'{functions}\n_antiphon "$@"\n'
    )


def _function(command: Command) -> Iterator[str]:
    yield f"{_name(command)}() {{\n"
    specs = [spec for option in command.options for spec in _specs(option)]
    if not command.commands:
        yield from _call("_arguments -s -S", specs)
        yield "}\n"
        return
    yield "    local curcontext=$curcontext state state_descr line\n"
    yield "    local -A opt_args\n    local -a commands=(\n"
    for each in command.commands:
        yield f"        {shlex.quote(each.name[-1] + ':' + brief(each.about))}\n"
    yield "    )\n"
    yield from _call("_arguments -C -S", [*specs, "1: :->command", "*:: :->behind"])
    yield "    case $state in\n        command) _describe -t commands command commands ;;\n"
    yield "        behind)\n            case $words[1] in\n"
    for each in command.commands:
        yield f"                {each.name[-1]}) {_name(each)} ;;\n"
    yield "            esac\n            ;;\n    esac\n}\n"


def _call(words: str, specs: list[str]) -> Iterator[str]:
    yield f"    {words}"
    for spec in specs:
        yield f" \\\n        {shlex.quote(spec)}"
    yield "\n"


def _name(command: Command) -> str:
    return "_".join(["_antiphon", *command.name])


def _specs(option: Option) -> Iterator[str]:
    about = _escaped(brief(option.help))
    if option.positional:
        colon = "*:" if option.repeated else ":" if option.required else "::"
        yield f"{colon}{option.word}:{_action(option)}"
    others = " ".join((*option.names, *option.opposites))
    only = "*" if option.repeated else "(- *)" if "--help" in option.names else f"({others})"
    for flag in option.names:
        if option.count == 0:
            yield f"{only}{flag}[{about}]"
        elif option.attached:
            yield f"{only}{flag}=-[{about}]::{option.word}:{_action(option)}"
        else:
            yield f"{only}{flag}=[{about}]" + f":{option.word}:{_action(option)}" * option.count
    for flag in option.opposites:
        yield f"{only}{flag}[not\\: {about}]"


def _action(option: Option) -> str:
    if not option.words:
        return _ACTIONS[option.takes]
    words = f"({' '.join(option.words)})"
    if option.takes == "text":
        return words
    return f'_alternative "words\\:word\\:{words}" "files\\:file\\:{_ACTIONS[option.takes]}"'


def _escaped(text: str) -> str:
    """Return a description with what `_arguments` reads in it escaped."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
