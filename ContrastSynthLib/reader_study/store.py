"""Where scores are kept: SQLite by default, or a database by its URL, for several workstations.

Rows are only ever added: a corrected score is a new row, and the database itself refuses to change
or delete one. The store knows images by random names alone; which arm they are of stands in the key
of the study, which readers do not have (``blinding``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.reader_study.protocol import Criterion

SCHEMA_VERSION = 1
WAITS_S = 60.0
"""How long a writer waits for another one."""

TABLES = sql.MetaData()


def _table(
    name: str, *keys: sql.Column[Any], **columns: type[sql.types.TypeEngine[Any]]
) -> sql.Table:
    """Return a table with columns of which none may be empty, after those of its key."""
    rest = [sql.Column(column, kind, nullable=False) for column, kind in columns.items()]
    return sql.Table(name, TABLES, *keys, *rest)


def _counted() -> sql.Column[Any]:
    """Return the number of a row, which rises."""
    return sql.Column("id", sql.Integer, primary_key=True)


STUDY = _table(
    "study",
    schema_version=sql.Integer,
    title=sql.Text,
    mode=sql.Text,
    criteria=sql.JSON,
    washout_days=sql.Float,
    protocol_sha256=sql.Text,
    created_utc=sql.Text,
    software=sql.Text,
)
READING = _table(
    "reading",
    sql.Column("reader", sql.Text, primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True),
    session=sql.Integer,
    images=sql.JSON,
    beside=sql.JSON,
)
OPENING = _table("opening", _counted(), reader=sql.Text, token=sql.Text, when_utc=sql.Text)
SCORE = _table(
    "score",
    _counted(),
    reader=sql.Text,
    number=sql.Integer,
    criterion=sql.Text,
    value=sql.Integer,
    seconds=sql.Float,
    when_utc=sql.Text,
    software=sql.Text,
)
REMARK = _table(
    "remark",
    _counted(),
    reader=sql.Text,
    number=sql.Integer,
    kind=sql.Text,
    text=sql.Text,
    when_utc=sql.Text,
)


@dataclass(frozen=True)
class BlindReading:
    """What a reader is shown: random names of images from left to right, and those beside them."""

    reader: str
    number: int
    session: int
    images: tuple[str, ...]
    beside: tuple[str, ...]


@dataclass(frozen=True)
class About:
    """What a store tells of its study."""

    title: str
    mode: str
    criteria: tuple[Criterion, ...]
    washout_days: float
    protocol_sha256: str


class Store:
    """The store of one study. Raises RequestError for one that cannot be opened or is newer."""

    def __init__(self, url: str | Path) -> None:
        self._engine = _engine(url)
        with _told(str(url)), self._engine.connect() as connection:
            if not sql.inspect(connection).has_table(STUDY.name):
                raise RequestError(f"{url}: there is no study. Make one with study create.")
            row = connection.execute(sql.select(STUDY)).mappings().one()
        if row["schema_version"] > SCHEMA_VERSION:
            raise RequestError(
                f"{url}: the store has the version {row['schema_version']}, and this ContrastSynth "
                f"knows {SCHEMA_VERSION}: use a newer one."
            )
        criteria = tuple(
            Criterion(**{**one, "anchors": tuple(one["anchors"])}) for one in row["criteria"]
        )
        self.about = About(
            row["title"], row["mode"], criteria, row["washout_days"], row["protocol_sha256"]
        )
        self.where = str(url)

    @classmethod
    def create(cls, url: str | Path, about: About, readings: Sequence[BlindReading]) -> Store:
        """Make the store of a study, which must not be there yet, and return it."""
        engine = _engine(url, create=True)
        with _told(str(url)), engine.begin() as connection:
            if sql.inspect(connection).has_table(STUDY.name):
                raise RequestError(f"{url}: there is a study already. Choose another place.")
            TABLES.create_all(connection)
            _allow_only_new_rows(connection)
            connection.execute(
                STUDY.insert(),
                {
                    **{"schema_version": SCHEMA_VERSION, "created_utc": now_utc().isoformat()},
                    **{"software": __version__, **asdict(about)},
                },
            )
            connection.execute(READING.insert(), [asdict(reading) for reading in readings])
        engine.dispose()
        return cls(url)

    @property
    def readers(self) -> list[str]:
        """Names of the readers."""
        with self.reading() as connection:
            found = connection.execute(sql.select(READING.c.reader).distinct()).scalars()
            return sorted(found)

    def readings(self, reader: str) -> list[BlindReading]:
        """Return all readings of a reader, in their order. Raises RequestError for another one."""
        chosen = sql.select(READING).where(READING.c.reader == reader).order_by(READING.c.number)
        with self.reading() as connection:
            rows = connection.execute(chosen).mappings().all()
        if not rows:
            raise unknown_name("reader of this study", reader, self.readers)
        return [
            BlindReading(**{**row, "images": tuple(row["images"]), "beside": tuple(row["beside"])})
            for row in rows
        ]

    def scores(self, reader: str | None = None, *, every: bool = False) -> list[dict[str, Any]]:
        """Return scores in the order they came: the last of each reading and criterion, or all."""
        chosen = sql.select(SCORE).order_by(SCORE.c.id)
        if reader is not None:
            chosen = chosen.where(SCORE.c.reader == reader)
        with self.reading() as connection:
            rows = [dict(row) for row in connection.execute(chosen).mappings()]
        if every:
            return rows
        last = {(row["reader"], row["number"], row["criterion"]): row for row in rows}
        return sorted(last.values(), key=lambda row: row["id"])

    def remarks(self) -> list[dict[str, Any]]:
        """Return comments and flags in the order they came."""
        with self.reading() as connection:
            return [
                dict(row)
                for row in connection.execute(sql.select(REMARK).order_by(REMARK.c.id)).mappings()
            ]

    def opened(self, connection: sql.Connection, reader: str) -> Mapping[str, Any]:
        """Return when a reader opened the study last, and the token of that sitting."""
        last = sql.select(OPENING).where(OPENING.c.reader == reader)
        found = connection.execute(last.order_by(OPENING.c.id.desc()).limit(1))
        return dict(found.mappings().one())

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """Give a connection to read with."""
        with _told(self.where), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Give a connection whose rows are kept together at the end, or not at all."""
        with _told(self.where), self._engine.begin() as connection:
            yield connection


def _engine(url: str | Path, *, create: bool = False) -> sql.Engine:
    """Return the engine of a file or a URL; each writer waits for the one before it."""
    text = str(url)
    if "://" in text:
        return sql.create_engine(text)
    path = Path(text)
    if not create and not path.is_file():
        raise RequestError(f"{path}: there is no study. Make one with study create.")
    engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": WAITS_S})

    @sql.event.listens_for(engine, "connect")
    def _safe(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin is ours, see below
        connection.execute("PRAGMA synchronous = FULL")

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _allow_only_new_rows(connection: sql.Connection) -> None:
    """Let the database refuse to change or delete a row."""
    for table in TABLES.tables:
        if connection.dialect.name == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'rows are only added'); END"
                )
        elif connection.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION only_new_rows() RETURNS trigger AS $$ BEGIN "
                "RAISE EXCEPTION 'rows are only added'; END $$ LANGUAGE plpgsql"
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_only_new BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION only_new_rows()"
            )


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Turn what a database says into errors with the place of the store."""
    try:
        yield
    except (DatabaseError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise RequestError(f"{where}: the study's store does not work ({reason}).") from error


def now_utc() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
