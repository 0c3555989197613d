"""Report of an import: what became an account, and the lines that gave none, without quoting them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from antiphon.cli.output import OutputOptions, Record, iso_time, report_result
from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy import Known, Passed, Plain, Row, Scheme, Why
from antiphon.language import N_, Translate
from antiphon.terminal.console import Console

REPORTED_MOST = 20
"""Lines that are reported one by one; `--json` reports all."""
_EXISTS = Problem(N_("this name has an account already, which is left as it is"))
_NO_CLIENTS = (Why.EMPTY, Why.HEADING, Why.REPEATED)


@dataclass
class Report:
    """The result of an import."""

    file: str
    names: Path | None
    rows: list[Row]
    passed: list[Passed]
    """Lines of the file that gave no account."""
    unread: list[Passed]
    """Lines of the file with names that could not be used."""
    dry_run: bool
    scheme: Scheme
    """Form of the passwords in the file."""
    known: Sequence[Known] = ()
    """Names and addresses in the file with names."""
    imported: list[Row] = field(default_factory=list)
    """Rows that became accounts, or in a dry run would."""
    existing: list[Row] = field(default_factory=list)
    """Rows whose name has an account already."""
    kept: Sequence[Known] = ()
    """Names that are kept at their addresses, where no accounts are imported."""
    expires_at: datetime | None = None

    @property
    def clients(self) -> int:
        """Clients that the file speaks of, whether they can be read or not."""
        return len(self.rows) + sum(line.why not in _NO_CLIENTS for line in self.passed)

    def set_result(self, imported: list[Row], expires_at: datetime) -> None:
        """Record which rows are new, and until when their passwords are valid."""
        self.imported = imported
        self.existing = [row for row in self.rows if row not in imported]
        self.expires_at = expires_at if imported else None

    def count(self, why: Why) -> int:
        """Return how many lines were passed over for this reason."""
        return sum(line.why is why for line in self.passed)

    def about_passwords(self, _: Translate) -> list[str]:
        """Return a sentence that says what the passwords of the file are, if there are any."""
        if not self.rows:
            return []
        if isinstance(self.scheme, Plain):
            return [_("The passwords are read as plain text.")]
        if self.scheme.salt:
            said = _("The passwords are read as {hash} digests of the password with “{salt}” behind it.")
        else:
            said = _("The passwords are read as {hash} digests.")
        return [said.format(hash=self.scheme.hash, salt=self.scheme.salt)]

    def tell(self, options: OutputOptions, console: Console, *sentences: str) -> None:
        """Report the lines that gave no account, then the sentences."""
        _ = console.translations.gettext
        taken = UsageError(problem=_EXISTS)
        lines = sorted(
            [*self.passed, *(Passed(row.line, Why.REPEATED, taken) for row in self.existing)],
            key=lambda line: (line.line, line.column or 0),
        )
        problems = [_sentence(self.file, line, line.error, _) for line in lines if line.error]
        problems += [_sentence(str(self.names), line, line.error, _) for line in self.unread if line.error]
        if len(problems) > REPORTED_MOST:
            more = _("Further lines with remarks: {count}; --json shows all of them.")
            problems[REPORTED_MOST:] = [more.format(count=len(problems) - REPORTED_MOST)]
        if self.names is None and self.count(Why.UNNAMED):
            problems.append(_("Use --names to say which names belong to MD5s and addresses."))
        report_result(console, options, self._record(), *problems, *sentences)

    def _record(self) -> Record:
        return {
            "dry_run": self.dry_run,
            "scheme": str(self.scheme) if self.rows else None,
            "imported": [row.name.display for row in self.imported],
            "kept": [each.name.display for each in self.kept],
            "expires_at": iso_time(self.expires_at),
            "existing": [row.name.display for row in self.existing],
            "lines": [_record(line) for line in self.passed],
            "names_lines": [_record(line) for line in self.unread],
        }


def _sentence(path: str, line: Passed, error: UsageError, _: Translate) -> str:
    problem = error.text(_).rstrip(".")
    if line.field is not None:
        said = _("{path}, line {line}, column {column} ({field}): {problem}.")
        return said.format(path=path, line=line.line, column=line.column, field=_(line.field), problem=problem)
    if line.column is not None:
        said = _("{path}, line {line}, column {column}: {problem}.")
        return said.format(path=path, line=line.line, column=line.column, problem=problem)
    return _("{path}, line {line}: {problem}.").format(path=path, line=line.line, problem=problem)


def _record(line: Passed) -> Record:
    return {
        "line": line.line,
        "column": line.column,
        "field": line.field,
        "why": line.why.value,
        "problem": line.error.text() if line.error else None,
    }
