"""The store of a reader study in PostgreSQL, a server of its own that the tests start."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

sql = pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.protocol import CRITERIA, SCORES
from ContrastSynthLib.reader_study.sitting import Sitting
from ContrastSynthLib.reader_study.store import SCORE, About, BlindReading, Store

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
ABOUT = About("A study", SCORES, CRITERIA, 0.0, "f" * 64)
FULL = {criterion.key: 3 for criterion in CRITERIA}
READERS = [f"reader {n}" for n in range(8)]

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="needs PostgreSQL: apt-get install postgresql")


def as_its_user(*words):
    """PostgreSQL does not run as root: Debian's package has a user for it."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*prefix, *map(str, words)], check=True, capture_output=True, cwd="/")


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="study-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs, data = PROGRAMS[-1], folder / "data"
    as_its_user(programs / "initdb", "-D", data, "-A", "trust", "-U", "study")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    as_its_user(programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    yield f"postgresql+psycopg://study@127.0.0.1:{port}"
    as_its_user(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server, request):
    name = f"study_{abs(hash(request.node.name))}"
    engine = sql.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{server}/{name}"


def readings():
    return [
        BlindReading(reader, n, 1, (f"image{n}",), ()) for reader in READERS for n in range(1, 7)
    ]


def score_all(url, reader):
    sitting = Sitting.begin(Store(url), reader)
    while (reading := sitting.next()) is not None:
        sitting.score(reading.number, FULL, 1.0)


def test_eight_readers_at_once_lose_nothing(url):
    Store.create(url, ABOUT, readings()).close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=score_all, args=(url, name)) for name in READERS]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    store = Store(url)
    with store.reading() as connection:
        count = connection.execute(sql.select(sql.func.count()).select_from(SCORE)).scalar_one()
    assert count == 8 * 6 * len(FULL)
    with pytest.raises(RequestError, match="there is a study already"):
        Store.create(url, ABOUT, readings())
    store.close()


@pytest.mark.parametrize("verb", ["UPDATE score SET value = 4", "DELETE FROM score"])
def test_the_database_itself_refuses_to_change_a_row(url, verb):
    store = Store.create(url, ABOUT, readings())
    sitting = Sitting.begin(store, READERS[0])
    sitting.score(1, FULL, 2.0)
    with pytest.raises(RequestError, match="rows are only added"), store.writing() as connection:
        connection.exec_driver_sql(verb)
    assert sitting.done() == {1}
    Sitting.begin(store, READERS[0])
    with pytest.raises(RequestError, match="opened the study once more"):
        sitting.score(2, FULL, 1.0)
    store.close()


def test_a_server_that_is_not_there_is_told(server):
    with pytest.raises(RequestError, match="store does not work"):
        Store("postgresql+psycopg://study@127.0.0.1:1/nothing")
