"""Completion script for bash, also for bash 3.2 of macOS; it needs nothing but bash."""

import shlex
from collections.abc import Iterator

from antiphon.cli.reference.declaration import Command, Option

_FILE, _FOLDER, _NOTHING = "@file", "@folder", "@nothing"

_ENGINE = r"""
_antiphon() {
    local commands= options= values= arguments=
    local name= waiting= ended= files= cur prefix= action= word i n=-1 count=0 glued=
    local -a words
    COMPREPLY=()
    # bash splits words at = and :, which stand within words here
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $n -ge 0 && ( $glued || $word == [=:]* ) ]]; then
            words[n]+=$word
            [[ $word == [=:]* ]] && glued=yes || glued=
        else
            words[++n]=$word
        fi
    done
    _antiphon_command
    for ((i = 0; i < n; i++)); do
        word=${words[i]}
        if [[ $waiting ]]; then
            [[ $waiting == *\;* ]] && waiting=${waiting#*;} || waiting=
        elif [[ $word == -- ]]; then
            ended=yes
        elif [[ ! $ended && $word == -?* ]]; then
            waiting=$(_antiphon_value "$word")
        elif [[ $commands ]]; then
            name+="${name:+ }$word"
            _antiphon_command
        else
            ((++count))
        fi
    done
    cur=${words[n]}
    if [[ $waiting ]]; then
        action=${waiting%%;*}
    elif [[ ! $ended && $cur == --*=* ]]; then
        [[ ${COMP_WORDS[COMP_CWORD]} == --*=* ]] && prefix=${cur%%=*}=
        action=$(_antiphon_value "${cur%%=*}" attached)
        cur=${cur#*=}
    elif [[ ! $ended && $cur == -* ]]; then
        action=$options
    elif [[ $commands ]]; then
        action=$commands
    else
        for word in $arguments; do
            action=${word%+}
            [[ $((count--)) -eq 0 || $word == *+ ]] && break
            action=
        done
    fi
    for word in ${action//,/ }; do
        case $word in
            @file) files=yes ;;
            @folder) compopt -o dirnames 2>/dev/null ;;
            @nothing) ;;
            "$cur"*) COMPREPLY+=("$prefix$word") ;;
        esac
    done
    if [[ $files ]]; then # bash itself completes files best: it knows quotes, ~ and spaces
        [[ ${#COMPREPLY[@]} -gt 0 ]] && word=plusdirs || word=default
        compopt -o $word 2>/dev/null
    fi
}

# Print what stands behind an option of the command: an action for each value, with ; between them.
_antiphon_value() {
    local pair
    for pair in $values; do
        [[ ${pair%%=*} == "$1" ]] && printf '%s' "${pair#*=}" && return
        [[ ${pair%%=*} == "$1%" && $2 ]] && printf '%s' "${pair#*=}" && return
    done
}

complete -F _antiphon antiphon
"""


def script(whole: Command) -> str:
    """Return the script for the commands of `whole`."""
    return "".join(
        [
            "# Completion of antiphon for bash; made by: antiphon completions bash\n\n",
            "# Set what may stand behind the command whose words are in $name.\n",
            "_antiphon_command() {\n    commands= options= values= arguments=\n    case $name in\n",
            *(line for command in whole.every() for line in _lines(command)),
            "    esac\n}\n",
            _ENGINE,
        ]
    )


def _lines(command: Command) -> Iterator[str]:
    yield f"        {shlex.quote(' '.join(command.name))})\n"
    settings = {
        "commands": ",".join(each.name[-1] for each in command.commands),
        "options": ",".join(flag for option in command.options for flag in (*option.names, *option.opposites)),
        "values": " ".join(
            f"{flag}{'%' if option.attached else ''}={';'.join([_action(option)] * option.count)}"
            for option in command.options
            if option.count
            for flag in option.names
        ),
        "arguments": " ".join(_action(each) + ("+" if each.repeated else "") for each in command.arguments),
    }
    for name, value in settings.items():
        if value:
            yield f"            {name}={shlex.quote(value)}\n"
    yield "            ;;\n"


def _action(option: Option) -> str:
    """Return what to offer as a value: words, files or folders, with commas between them."""
    offered = [*option.words, *{"file": [_FILE], "folder": [_FOLDER], "text": []}[option.takes]]
    return ",".join(offered) or _NOTHING
