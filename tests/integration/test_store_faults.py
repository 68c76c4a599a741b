"""A MariaDB that dies, hangs, comes back or changes its mind: what clients see, and for how
long."""
import signal
import time

import pytest

from resp import Error, Nil
from server import until

TIMEOUT_MS = 250


@pytest.fixture
def fragile(mysql, mariadb):
    """The database, whose server a test may kill or stop."""
    yield mysql
    mariadb.ensure_running()


def start(forebay, db, **options):
    server = forebay(db, store_timeout="%dms" % TIMEOUT_MS, **options)
    clients = server.client(), server.client()
    assert clients[0].cmd("MGET", "qty:1", "qty:3") == [b"7", b"0"]
    assert clients[0].cmd("SET", "plain", "1") == "OK"
    return (server,) + clients


def elapsed_ms(client, *command):
    began = time.monotonic()
    return client.cmd(*command), (time.monotonic() - began) * 1000


def served(client):
    """Cached rows and ordinary keys."""
    return client.pipeline([["GET", "qty:1"], ["GET", "plain"], ["MGET", "qty:3", "plain"],
                            ["INCR", "counter"]])[:3] == [b"7", b"1", [b"0", b"1"]]


def recovers(client, *command):
    until(lambda: not isinstance(client.cmd(*command), Error), "misses are read again", 15)
    return client.cmd(*command)


@pytest.mark.parametrize("breaker", ["errors=20/1s open=2s", "off"])
def test_killed_and_restarted(fragile, mariadb, forebay, breaker):
    server, c, other = start(forebay, fragile, store_breaker=breaker.split(" "))
    mariadb.kill()
    for i in range(30):
        reply, ms = elapsed_ms(c, "HGET", "item:%d" % (i % 3 + 1), "id")
        assert reply.startswith("STOREDOWN "), reply
        assert ms < 1000
        assert served(other)
    # Replies keep their places among errors.
    replies = c.pipeline([["GET", "plain"], ["GET", "qty:2"], ["GET", "qty:1"], ["PING"]])
    assert replies[0] == b"1" and replies[1].startswith("STOREDOWN ")
    assert replies[2:] == [b"7", "PONG"]
    assert c.cmd("MGET", "qty:1", "qty:2").startswith("STOREDOWN ")
    assert server.info("store")["store_last_error"] != ""
    mariadb.start()
    assert recovers(c, "HGET", "item:2", "name") == b"Teapot"
    assert other.cmd("HGET", "item:3", "name") == b"Cup"


def test_stopped_and_continued(fragile, mariadb, forebay):
    server, c, other = start(forebay, fragile)
    mariadb.signal(signal.SIGSTOP)
    c.send("HGET", "item:1", "name")
    began = time.monotonic()
    served_times = 0
    while True:  # while it waits the others are served
        assert served(other)
        served_times += 1
        if server.count("blocked_clients") == 0:
            break
        assert time.monotonic() - began < 5
    reply = c.read()
    assert reply.startswith("STORETIMEOUT "), reply
    assert served_times > 3
    _, ms = elapsed_ms(c, "HGET", "item:2", "name")
    assert TIMEOUT_MS * 0.8 <= ms <= TIMEOUT_MS * 4
    mariadb.signal(signal.SIGCONT)
    assert recovers(c, "HGET", "item:1", "name") == b"Kettle"
    assert server.count("store_timeouts") >= 1


def test_more_misses_than_workers_while_it_is_stopped(fragile, mariadb, forebay):
    server, c, other = start(forebay, fragile, store_pool=2)
    clients = [server.client() for _ in range(40)]
    mariadb.signal(signal.SIGSTOP)
    began = time.monotonic()
    for i, client in enumerate(clients):
        client.send("HGET", "item:%d" % (100 + i), "name")
    replies = [client.read() for client in clients]
    assert time.monotonic() - began < TIMEOUT_MS / 1000 * 6
    assert {reply.split(" ")[0] for reply in replies} <= {"STORETIMEOUT", "STOREDOWN"}
    assert served(other)
    mariadb.signal(signal.SIGCONT)
    assert recovers(c, "HGET", "item:1", "name") == b"Kettle"


def test_a_locked_row_times_out(fragile, forebay):
    server, c, other = start(forebay, fragile)
    with fragile.stalled("items"):
        reply, ms = elapsed_ms(c, "GET", "qty:2")
        assert reply.startswith("STORETIMEOUT ")
        assert TIMEOUT_MS * 0.8 <= ms <= TIMEOUT_MS * 4
        assert served(other)
        # Other tables are read all the while.
        assert recovers(other, "HGET", "user:email:ann@example.com", "name") == b"Ann"
    assert recovers(c, "GET", "qty:2") is Nil


def status(server):
    return server.info("store")["store_status"]


def test_status_says_down_at_once(fragile, mariadb, forebay):
    """The first load that fails is enough, with no breaker; the first that succeeds ends it."""
    server, c, other = start(forebay, fragile, store_breaker=["off"])
    assert status(server) == "up"
    mariadb.kill()
    assert c.cmd("GET", "qty:2").startswith("STOREDOWN ")
    assert status(server) == "down"
    # Answered without the database: no news of it.
    assert c.cmd("GET", "qty:none") is Nil
    assert status(server) == "down"
    assert c.cmd("CONFIG", "RESETSTAT") == "OK" and status(server) == "down"
    mariadb.start()
    assert recovers(c, "GET", "qty:2") is Nil
    assert status(server) == "up"
    # An error that the database answers, or a table that is not there, is an answer.
    fragile.sql("ALTER TABLE items DROP COLUMN qty")
    assert c.cmd("GET", "qty:4").startswith("STORESCHEMA ")
    assert status(server) == "up"


