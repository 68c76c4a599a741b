"""Sessions that wait, and what they leave behind: rows, limits, counters."""
import time

from resp import Nil, encode
from server import until
from test_robustness import closed, raw

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


def test_output_is_counted(plain):
    c = plain.client()
    before = plain.count("total_net_output_bytes")
    for _ in range(1000):
        assert c.cmd("PING") == "PONG"
    assert plain.count("total_net_output_bytes") - before >= 7000


def test_what_was_sent_is_not_shown_as_waiting(plain):
    c = plain.client()
    c.cmd("SET", "value", "x" * 1000)
    c.cmd("GET", "value")
    mine = str(c.cmd("CLIENT", "ID"))

    def is_empty():
        with_id = [line for line in plain.client().cmd("CLIENT", "LIST").decode().split("\n")
                   if line.startswith("id=%s " % mine)]
        return " omem=0 " in with_id[0]
    until(is_empty, "its output is gone")


def test_auth_in_the_middle_of_a_pipeline(forebay):
    """What follows in the same packet is under the limits of those who are known."""
    server = forebay(requirepass="secret")
    many = ["MSET"] + [word for i in range(20) for word in ("k%d" % i, "v")]
    c = server.client()
    assert c.pipeline([["AUTH", "secret"], many, ["SET", "big", "x" * 20000], ["GET", "k7"]]) == [
        "OK", "OK", "OK", b"v"]
    c = server.client()
    assert c.pipeline([["PING"], ["AUTH", "secret"]])[1] == "OK"
    # Still not for strangers, and what came before is answered first.
    s = raw(server)
    s.sendall(encode(["AUTH", "wrong"]) + encode(many) + encode(["PING"]))
    answer = closed(s)
    assert answer.startswith(b"-WRONGPASS ") and answer.count(b"\r\n") == 2
    assert answer.endswith(b"-ERR Protocol error: unauthenticated multibulk length\r\n")


def test_a_killed_client_is_gone_though_it_does_not_read(plain):
    c = plain.client()
    c.cmd("SET", "big", "x" * 1000000)
    lazy = plain.client()
    lazy_id = lazy.cmd("CLIENT", "ID")
    lazy.sock.sendall(encode(["GET", "big"]) * 100)
    until(lambda: plain.count("blocked_clients") == 1, "its output is stuck")
    assert c.cmd("CLIENT", "KILL", "ID", str(lazy_id)) == 1
    until(lambda: b"id=%d " % lazy_id not in c.cmd("CLIENT", "LIST"), "it is gone", 5)
    lazy.close()
