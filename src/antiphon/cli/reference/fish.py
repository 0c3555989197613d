"""Completion script for fish."""

from collections.abc import Iterator

from antiphon.cli.reference.declaration import Command, Option, brief

_START = """\
# Completion of antiphon for fish; made by: antiphon completions fish

# Whether the words of the command line are those of this command, or group of commands.
function __antiphon_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l name
    while set -q words[1]; and contains -- "$name$words[1]" $__antiphon_names
        set name "$name$words[1] "
        set -e words[1]
    end
    test "$name" = "$argv[1]"
end

"""


def script(whole: Command) -> str:
    """Return the script for the commands of `whole`."""
    names = " ".join(_quoted(" ".join(command.name)) for command in whole.every() if command.name)
    lines = (line for command in whole.every() for line in _lines(command))
    return f"{_START}set -g __antiphon_names {names}\ncomplete -c antiphon -f\n" + "".join(lines)


def _lines(command: Command) -> Iterator[str]:
    at = "".join(f"{word} " for word in command.name)
    start = f"complete -c antiphon -n {_quoted(f'__antiphon_at {_quoted(at)}')}"
    for each in command.commands:
        yield f"{start} -a {each.name[-1]} -d {_quoted(brief(each.about))}\n"
    for option in command.options:
        if option.positional and (option.words or option.takes != "text"):
            yield f"{start}{_offered(option)}\n"
        if option.names:
            about = _quoted(brief(option.help))
            value = "" if not option.count else _offered(option)
            if option.count and not option.attached:
                value += " -r" if option.takes == "file" else " -x"
            yield f"{start}{_flags(option.names)}{value} -d {about}\n"
        if option.opposites:
            yield f"{start}{_flags(option.opposites)}\n"


def _flags(names: tuple[str, ...]) -> str:
    return "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in names)


def _offered(option: Option) -> str:
    files = {"text": "", "file": " -F", "folder": " -a '(__fish_complete_directories (commandline -ct))'"}
    return (f" -a {_quoted(' '.join(option.words))}" if option.words else "") + files[option.takes]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
