"""The database's schema, as a list of named steps that only ever grows.

A released step is never changed or removed: a correction is another step at the end.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step. Its statements run in one transaction together with the note that they ran."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        name="001-meta",
        statements=("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",),
    ),
)
