"""Mappings and the store in the configuration: refused at start with file, line and reason; changed
at run time."""
import os
import subprocess

import pytest

from resp import Error, Nil
from server import binary, free_port


def refused(directory, text, *options):
    """What a server that must not start says."""
    path = os.path.join(str(directory), "refused.conf")
    with open(path, "w", encoding="utf8") as f:
        f.write(text)
    result = subprocess.run([binary(), path, "--port", "0", "--unixsocket",
                             os.path.join(str(directory), "r.sock"), *options],
                            capture_output=True, check=False, timeout=20)
    assert result.returncode == 1, result
    return path, (result.stdout + result.stderr).decode("utf8", "replace")


@pytest.mark.parametrize("mapping,reason", [
    ("m m:{id} table=nothing as=hash", "nothing"),
    ("m m:{ident} table=items as=hash", "items has no column ident"),
    ("m m:{name} table=items as=hash", "PRIMARY or UNIQUE NOT NULL index"),
    ("m m:{user_id} table=cart as=string:qty", "PRIMARY or UNIQUE NOT NULL index"),
    ("m m:{id} table=items as=string:nothing", "items has no column nothing"),
    ("m m:{id} table=items as=hash columns=id,nothing", "items has no column nothing"),
    ("m m:{id} table=items as=hash write=through", "write"),
    ("m m:{id} table=items as=blob", "blob"),
    ("m m:{id} table=items", "as="),
    ("m m:{id} as=hash", "table="),
    ("m m: table=items as=hash", "placeholder"),
    ("m m:{id}{name} table=items as=hash", "between"),
    ("m m:{id} table=items as=hash ttl=never", "ttl"),
    ("m m:{id} table=items as=hash jitter=200%", "jitter"),
    ("m m:{id} table=items as=hash colour=red", "colour"),
])
def test_a_mapping_that_does_not_hold(db, tmp_path, mapping, reason):
    path, said = refused(tmp_path, "# a comment\nstore %s\nmap %s\n" % (db.url, mapping))
    assert "%s:3: " % path in said and reason in said, said


def test_mappings_without_a_store(tmp_path):
    _, said = refused(tmp_path, "map m m:{id} table=items as=hash\n")
    assert "no 'store' is configured" in said


def test_a_bad_store_url(tmp_path):
    for url in ("postgres://localhost/db", "mysql://host", "sqlite://relative.db", "nonsense",
                "mysql://u:secret-word@host:99999/db"):
        path, said = refused(tmp_path, "port 0\nstore %s\n" % url)
        assert "store" in said and "secret-word" not in said, said


LOADED_FOR_MYSQL = ["libmariadb.so", "libssl.so", "libcrypto.so"]


def mapped(server):
    """Which of LOADED_FOR_MYSQL the server has in its memory."""
    with open("/proc/%d/maps" % server.process.pid, encoding="utf8") as f:
        maps = f.read()
    return [name for name in LOADED_FOR_MYSQL if name in maps]


def test_libmariadb_is_loaded_for_a_mysql_store_only(db, forebay):
    assert mapped(forebay()) == []
    assert mapped(forebay(db)) == (LOADED_FOR_MYSQL if db.kind == "mysql" else [])


