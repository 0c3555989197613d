"""The `antiphon` command: its subcommands, its exit codes, and the only place that calls `sys.exit`."""

import os
import sys
from contextlib import suppress

from cyclopts import App, CycloptsError, Group, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from antiphon import streams
from antiphon.address import DEFAULT_PORT
from antiphon.cli.init import continue_below_init
from antiphon.cli.option_sources import clear_variables, early_option, option_sources, with_values
from antiphon.errors import AntiphonError, Fault, OutputClosed, OutputFailed
from antiphon.files import keep_trace
from antiphon.language import choose
from antiphon.observe.records import keep_off_console
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.version import __version__

CANCELLED = 130
"""The exit code after Ctrl-C: 128 and SIGINT's number, as shells have it."""

LISTED = Group("Listed", show=False)
"""The group of the commands: the text of `--help` lists them, with what they do."""

app = App(
    name="antiphon",
    version=__version__,
    help_format="plaintext",
    help="Sign-in and sessions for any conversation over TCP: one command to serve, one to connect.\n\n"
    "serve          run a server\n"
    "connect        sign in to a server and talk\n"
    "ping           measure round trips over a signed-in connection\n"
    "demo           run a server and a client, to try it\n"
    "status         show how a running server is\n"
    "reload         have a running server load certificate and service again\n"
    "drain          stop a running server in order\n"
    "backup         save accounts and keys of a server, running or not\n"
    "restore        restore a backup into a new data folder\n"
    "schema         show what messages a service takes, and what it answers\n"
    "accounts       manage accounts: add, list, show, disable, enable, remove,\n"
    "               password, rename, admin, import, export, rekey\n"
    "sessions       show who is signed in, and end sessions: list, revoke\n"
    "invite         make a code with which one person registers\n"
    "invitations    show who is invited, and withdraw codes: list, revoke\n"
    "db             show the version of a store's tables, and upgrade them:\n"
    "               status, upgrade\n"
    "known-servers  show the server keys that you trust, and forget them: list,\n"
    "               forget\n"
    "config         show each option of a command, and what has set it: show\n"
    "completions    print a script for bash, zsh or fish that completes commands\n"
    "man            write the manual pages\n\n"
    "Every option can also be set as a variable (ANTIPHON_PORT for --port) or in a TOML file "
    "(port = 7862 under [serve]; --config names it). Flags win over variables, variables over the file.\n\n"
    "For example:\n"
    "    antiphon demo\n"
    "    antiphon serve chat --port 9000\n"
    "    antiphon connect ann@localhost:9000",
)
app.command("antiphon.cli.serve:serve", group=LISTED)
app.command("antiphon.cli.connect:connect", group=LISTED)
app.command("antiphon.cli.ping:ping", group=LISTED)
app.command("antiphon.cli.demo:demo", group=LISTED)
app.command("antiphon.cli.status:status", group=LISTED)
app.command("antiphon.cli.status:reload", group=LISTED)
app.command("antiphon.cli.status:drain", group=LISTED)
app.command("antiphon.cli.backup:backup", group=LISTED)
app.command("antiphon.cli.backup:restore", group=LISTED)
app.command("antiphon.cli.schema:schema", group=LISTED)
app.command("antiphon.cli.accounts:app", name="accounts", group=LISTED)
app.command("antiphon.cli.sessions:app", name="sessions", group=LISTED)
app.command("antiphon.cli.invite:invite", group=LISTED)
app.command("antiphon.cli.invite:app", name="invitations", group=LISTED)
app.command("antiphon.cli.db:app", name="db", group=LISTED)
app.command("antiphon.cli.known_servers:app", name="known-servers", group=LISTED)
app.command("antiphon.cli.config:app", name="config", group=LISTED)
app.command("antiphon.cli.completions:completions", group=LISTED)
app.command("antiphon.cli.man:man", group=LISTED)


def run() -> None:
    """Run the command of the process's arguments and exit."""
    continue_below_init()
    streams.take_over()
    keep_off_console()
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code; report any failure as one sentence on standard error."""
    clear_variables(os.environ)
    console = Console(choose(early_option("lang", arguments), os.environ))

    def tell_unknown(name: str, nearest: str) -> None:
        said = console.translations.gettext("No option is set by {name}. Did you mean {nearest}?")
        console.tell(said.format(name=name, nearest=nearest))

    try:
        app.config = option_sources(arguments, app, tell_unknown)
        return int(app(with_values(arguments), exit_on_error=False, print_error=False) or 0)
    except OutputClosed as error:  # as after `| head -1`: no word
        return error.exit_code
    except AntiphonError as error:
        return _report(console, error)
    except CycloptsError as error:
        with suppress(OutputFailed):
            console.tell(f"antiphon: {_advice(error, arguments, console) or error} Try --help.")
        return 2
    except KeyboardInterrupt:
        return CANCELLED
    except OSError as error:
        failure = streams.failure_of(error)  # of what a library prints, such as --help
        if isinstance(failure, OutputClosed):
            return failure.exit_code
        return _report(console, failure or Fault(path=keep_trace()))
    except Exception:  # noqa: BLE001 - a bug: the person gets a sentence, the traceback goes to a file
        return _report(console, Fault(path=keep_trace()))


def _advice(error: CycloptsError, arguments: list[str], console: Console) -> str:
    """Return what is too much or missing, or what to give in place of an option of other clients.

    An empty string stands for the words of the library.
    """
    gettext = console.translations.gettext
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return gettext("Too many arguments: {words}.").format(words=printable(" ".join(error.unused_tokens)))
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        if name in arguments:
            return gettext("{option} needs a value.").format(option=name)
        return gettext("{argument} is missing.").format(argument=name.lstrip("-").upper())
    if not isinstance(error, UnknownOptionError) or arguments[:1] not in (["connect"], ["ping"]):
        return ""
    option = (error.token.keyword or error.token.value).partition("=")[0]
    if option not in ("--port", "--host", "-p"):
        return ""
    said = gettext("There is no option {option}: give HOST:PORT, as in antiphon {example}.")
    return said.format(option=option, example=f"{arguments[0]} localhost:{DEFAULT_PORT}")


def _report(console: Console, error: AntiphonError) -> int:
    """Print the error, if standard error can be written, and return its exit code."""
    with suppress(OutputFailed):
        console.tell_error(error)
    return error.exit_code
