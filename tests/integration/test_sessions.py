"""Sessions that wait, and what they leave behind: rows, limits, counters."""
import time

from resp import Nil, encode
from server import until

MAPS = ["qty qty:{id} table=items as=string:qty",
        "text text:{k} table=texts as=string:v",
        "email user:email:{email} table=users as=hash"]


def test_no_row_outlives_the_pipeline_that_asked_for_it(mysql, forebay):
    """The first command's row comes before the others', so the pipeline waits twice. What it was told
    of a row then must not answer a later command: not even one that follows without a pause."""
    server = forebay(mysql, MAPS)
    c, other = server.client(), server.client()
    with mysql.stalled("texts"):
        c.send("GET", "qty:1")
        c.sock.sendall(b"".join(encode(["GET", "text:%d" % i]) for i in range(20)))
        assert c.read() == b"7"
        until(lambda: server.count("blocked_clients") == 1, "it waits again")
    assert [c.read() for _ in range(20)] == [Nil] * 20
    mysql.sql("".join("INSERT INTO texts VALUES ('%d', 'x');" % i for i in range(20)))
    assert other.cmd("DEL", *["text:%d" % i for i in range(20)]) >= 0
    assert [c.cmd("GET", "text:%d" % i) for i in range(20)] == [b"x"] * 20


def test_a_timeout_answers_all_that_waited_as_long(mysql, forebay):
    """A pipeline behind a hanging table waits for the timeout once, not once a command."""
    server = forebay(mysql, MAPS, store_timeout="400ms", store_breaker="off")
    c = server.client()
    assert c.cmd("GET", "qty:1") == b"7"
    with mysql.stalled("texts"):
        began = time.monotonic()
        replies = c.pipeline([["GET", "text:%d" % i] for i in range(20)])
        assert time.monotonic() - began < 4
        assert all(r.startswith("STORETIMEOUT ") for r in replies), replies


def test_many_absent_rows_of_one_command(forebay, db):
    """They cost their number, not its square; and a pipeline of such commands asks ahead for a bounded
    number of rows."""
    server = forebay(db, MAPS, store_timeout="30s")
    c, other = server.client(60), server.client()
    c.sock.sendall(b"".join(encode(["MGET"] + ["qty:%d" % (1000 + 4000 * j + i) for i in range(4000)])
                            for j in range(10)))
    slowest = 0
    until(lambda: server.count("blocked_clients") == 1, "it waits")
    while server.count("blocked_clients"):
        began = time.monotonic()
        assert other.cmd("PING") == "PONG"
        slowest = max(slowest, time.monotonic() - began)
    for _ in range(10):
        assert c.read() == [Nil] * 4000
    assert slowest < 0.3
