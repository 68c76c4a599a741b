"""Fixtures of the tests with real databases and real clients. See README.md.

    mariadb   a private MariaDB, one a run; tests that need it are skipped where it is not installed
    db        a database of the test's own with the tests' tables and rows, on both drivers
    mysql     the same, on MariaDB only
    forebay   starts servers: forebay(db, port=True, maps=[...], options ...)
    shop      a client of a server in front of such a database; both are kept for the whole run
    plain     one server without a store, for a module
"""
import os
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import databases  # noqa: E402, behind the path
from server import Server, free_port  # noqa: E402

TABLES = {
    "mysql": """
        CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL, note VARCHAR(100),
                            price DECIMAL(10,2), qty INT);
        CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE,
                            name VARCHAR(100));
        CREATE TABLE cart (user_id INT, sku VARCHAR(40), qty INT, PRIMARY KEY (user_id, sku));
        CREATE TABLE texts (k VARCHAR(200) PRIMARY KEY, v TEXT);
        CREATE TABLE blobs (k VARBINARY(200) PRIMARY KEY, v BLOB);""",
    "sqlite": """
        CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT, price TEXT,
                            qty INTEGER);
        CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT);
        CREATE TABLE cart (user_id INTEGER NOT NULL, sku TEXT NOT NULL, qty INTEGER,
                           PRIMARY KEY (user_id, sku));
        CREATE TABLE texts (k TEXT NOT NULL PRIMARY KEY, v TEXT);
        CREATE TABLE blobs (k BLOB NOT NULL PRIMARY KEY, v BLOB);""",
}
TABLE_NAMES = ["items", "users", "cart", "texts", "blobs"]
ROWS = """
    INSERT INTO items VALUES (1, 'Kettle', NULL, '19.90', 7), (2, 'Teapot', 'blue', '25.00', NULL),
                             (3, 'Cup', '', '3.50', 0);
    INSERT INTO users VALUES (1, 'ann@example.com', 'Ann'), (2, 'bob@example.com', NULL);
    INSERT INTO cart VALUES (1, 'KETTLE', 2), (1, 'a:b', 5), (2, 'KETTLE', 9);"""
MAPS = [
    "item item:{id} table=items as=hash",
    "ijson item:json:{id} table=items as=json columns=id,name,note,qty",
    "qty qty:{id} table=items as=string:qty",
    "note note:{id} table=items as=string:note",
    "gone gone:{id} table=items as=hash absent=1h",
    "email user:email:{email} table=users as=hash",
    "cart cart:{user_id}:{sku} table=cart as=string:qty",
    "text text:{k} table=texts as=string:v",
    "blob blob:{k} table=blobs as=string:v",
]


@pytest.fixture(scope="session")
def mariadb():
    missing = databases.missing_programs()
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))
    # A short path: a unix socket's has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="fb-mariadb-", dir="/tmp") as directory:
        server = databases.MariaDB(directory)
        yield server
        server.stop()


def _open(kind, request, tmp_path):
    if kind == "mysql":
        server = request.getfixturevalue("mariadb")
        request.config.forebay_databases = getattr(request.config, "forebay_databases", 0) + 1
        db = databases.MySQLDatabase(server, "t%d" % request.config.forebay_databases)
    else:
        db = databases.SQLiteDatabase(str(tmp_path / "store.db"))
    db.sql(TABLES[kind] + ROWS)
    return db


@pytest.fixture(params=["sqlite", "mysql"])
def db(request, tmp_path):
    opened = _open(request.param, request, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def mysql(request, tmp_path):
    opened = _open("mysql", request, tmp_path)
    yield opened
    opened.close()


class Servers:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="forebay-test-")
        self.running = []

    def __call__(self, db=None, maps=None, port=False, wrapper=(), url=None, config="", **options):
        """Options are named with _ for -. A list is the words of one option."""
        directory = os.path.join(self.directory.name, str(len(self.running)))
        os.mkdir(directory)
        words = []
        if db or url:
            options = {"store_timeout": "5s", **options}
            config += "store %s\n" % (url or db.url)
            config += "".join("map %s\n" % m for m in (MAPS if maps is None else maps))
        for name, value in options.items():
            words.append("--" + name.replace("_", "-"))
            words += value if isinstance(value, list) else [value]
        server = Server(directory, words, config, free_port() if port else 0, wrapper)
        server.db = db
        self.running.append(server)
        return server

    def close(self):
        codes = [(server.stop(), server) for server in self.running]
        try:
            for code, server in codes:
                assert code in (0, -9), server.log.decode("latin1")
                assert b"ASSERT" not in server.log, server.log.decode("latin1")
        finally:
            self.directory.cleanup()


@pytest.fixture
def forebay():
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def plain():
    servers = Servers()
    yield servers(port=True)
    servers.close()


@pytest.fixture(scope="session", params=["sqlite", "mysql"])
def kept_shop(request, tmp_path_factory):
    db = _open(request.param, request, tmp_path_factory.mktemp("shop"))
    servers = Servers()
    yield servers(db)
    servers.close()
    db.close()


@pytest.fixture
def shop(kept_shop):
    """A client of a server in front of the tests' tables, which hold the tests' rows,
    nothing cached. The server is kept from test to test."""
    kept_shop.db.sql("".join("DELETE FROM %s;" % t for t in TABLE_NAMES) + ROWS)
    client = kept_shop.client()
    client.server, client.db = kept_shop, kept_shop.db
    assert client.cmd("FLUSHALL") == "OK" and client.cmd("CONFIG", "RESETSTAT") == "OK"
    yield client
    client.close()
    assert kept_shop.process.poll() is None, kept_shop.log.decode("latin1")