def test_status_of_a_database_that_stands_still(fragile, mariadb, forebay):
    server, c, other = start(forebay, fragile, store_breaker=["off"])
    mariadb.signal(signal.SIGSTOP)
    assert c.cmd("HGET", "item:1", "name").startswith("STORETIMEOUT ")
    # The client's time may be up a moment before the call's.
    until(lambda: status(server) == "down", "the call is given up", 5)
    mariadb.signal(signal.SIGCONT)
    assert recovers(c, "HGET", "item:1", "name") == b"Kettle"
    until(lambda: status(server) == "up", "its success is counted", 5)


def test_status_before_and_without_a_database(fragile, mariadb, forebay):
    assert status(forebay(fragile, maps=[])) == "not_connected"
    mariadb.kill()
    server = forebay(fragile)
    assert server.client().cmd("GET", "qty:2").startswith("STOREDOWN ")
    assert status(server) == "down" and server.count("store_connects") == 0


def test_the_breaker_opens_and_closes(fragile, mariadb, forebay):
    server, c, other = start(forebay, fragile, store_breaker=["errors=3/10s", "open=300ms"])
    mariadb.kill()
    until(lambda: c.cmd("GET", "qty:2").startswith("STOREDOWN ") and
          server.info("store")["store_breaker"] == "open", "the breaker opens")
    info = server.info("store")
    assert info["store_status"] == "down" and int(info["store_breaker_opened"]) >= 1
    assert served(other)
    mariadb.start()
    assert recovers(c, "GET", "qty:2") is Nil
    until(lambda: server.info("store")["store_breaker"] == "closed", "the breaker closes")


def test_connections_that_the_database_closes(fragile, mariadb, forebay):
    """A KILL of idle connections costs no client an error."""
    server, c, _ = start(forebay, fragile)
    for i in range(5):
        for number in mariadb.run("SELECT id FROM information_schema.processlist WHERE user = '%s'"
                                  % mariadb.USER).split():
            mariadb.run("KILL %s" % number.decode())
        assert c.cmd("HGET", "item:%d" % (i % 3 + 1), "id") == b"%d" % (i % 3 + 1)
        c.cmd("DEL", "item:%d" % (i % 3 + 1))
    assert server.count("store_reconnects") >= 1


def test_a_dropped_column(fragile, forebay):
    server, c, _ = start(forebay, fragile)
    fragile.sql("ALTER TABLE items DROP COLUMN qty")
    reply = c.cmd("GET", "qty:2")
    assert isinstance(reply, Error) and reply.startswith("STORESCHEMA "), reply
    # The row form takes the table as it is now.
    got = recovers(c, "HGETALL", "item:2")
    assert b"qty" not in got and b"Teapot" in got
    fragile.sql("ALTER TABLE items ADD COLUMN qty INT DEFAULT 4")
    assert recovers(c, "GET", "qty:2") == b"4"


def test_a_dropped_table(fragile, forebay):
    server, c, _ = start(forebay, fragile)
    fragile.sql("DROP TABLE cart")
    reply = c.cmd("GET", "cart:1:KETTLE")
    assert isinstance(reply, Error) and reply.split(" ")[0] in ("STORESCHEMA", "STOREREJECT"), reply
    assert served(c)
    assert c.cmd("HGET", "item:2", "name") == b"Teapot"


def test_a_lost_privilege(fragile, mariadb, forebay):
    server, c, _ = start(forebay, fragile)
    mariadb.run("REVOKE SELECT ON *.* FROM '%s'@'%%'" % mariadb.USER)
    try:
        reply = c.cmd("HGET", "user:email:ann@example.com", "name")
        assert isinstance(reply, Error) or reply == b"Ann"
        assert served(c)
    finally:
        mariadb.run("GRANT SELECT ON *.* TO '%s'@'%%'" % mariadb.USER)
    assert recovers(c, "HGET", "user:email:bob@example.com", "id") == b"2"


def test_the_database_comes_up_later(fragile, mariadb, forebay):
    mariadb.kill()
    server = forebay(fragile, store_timeout="%dms" % TIMEOUT_MS)
    c = server.client()
    assert b"the database can't be reached" in server.log
    assert c.cmd("SET", "plain", "1") == "OK"
    assert c.cmd("GET", "qty:1").startswith("STOREDOWN ")
    mariadb.start()
    assert recovers(c, "GET", "qty:1") == b"7"


def test_a_transaction_whose_row_cannot_be_read(fragile, mariadb, forebay):
    server, c, _ = start(forebay, fragile)
    mariadb.kill()
    replies = c.pipeline([["MULTI"], ["INCR", "n"], ["GET", "qty:2"], ["GET", "qty:1"], ["EXEC"]])
    result = replies[-1]
    if isinstance(result, Error):  # not run at all, or
        assert result.startswith("STOREDOWN ") and c.cmd("GET", "n") is Nil
    else:  # an error in its place
        assert result[0] == 1 and result[1].startswith("STOREDOWN ") and result[2] == b"7"
    assert c.cmd("PING") == "PONG"


def test_stop_while_the_database_hangs(fragile, mariadb, forebay):
    server, c, _ = start(forebay, fragile)
    mariadb.signal(signal.SIGSTOP)
    c.send("GET", "qty:2")
    until(lambda: server.count("blocked_clients") == 1, "it waits")
    assert server.stop() == 0
