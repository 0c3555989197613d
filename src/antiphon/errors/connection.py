"""Errors of the connection: none could be made, it broke, or no answer came in time; exit codes 3 and 6."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class ConnectError(AntiphonError):
    """No connection could be made, or it broke."""

    code = "connection"
    blame = "network"
    exit_code = 3
    sentence = N_("There is no connection to {address}.")


class HostUnknown(ConnectError):
    """The host name does not resolve."""

    code = "host-unknown"
    blame = "user"
    sentence = N_("There is no host “{host}”.")
    hint = N_("Check its spelling, and that this machine has a network.")


class ConnectRefused(ConnectError):
    """Nothing answers at the address."""

    code = "connect-refused"
    sentence = N_("Nobody answers at {address}: {problem}.")
    hint = N_("Check the host and the port, and that the server is running.")


class DatabaseUnreachable(ConnectError):
    """There is no PostgreSQL server at the address of `--store postgresql://…`, or it does not answer."""

    code = "database-unreachable"
    blame = "operator"
    sentence = N_("The database {database} cannot be reached: {problem}.")
    hint = N_("Check the address in --store, and that the PostgreSQL server is running.")


class NotAntiphon(ConnectError):
    """The peer does not speak this protocol."""

    code = "not-antiphon"
    sentence = N_("The server at {address} does not speak this protocol.")
    hint = N_("Check the port, and whether the server uses tls:// or tcp://.")


class ConnectionLost(ConnectError):
    """The connection broke while it was in use."""

    code = "connection-lost"
    sentence = N_("The connection to {address} broke.")
    hint = N_("Connect again; messages without an answer may or may not have been handled.")


class ServerStopping(ConnectError):
    """The server is stopping and has said BYE."""

    code = "server-stopping"
    blame = "server"
    sentence = N_("The server is stopping.")
    hint = N_("Connect again in a moment.")


class NotRunning(ConnectError):
    """No server runs with a data folder."""

    code = "not-running"
    blame = "user"
    sentence = N_("No server runs with the data folder {path}.")
    hint = N_("Start one with antiphon serve, or name another folder with --data.")


class ProcessNotRunning(NotRunning):
    """The process that was named is no server of the data folder."""

    code = "process-not-running"
    sentence = N_("Process {pid} is no server with the data folder {path}.")
    hint = N_("antiphon status shows those that run.")


class ServerSilent(ConnectError):
    """A server of this machine does not answer its operator."""

    code = "server-silent"
    blame = "server"
    sentence = N_("The server of process {pid} does not answer.")
    hint = N_("Its process is stopped, or works on something that keeps it from everything else; see its log.")


class TimedOut(AntiphonError):
    """The peer did not answer within the time allowed."""

    code = "timed-out"
    blame = "network"
    exit_code = 6
    sentence = N_("{address} did not answer within {seconds} seconds.")
    hint = N_("Check the address, or allow more time with --timeout.")
