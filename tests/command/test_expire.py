"""Expiry: setting, reading and taking away TTLs, and what happens when they end."""
import time

from cases import cases, run
from resp import Nil

NOT_INT = "-ERR value is not an integer or out of range"
NX_OTHERS = "-ERR NX and XX, GT or LT options at the same time are not compatible"
GT_LT = "-ERR GT and LT options at the same time are not compatible"
FUTURE = 33177117420  # the year 3021

CASES = {
    "expire ttl": """
        EXPIRE k 100         -> :0
        TTL k                -> :-2
        PTTL k               -> :-2
        EXPIRETIME k         -> :-2
        PEXPIRETIME k        -> :-2
        PERSIST k            -> :0
        SET k v              -> +OK
        TTL k                -> :-1
        PTTL k               -> :-1
        EXPIRETIME k         -> :-1
        PEXPIRETIME k        -> :-1
        PERSIST k            -> :0
        EXPIRE k 100         -> :1
        TTL k                -> :99..100
        PTTL k               -> :99000..100000
        EXPIRE k 200         -> :1
        TTL k                -> :199..200
        PEXPIRE k 300000     -> :1
        PTTL k               -> :299000..300000
        EXPIREAT k 33177117420 -> :1
        EXPIRETIME k         -> :33177117420
        PEXPIRETIME k        -> :33177117420000
        PEXPIREAT k 33177117420499 -> :1
        PEXPIRETIME k        -> :33177117420499
        EXPIRETIME k         -> :33177117420
        PEXPIREAT k 33177117420500 -> :1
        EXPIRETIME k         -> :33177117421
        PERSIST k            -> :1
        TTL k                -> :-1
        GET k                -> "v"
        HSET h f v           -> :1
        EXPIRE h 100         -> :1
        TTL h                -> :99..100
        HSET h g w           -> :1
        TTL h                -> :99..100
        PERSIST h            -> :1
        HGETALL h            -> {"f" "v" "g" "w"}
    """,
    "times that have passed delete": """
        SET k v              -> +OK
        EXPIRE k 0           -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        EXPIRE k -1          -> :1
        TTL k                -> :-2
        SET k v              -> +OK
        PEXPIRE k -1         -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        EXPIREAT k 1         -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        PEXPIREAT k 1        -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        EXPIREAT k 0         -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        EXPIRE k -9223372036854775 -> :1
        EXISTS k             -> :0
        HSET h f v           -> :1
        EXPIRE h -1          -> :1
        DBSIZE               -> :0
        EXPIRE k -1          -> :0
    """,
    "nx xx gt lt": """
        SET k v              -> +OK
        EXPIRE k 100 XX      -> :0
        EXPIRE k 100 GT      -> :0
        TTL k                -> :-1
        EXPIRE k 100 NX      -> :1
        EXPIRE k 200 NX      -> :0
        TTL k                -> :99..100
        EXPIRE k 200 XX      -> :1
        TTL k                -> :199..200
        EXPIRE k 100 GT      -> :0
        EXPIRE k 300 gt      -> :1
        TTL k                -> :299..300
        EXPIRE k 400 LT      -> :0
        EXPIRE k 200 lt      -> :1
        TTL k                -> :199..200
        EXPIRE k 300 XX GT   -> :1
        EXPIRE k 100 XX LT   -> :1
        EXPIRE k 100 XX XX   -> :1
        PERSIST k            -> :1
        EXPIRE k 100 LT      -> :1
        PERSIST k            -> :1
        EXPIRE k 100 XX LT   -> :0
        EXPIRE k 100 XX GT   -> :0
        EXPIRE k 100 NX      -> :1
        EXPIRE k -1 GT       -> :0
        EXPIRE k -1 NX       -> :0
        EXISTS k             -> :1
        EXPIRE k -1 LT       -> :1
        EXISTS k             -> :0
        SET k v              -> +OK
        EXPIRE k -1 XX       -> :0
        EXPIRE k -1 NX       -> :1
        EXISTS k             -> :0
        EXPIRE k 100 NX      -> :0
        SET k v              -> +OK
        EXPIREAT k 33177117420 GT -> :0
        EXPIREAT k 33177117420 LT -> :1
        EXPIREAT k 33177117420 LT -> :0
        EXPIREAT k 33177117420 GT -> :0
        EXPIREAT k 33177117421 GT -> :1
        PEXPIREAT k 33177117421001 GT -> :1
        PEXPIRE k 100000 LT  -> :1
        PTTL k               -> :99000..100000
    """,
    "errors": """
        SET k v              -> +OK
        EXPIRE k 100 NX XX   -> %(nx)s
        EXPIRE k 100 NX GT   -> %(nx)s
        EXPIRE k 100 LT NX   -> %(nx)s
        EXPIRE k 100 GT LT   -> %(gt)s
        EXPIRE k 100 XX GT LT -> %(gt)s
        EXPIRE k 100 NX GT LT -> %(nx)s
        EXPIRE k 100 AB      -> -ERR Unsupported option AB
        EXPIRE k 100 XX AB   -> -ERR Unsupported option AB
        EXPIRE k abc AB      -> -ERR Unsupported option AB
        EXPIRE k abc GT LT   -> %(gt)s
        PEXPIRE k 100 ''     -> -ERR Unsupported option _
        EXPIRE k abc         -> %(not_int)s
        EXPIRE k 1.5         -> %(not_int)s
        EXPIRE k ''          -> %(not_int)s
        EXPIRE none abc      -> %(not_int)s
        PEXPIRE k abc        -> %(not_int)s
        EXPIREAT k abc       -> %(not_int)s
        PEXPIREAT k 9223372036854775808 -> %(not_int)s
        EXPIRE k 9223372036854776 -> -ERR invalid expire time in 'expire' command
        EXPIRE k 9223372036854775 -> -ERR invalid expire time in 'expire' command
        EXPIRE k -9223372036854776 -> -ERR invalid expire time in 'expire' command
        EXPIRE none 9223372036854776 -> -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854770000 -> -ERR invalid expire time in 'pexpire' command
        EXPIREAT k 9223372036854776 -> -ERR invalid expire time in 'expireat' command
        EXPIREAT k -9223372036854776 -> -ERR invalid expire time in 'expireat' command
        TTL k                -> :-1
        PEXPIREAT k 9223372036854770000 -> :1
        TTL k                -> :1..9223372036854775807
        EXPIRE k             -> -ERR wrong number of arguments for 'expire' command
        PEXPIRE k            -> -ERR wrong number of arguments for 'pexpire' command
        EXPIREAT k           -> -ERR wrong number of arguments for 'expireat' command
        PEXPIREAT k          -> -ERR wrong number of arguments for 'pexpireat' command
        TTL                  -> -ERR wrong number of arguments for 'ttl' command
        PTTL                 -> -ERR wrong number of arguments for 'pttl' command
        EXPIRETIME           -> -ERR wrong number of arguments for 'expiretime' command
        PEXPIRETIME          -> -ERR wrong number of arguments for 'pexpiretime' command
        PERSIST              -> -ERR wrong number of arguments for 'persist' command
        TTL a b              -> -ERR wrong number of arguments for 'ttl' command
    """ % {"nx": NX_OTHERS, "gt": GT_LT, "not_int": NOT_INT},
}