@pytest.fixture
def no_libmariadb(tmp_path, monkeypatch):
    """What the loader finds first under that name is no library."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    (folder / "libmariadb.so.3").write_text("no library\n" * 100)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))


def test_a_mysql_store_without_libmariadb(no_libmariadb, tmp_path):
    url = "mysql://cache:secret-word@127.0.0.1:%d/shop" % free_port()
    path, said = refused(tmp_path, "# a comment\nstore %s\n" % url)
    assert "%s:2: store: " % path in said and "libmariadb.so.3: " in said, said
    assert "apt install libmariadb3" in said and "secret-word" not in said, said
    _, said = refused(tmp_path, "", "--store", url)
    assert "command line: store: " in said and "libmariadb3" in said, said


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_a_cache_and_a_sqlite_store_without_libmariadb(no_libmariadb, db, forebay):
    c = forebay().client()
    assert c.cmd("SET", "plain", "1") == "OK" and c.cmd("GET", "plain") == b"1"
    assert forebay(db).client().cmd("HGET", "item:1", "name") == b"Kettle"


def test_a_password_file_that_is_not_there(tmp_path):
    path, said = refused(tmp_path, "store mysql://u@127.0.0.1/d\nstore-password-file /no/file\n")
    assert "%s:1: store: store password file /no/file: " % path in said, said


def test_a_wrong_password_is_no_reason_not_to_start(mysql, mariadb, forebay):
    """The database may come to know it: it is said, and misses fail until then."""
    server = forebay(mysql, url=mariadb.url(mysql.name, password="wrong"), store_timeout="2s")
    c = server.client()
    assert b"Access denied" in server.log
    assert c.cmd("SET", "plain", "1") == "OK"
    reply = c.cmd("HGETALL", "item:1")
    assert isinstance(reply, Error) and reply.split(" ")[0] in ("STOREDOWN", "STOREREJECT")
    assert "wrong" not in server.log.decode()


def test_the_password_can_stand_in_a_file(mysql, mariadb, forebay, tmp_path):
    path = tmp_path / "password"
    path.write_text(mariadb.PASSWORD + "\nanother line\n")
    path.chmod(0o600)
    url = "mysql://%s@127.0.0.1:%d/%s" % (mariadb.USER, mariadb.port, mysql.name)
    server = forebay(mysql, url=url, store_password_file=str(path))
    c = server.client()
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    assert mariadb.PASSWORD not in str(c.cmd("CONFIG", "GET", "*"))


def test_the_database_by_its_unix_socket(mysql, mariadb, forebay):
    url = "mysql://%s:%s@localhost/%s?socket=%s" % (
        mariadb.USER, mariadb.URL_PASSWORD, mysql.name, mariadb.socket)
    c = forebay(mysql, url=url).client()
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"


def test_the_password_in_the_url_is_not_shown(mysql, mariadb, forebay):
    server = forebay(mysql)
    shown = str(server.client().cmd("CONFIG", "GET", "*"))
    assert mariadb.URL_PASSWORD not in shown and mariadb.PASSWORD not in shown


def test_start_without_the_database(forebay, tmp_path):
    server = forebay(url="mysql://cache@127.0.0.1:%d/shop" % free_port(), store_timeout="500ms")
    c = server.client()
    assert b"the database can't be reached" in server.log
    assert c.cmd("SET", "plain", "1") == "OK" and c.cmd("GET", "plain") == b"1"
    assert c.cmd("HGETALL", "item:1").startswith("STOREDOWN ")
    assert c.cmd("GET", "plain") == b"1"


def maps_of(client):
    reply = client.cmd("CONFIG", "GET", "map")
    assert all(name == b"map" for name in reply[::2])
    return b"\n".join(reply[1::2]).decode()


def test_maps_are_changed_at_run_time(db, forebay):
    server = forebay(db, maps=["qty qty:{id} table=items as=string:qty"], shards=2)
    c, other = server.client(), server.client()
    assert "qty:{id}" in maps_of(c)
    # Added.
    assert c.cmd("GET", "label:1") is Nil and c.cmd("SET", "label:9", "own") == "OK"
    assert c.cmd("CONFIG", "SET", "map", "label label:{id} table=items as=string:name") == "OK"
    assert c.cmd("GET", "label:1") == b"Kettle" and other.cmd("GET", "label:2") == b"Teapot"
    assert "label:{id}" in maps_of(other) and "qty:{id}" in maps_of(other)
    assert c.cmd("SET", "label:1", "x").startswith("STOREDENIED ")
    # Replaced: what was cached under the old one is no truth any more.
    assert c.cmd("CONFIG", "SET", "map", "label label:{id} table=items as=string:price") == "OK"
    assert c.cmd("GET", "label:1") == b"19.90" and other.cmd("GET", "label:2") == b"25.00"
    # Removed.
    assert c.cmd("CONFIG", "SET", "map", "-label") == "OK"
    assert c.cmd("GET", "label:1") is Nil and other.cmd("GET", "label:2") is Nil
    assert "label" not in maps_of(c) and "qty:{id}" in maps_of(c)
    assert c.cmd("SET", "label:1", "x") == "OK" and c.cmd("GET", "label:1") == b"x"
    assert c.cmd("GET", "qty:1") == b"7"


def test_a_changed_map_holds_for_all_once_it_is_answered(db, forebay):
    server = forebay(db, shards=2)
    c, other = server.client(), server.client()
    for _ in range(30):
        for column, value in (("name", b"Kettle"), ("price", b"19.90")):
            mapping = "label label:{id} table=items as=string:" + column
            assert c.cmd("CONFIG", "SET", "map", mapping) == "OK"
            assert other.cmd("GET", "label:1") == value
        assert c.cmd("CONFIG", "SET", "map", "-label") == "OK"
        assert other.cmd("GET", "label:1") is Nil


@pytest.mark.parametrize("mapping", [
    "bad bad:{id} table=nothing as=hash", "bad bad:{name} table=items as=hash", "bad",
    "-nothing", "qty qty:{id} table=nothing as=string:qty"])
def test_a_bad_map_is_refused_at_run_time(db, forebay, mapping):
    c = forebay(db).client()
    before = maps_of(c)
    reply = c.cmd("CONFIG", "SET", "map", mapping)
    assert reply.startswith("ERR ") and "map" in reply
    assert maps_of(c) == before and c.cmd("GET", "qty:1") == b"7"


def test_the_ttl_of_a_map_can_be_changed(db, forebay):
    c = forebay(db, maps=["qty qty:{id} table=items as=string:qty ttl=1000s jitter=0%"]).client()
    assert 990 <= c.cmd("TTL", "qty:1") <= 1000
    assert c.cmd("CONFIG", "SET", "map",
                 "qty qty:{id} table=items as=string:qty ttl=50s jitter=0%") == "OK"
    assert 45 <= c.cmd("TTL", "qty:1") <= 50


def test_rewrite_keeps_maps(db, forebay):
    server = forebay(db, maps=["qty qty:{id} table=items as=string:qty"])
    c = server.client()
    assert c.cmd("CONFIG", "SET", "map", "label label:{id} table=items as=string:name") == "OK"
    assert c.cmd("CONFIG", "REWRITE") == "OK"
    c.close()
    assert server.stop() == 0
    server.start()
    c = server.client()
    assert c.cmd("MGET", "label:1", "qty:1") == [b"Kettle", b"7"]


def test_precedence_is_by_the_longest_literal_prefix(db, forebay):
    c = forebay(db, maps=["a any:{k} table=texts as=string:v",
                          "b any:item:{id} table=items as=string:name"]).client()
    db.sql("INSERT INTO texts VALUES ('item:1', 'wrong'), ('other', 'right')")
    assert c.cmd("MGET", "any:item:1", "any:other") == [b"Kettle", b"right"]


def test_info_store(db, forebay):
    server = forebay(db)
    c = server.client()
    c.pipeline([["GET", "qty:1"], ["GET", "qty:1"], ["GET", "qty:3"], ["GET", "qty:99"]])
    assert c.cmd("GET", "qty:1") == b"7"
    info = server.info("store")
    assert info["store_driver"] == db.kind and info["store_status"] == "up"
    assert int(info["store_loads"]) == 3 and int(info["store_absent"]) == 1
    assert int(info["store_rows"]) == 2 and int(info["store_batches"]) >= 1
    assert int(info["store_misses"]) == 3 and int(info["store_hits"]) == 2
    assert info["store_latency_us"].startswith("p50=")
    assert info["store_breaker"] == "closed" and info["map_qty"].startswith("table=items,")
