"""Errors of stores outside of the data folder: databases and folders of files that cannot be used as they are."""

from antiphon.errors.usage import UsageError
from antiphon.language import N_


class StoreUnusable(UsageError):
    """The folder of `--store files:DIR`, or a file in it, cannot be read or written."""

    code = "store-unusable"
    blame = "operator"
    sentence = N_("{path} cannot be used: {problem}.")
    hint = N_("Fix that, or name another store with --store.")


class DatabaseUnusable(UsageError):
    """The database of `--store postgresql://…` cannot be used as it is, or by this user."""

    code = "database-unusable"
    blame = "operator"
    sentence = N_("The database {database} cannot be used: {problem}.")
    hint = N_("Fix that, or name another database with --store.")


class DatabaseOutdated(DatabaseUnusable):
    """The tables of the database are of an earlier version of this program."""

    code = "database-outdated"
    sentence = N_(
        "The database {database} has the tables of version {version}; this program needs version {wanted}."
    )
    hint = N_(
        "Make a backup, stop the servers of the earlier version, and run antiphon db upgrade --store {quoted}."
    )


class DatabaseElsewhere(DatabaseUnusable):
    """Servers of another machine or data folder use the database, and cannot be reached from here."""

    code = "database-elsewhere"
    sentence = N_(
        "Servers on {place} use the database {database}, and without --relay-address only those of one data folder"
        " may."
    )
    hint = N_(
        "Give this server the same --data on the same machine; or stop them, and start all of them with"
        " --relay-address."
    )


class RelayAddressMissing(DatabaseElsewhere):
    """The database belongs to nodes, which relay to each other, and this server has no address for that."""

    code = "relay-address-missing"
    sentence = N_("The servers of the database {database} are nodes, and this one has no address for relays.")
    hint = N_("Give it --relay-address with a name or an address of this machine that the other nodes reach.")


class NodesOnly(DatabaseElsewhere):
    """Servers without `--relay-address` use the database: a node cannot relay to them."""

    code = "nodes-only"
    sentence = N_(
        "Servers without --relay-address, on {place}, use the database {database}, and nodes cannot relay to them."
    )
    hint = N_("Stop them first, and start them again with --relay-address.")


class StoreTaken(UsageError):
    """Another server uses the folder of `--store files:DIR`."""

    code = "store-taken"
    blame = "operator"
    sentence = N_("A server is running on {path}, and there can be only one.")
    hint = N_("Stop that one first, or give this one another folder.")