@cases(CASES)
def test_expire(client, lines):
    run(client, lines)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in 10 s"


def test_keys_go_when_their_time_has_come(client):
    client.cmd("SET", "s", "v")
    client.cmd("HSET", "h", "f", "v")
    client.cmd("SET", "stays", "v")
    assert client.cmd("PEXPIRE", "s", 40) == 1
    assert client.cmd("PEXPIRE", "h", 40) == 1
    wait_for(lambda: client.cmd("EXISTS", "s", "h") == 0)
    assert client.cmd("GET", "s") is Nil
    assert client.cmd("HLEN", "h") == 0
    assert client.cmd("TTL", "s") == -2
    assert client.cmd("PERSIST", "s") == 0
    assert client.cmd("RENAME", "s", "t") == "ERR no such key"
    assert client.cmd("KEYS", "*") == [b"stays"]
    assert client.cmd("RANDOMKEY") == b"stays"
    assert client.cmd("SCAN", "0", "COUNT", "100") == [b"0", [b"stays"]]
    assert client.cmd("HSET", "h", "g", "w") == 1
    assert client.cmd("TTL", "h") == -1


def test_keys_nobody_asks_for_are_swept(client):
    for i in range(300):
        client.cmd("SET", "key:%d" % i, "v", "PX", 20)
    wait_for(lambda: client.cmd("DBSIZE") == 0)


def test_pttl_counts_down(client):
    client.cmd("SET", "k", "v", "PX", 100000)
    first = client.cmd("PTTL", "k")
    wait_for(lambda: client.cmd("PTTL", "k") < first)
    assert client.cmd("PTTL", "k") > 90000


def test_ttl_survives_changes_in_place(client):
    for change in (("APPEND", "k", "1"), ("INCR", "k"), ("SETRANGE", "k", "0", "1"),
                   ("INCRBYFLOAT", "k", "1"), ("SET", "k", "5", "KEEPTTL"), ("GETEX", "k")):
        client.cmd("SET", "k", "1", "EX", 100)
        client.cmd(*change)
        assert 99 <= client.cmd("TTL", "k") <= 100, change


def test_far_future(client):
    client.cmd("SET", "k", "v")
    assert client.cmd("EXPIREAT", "k", FUTURE) == 1
    assert client.cmd("PEXPIRETIME", "k") == FUTURE * 1000
    assert client.cmd("GET", "k") == b"v"
