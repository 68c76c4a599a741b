"""The hash commands, on packed and on large hashes."""
import random

import pytest

from cases import cases, run
from resp import Error, Map, Nil

NOT_INT = "-ERR value is not an integer or out of range"
NOT_FLOAT = "-ERR value is not a valid float"
SYNTAX = "-ERR syntax error"

CASES = {
    "hset hget hdel hlen": r"""
        HGET h f             -> nil
        HLEN h               -> :0
        HSET h f v           -> :1
        HSET h f w           -> :0
        HGET h f             -> "w"
        HSET h a 1 b 2 f x   -> :2
        HLEN h               -> :3
        HSET h c 1 c 2       -> :1
        HGET h c             -> "2"
        HGET h none          -> nil
        HSET h '' ''         -> :1
        HGET h ''            -> ""
        HSET h "\x00\r\n" "\xff\x00" -> :1
        HGET h "\x00\r\n"    -> "\xff\x00"
        HDEL h none          -> :0
        HDEL h a b none a    -> :2
        HDEL h c '' "\x00\r\n" -> :3
        HLEN h               -> :1
        HDEL h f             -> :1
        EXISTS h             -> :0
        TYPE h               -> +none
        HDEL h f             -> :0
        HSET h a 1 b 2       -> :2
        HDEL h a b c         -> :2
        DBSIZE               -> :0
    """,
    "wrong type": """
        SET s v              -> +OK
        HSET s f v           -> -WRONGTYPE
        HMSET s f v          -> -WRONGTYPE
        HGET s f             -> -WRONGTYPE
        HMGET s f            -> -WRONGTYPE
        HGETALL s            -> -WRONGTYPE
        HDEL s f             -> -WRONGTYPE
        HLEN s               -> -WRONGTYPE
        HEXISTS s f          -> -WRONGTYPE
        HKEYS s              -> -WRONGTYPE
        HVALS s              -> -WRONGTYPE
        HINCRBY s f 1        -> -WRONGTYPE
        HINCRBYFLOAT s f 1   -> -WRONGTYPE
        HSETNX s f v         -> -WRONGTYPE
        HSTRLEN s f          -> -WRONGTYPE
        HRANDFIELD s         -> -WRONGTYPE
        HRANDFIELD s 1       -> -WRONGTYPE
        HRANDFIELD s 0       -> -WRONGTYPE
        HSCAN s 0            -> -WRONGTYPE
        GET s                -> "v"
    """,
    "arity": """
        HSET h               -> -ERR wrong number of arguments for 'hset' command
        HSET h f             -> -ERR wrong number of arguments for 'hset' command
        HSET h f v g         -> -ERR wrong number of arguments for 'hset' command
        HMSET h f            -> -ERR wrong number of arguments for 'hmset' command
        HMSET h f v g        -> -ERR wrong number of arguments for 'hmset' command
        HGET h               -> -ERR wrong number of arguments for 'hget' command
        HGET h f g           -> -ERR wrong number of arguments for 'hget' command
        HMGET h              -> -ERR wrong number of arguments for 'hmget' command
        HGETALL              -> -ERR wrong number of arguments for 'hgetall' command
        HDEL h               -> -ERR wrong number of arguments for 'hdel' command
        HLEN                 -> -ERR wrong number of arguments for 'hlen' command
        HEXISTS h            -> -ERR wrong number of arguments for 'hexists' command
        HKEYS                -> -ERR wrong number of arguments for 'hkeys' command
        HVALS                -> -ERR wrong number of arguments for 'hvals' command
        HINCRBY h f          -> -ERR wrong number of arguments for 'hincrby' command
        HINCRBYFLOAT h f     -> -ERR wrong number of arguments for 'hincrbyfloat' command
        HSETNX h f           -> -ERR wrong number of arguments for 'hsetnx' command
        HSTRLEN h            -> -ERR wrong number of arguments for 'hstrlen' command
        HRANDFIELD           -> -ERR wrong number of arguments for 'hrandfield' command
        HSCAN h              -> -ERR wrong number of arguments for 'hscan' command
        EXISTS h             -> :0
    """,
    "hmset hmget": """
        HMSET h a 1 b 2      -> +OK
        HMSET h a 3          -> +OK
        HMGET h a none b a   -> ["3" nil "2" "3"]
        HMGET none a b       -> [nil nil]
    """,
    "hgetall hkeys hvals": """
        HGETALL h            -> {}
        HKEYS h              -> []
        HVALS h              -> []
        HSET h a 1 b 2 c 3   -> :3
        HGETALL h            -> {"a" "1" "b" "2" "c" "3"}
        HKEYS h              -> ["a" "b" "c"]
        HVALS h              -> ["1" "2" "3"]
        HSET h b changed     -> :0
        HGETALL h            -> {"a" "1" "b" "changed" "c" "3"}
    """,
    "hexists hstrlen hsetnx": """
        HEXISTS h f          -> :0
        HSTRLEN h f          -> :0
        HSETNX h f value     -> :1
        HSETNX h f other     -> :0
        HSETNX h g other     -> :1
        HGET h f             -> "value"
        HEXISTS h f          -> :1
        HEXISTS h none       -> :0
        HSTRLEN h f          -> :5
        HSTRLEN h none       -> :0
        HSET h n -12345      -> :1
        HSTRLEN h n          -> :6
        HSET h e ''          -> :1
        HSTRLEN h e          -> :0
    """,
    "hincrby": """
        HINCRBY h n 5        -> :5
        HINCRBY h n -7       -> :-2
        HGET h n             -> "-2"
        HLEN h               -> :1
        HSET h max 9223372036854775806 -> :1
        HINCRBY h max 1      -> :9223372036854775807
        HINCRBY h max 1      -> -ERR increment or decrement would overflow
        HSET h min -9223372036854775808 -> :1
        HINCRBY h min -1     -> -ERR increment or decrement would overflow
        HSET h s abc         -> :1
        HINCRBY h s 1        -> -ERR hash value is not an integer
        HSET h s ' 1'        -> :0
        HINCRBY h s 1        -> -ERR hash value is not an integer
        HSET h s ''          -> :0
        HINCRBY h s 1        -> -ERR hash value is not an integer
        HSET h s 1.5         -> :0
        HINCRBY h s 1        -> -ERR hash value is not an integer
        HINCRBY h n abc      -> %(not_int)s
        HINCRBY new n 1.5    -> %(not_int)s
        EXISTS new           -> :0
        EXPIRE h 100         -> :1
        HINCRBY h n 2        -> :0
        TTL h                -> :99..100
    """ % {"not_int": NOT_INT},
    "hincrbyfloat": """
        HINCRBYFLOAT h n 0.1 -> "0.1"
        HINCRBYFLOAT h n 0.2 -> "0.3"
        HGET h n             -> "0.3"
        HINCRBYFLOAT h n -0.3 -> "0"
        HSET h n 5.0e3       -> :0
        HINCRBYFLOAT h n 2.0e2 -> "5200"
        HSET h i 10          -> :1
        HINCRBYFLOAT h i 1   -> "11"
        HINCRBY h i 1        -> :12
        HSET h s abc         -> :1
        HINCRBYFLOAT h s 1   -> -ERR hash value is not a float
        HSET h s ' 1'        -> :0
        HINCRBYFLOAT h s 1   -> -ERR hash value is not a float
        HINCRBYFLOAT h n abc -> %(not_float)s
        HINCRBYFLOAT h n nan -> %(not_float)s
        HINCRBYFLOAT h n inf -> -ERR value is NaN or Infinity
        HINCRBYFLOAT h n -inf -> -ERR value is NaN or Infinity
        HINCRBYFLOAT new n inf -> -ERR value is NaN or Infinity
        HINCRBYFLOAT new n abc -> %(not_float)s
        EXISTS new           -> :0
        HSET h big inf       -> :1
        HINCRBYFLOAT h big 1 -> -ERR increment would produce NaN or Infinity
        HGET h big           -> "inf"
    """ % {"not_float": NOT_FLOAT},
    "hrandfield": """
        HRANDFIELD h         -> nil
        HRANDFIELD h 5       -> []
        HRANDFIELD h -5      -> []
        HRANDFIELD h 5 WITHVALUES -> []
        HSET h a 1           -> :1
        HRANDFIELD h         -> "a"
        HRANDFIELD h 1       -> ["a"]
        HRANDFIELD h 5       -> ["a"]
        HRANDFIELD h 0       -> []
        HRANDFIELD h -3      -> ["a" "a" "a"]
        HRANDFIELD h 1 withvalues -> ["a" "1"] | [["a" "1"]]
        HRANDFIELD h -2 WITHVALUES -> ["a" "1" "a" "1"] | [["a" "1"] ["a" "1"]]
        HSET h b 2           -> :1
        HRANDFIELD h 2       -> <"a" "b">
        HRANDFIELD h 100     -> <"a" "b">
        HRANDFIELD h 100 WITHVALUES -> <"a" "1" "b" "2"> | <["a" "1"] ["b" "2"]>
        HRANDFIELD h abc     -> %(not_int)s
        HRANDFIELD h 1.5     -> %(not_int)s
        HRANDFIELD h 1 junk  -> %(syntax)s
        HRANDFIELD h 1 WITHVALUES x -> %(syntax)s
        HRANDFIELD h abc junk -> %(not_int)s
        HRANDFIELD h -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        HRANDFIELD h -9223372036854770000 WITHVALUES -> -ERR value is out of range
        HRANDFIELD h 9223372036854770000 WITHVALUES -> -ERR value is out of range
        HRANDFIELD h 9223372036854775807 -> <"a" "b">
        HRANDFIELD none -9223372036854770000 WITHVALUES -> -ERR value is out of range
    """ % {"not_int": NOT_INT, "syntax": SYNTAX},
    "hscan": """
        HSCAN h 0            -> ["0" []]
        HSCAN h 0 junk       -> ["0" []]
        HSCAN h 0 COUNT 0    -> ["0" []]
        HSCAN h abc          -> -ERR invalid cursor
        HSCAN h 17           -> ["0" []]
        HSET h a 1 b 2 ab 3  -> :3
        HSCAN h 0            -> ["0" ["a" "1" "b" "2" "ab" "3"]]
        HSCAN h 0 COUNT 1    -> ["0" ["a" "1" "b" "2" "ab" "3"]]
        HSCAN h 0 MATCH a*   -> ["0" ["a" "1" "ab" "3"]]
        HSCAN h 0 MATCH a* COUNT 100 -> ["0" ["a" "1" "ab" "3"]]
        HSCAN h 0 MATCH none -> ["0" []]
        HSCAN h abc junk     -> -ERR invalid cursor
        HSCAN h 0 junk       -> %(syntax)s
        HSCAN h 0 COUNT      -> %(syntax)s
        HSCAN h 0 COUNT 0    -> %(syntax)s
        HSCAN h 0 COUNT abc  -> %(not_int)s
        HSCAN h 0 TYPE hash  -> %(syntax)s
        HSCAN h 0 NOVALUES   -> %(syntax)s
    """ % {"not_int": NOT_INT, "syntax": SYNTAX},
}


@cases(CASES)
def test_hash(client, lines):
    run(client, lines)


COUNT = 3000


def make_large(client, key="h", count=COUNT):
    model = {b"field:%d" % i: b"value:%d" % i for i in range(count)}
    flat = [x for pair in model.items() for x in pair]
    for start in range(0, len(flat), 1000):
        client.cmd("HSET", key, *flat[start:start + 1000])
    return model


def pairs_of(client, reply):
    if client.proto == 3:
        assert type(reply) is Map
        return list(reply)
    return list(zip(reply[::2], reply[1::2]))


def test_a_large_hash(client):
    model = make_large(client)
    assert client.cmd("HLEN", "h") == COUNT
    assert dict(pairs_of(client, client.cmd("HGETALL", "h"))) == model
    assert set(client.cmd("HKEYS", "h")) == set(model)
    assert sorted(client.cmd("HVALS", "h")) == sorted(model.values())
    names = list(model)
    assert client.cmd("HMGET", "h", *names, "none") == [model[n] for n in names] + [Nil]
    assert client.cmd("HSET", "h", "field:7", "changed", "new", "v") == 1
    assert client.cmd("HINCRBY", "h", "n", 5) == 5
    assert client.cmd("HINCRBYFLOAT", "h", "n", "0.5") == b"5.5"
    assert client.cmd("HSETNX", "h", "field:7", "x") == 0
    assert client.cmd("HSTRLEN", "h", "field:7") == 7
    assert client.cmd("HEXISTS", "h", "field:2999") == 1
    assert client.cmd("HDEL", "h", *names[:COUNT // 2]) == COUNT // 2
    assert client.cmd("HLEN", "h") == COUNT - COUNT // 2 + 2
    assert client.cmd("HDEL", "h", *names, "n", "new") == COUNT - COUNT // 2 + 2
    assert client.cmd("EXISTS", "h") == 0


def test_large_fields_and_values(client):
    for size in (64, 65, 255, 256, 8191, 8192, 100000):
        value = b"v" * size
        assert client.cmd("HSET", "h", "f", value, b"f" * size, "w") == (2 if size == 64 else 1)
        assert client.cmd("HGET", "h", "f") == value
        assert client.cmd("HSTRLEN", "h", "f") == size
        assert client.cmd("HGET", "h", b"f" * size) == b"w"


def check_model(client, key, model, expires):
    assert dict(pairs_of(client, client.cmd("HGETALL", key))) == model
    assert client.cmd("HLEN", key) == len(model)
    names = list(model) + [b"none"]
    assert client.cmd("HMGET", key, *names) == list(model.values()) + [Nil]
    assert (client.cmd("PTTL", key) > 0) == expires


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_changes_against_a_model(client, seed):
    """Hashes that grow and shrink across every way of keeping them, with and without a TTL."""
    rng = random.Random(seed)
    models, expiring = {}, set()
    longest = {"h0": 5, "h1": 64, "h2": 64, "h3": 66}
    for _ in range(1500):
        key = rng.choice(list(longest))
        model = models.setdefault(key, {})
        field = b"f%d" % rng.randrange(4 if key == "h0" else 250)
        step = rng.randrange(20)
        if step < 9:
            value = b"v" * rng.randrange(longest[key])
            assert client.cmd("HSET", key, field, value) == (field not in model)
            model[field] = value
        elif step < 11:
            some = {b"f%d" % rng.randrange(250): b"w" * rng.randrange(longest[key])
                    for _ in range(rng.randrange(1, 60))}
            client.cmd("HSET", key, *[x for pair in some.items() for x in pair])
            model.update(some)
        elif step < 15:
            some = rng.sample(list(model), min(len(model), rng.randrange(1, 40))) + [b"none"]
            assert client.cmd("HDEL", key, *some) == len(some) - 1
            for name in some[:-1]:
                del model[name]
        elif step == 15:
            by = rng.randrange(-10 ** rng.randrange(1, 19), 10 ** rng.randrange(1, 19))
            if not model.get(b"n"):
                model[b"n"] = b"0"
                client.cmd("HSET", key, "n", "0")
            if abs(int(model[b"n"]) + by) < 2 ** 63 - 1:
                model[b"n"] = b"%d" % (int(model[b"n"]) + by)
                assert client.cmd("HINCRBY", key, "n", by) == int(model[b"n"])
        elif step == 16 and model:
            assert client.cmd("PERSIST", key) == (key in expiring)
            expiring.discard(key)
        elif step == 17 and model:
            assert client.cmd("PEXPIRE", key, 10 ** 7) == 1
            expiring.add(key)
        elif step == 18 and model:
            other = rng.choice([k for k in longest if k != key])
            assert client.cmd("COPY", key, other, "REPLACE") == 1
            models[other] = dict(model)
            (expiring.add if key in expiring else expiring.discard)(other)
            check_model(client, other, model, key in expiring)
        if not model:
            assert client.cmd("EXISTS", key) == 0
            expiring.discard(key)
        check_model(client, key, model, key in expiring)


def test_a_change_of_any_kind_is_seen_by_watch(client, other):
    client.cmd("HSET", "h", "f", "12345", "g", "v")
    for change in (["HSET", "h", "f", "54321"], ["HSET", "h", "f", "7"], ["HSET", "h", "n", "x"],
                   ["HINCRBY", "h", "f", "1"], ["HDEL", "h", "g"], ["HSET", "h", "l", "x" * 9000],
                   ["HDEL", "h", "l"], ["HDEL", "h", "f", "n"]):
        client.cmd("WATCH", "h")
        other.cmd(*change)
        client.cmd("MULTI")
        client.cmd("PING")
        assert not isinstance(client.cmd("EXEC"), list), change


def test_growing_out_of_packed_keeps_everything(client):
    model = {}
    for i in range(1500):
        field, value = b"f%d" % i, b"%d" % (i * 7)
        model[field] = value
        assert client.cmd("HSET", "h", field, value) == 1
        if i % 100 == 0:
            assert dict(pairs_of(client, client.cmd("HGETALL", "h"))) == model
    client.cmd("HSET", "p", "short", "1")
    client.cmd("HSET", "p", "long", "x" * 1000)
    assert client.cmd("HMGET", "p", "short", "long") == [b"1", b"x" * 1000]


def hscan(client, *options, between=None):
    cursor, found, calls = b"0", [], 0
    while True:
        cursor, members = client.cmd("HSCAN", "h", cursor, *options)
        found += zip(members[::2], members[1::2])
        calls += 1
        assert calls < 100000
        if cursor == b"0":
            return found, calls
        if between:
            between()


def test_hscan_of_a_large_hash(client):
    model = make_large(client)
    for count in (1, 10, 1000, 1000000):
        found, _ = hscan(client, "COUNT", count)
        assert dict(found) == model
        assert len(found) <= COUNT * 1.1
    found, calls = hscan(client, "MATCH", "field:1?", "COUNT", 100)
    assert dict(found) == {b"field:1%d" % i: b"value:1%d" % i for i in range(10)}
    assert calls > 3
    for cursor in ("1", "12345", "18446744073709551615"):
        reply = client.cmd("HSCAN", "h", cursor)
        assert reply[0].isdigit() and type(reply[1]) is list


def test_fields_there_throughout_are_found_while_others_come_and_go(client, other):
    model = make_large(client, count=1000)
    state = {"n": 0}

    def between():
        start = state["n"]
        other.cmd("HSET", "h", *[x for i in range(start, start + 100) for x in ("new:%d" % i, "v")])
        other.cmd("HDEL", "h", *["new:%d" % i for i in range(start - 500, start - 400)])
        state["n"] += 100

    found, _ = hscan(client, "COUNT", 20, between=between)
    assert model.items() <= dict(found).items()


def check_random(client, model):
    for count in (1, 2, 5, 50, len(model) // 4, len(model) // 2, len(model) - 1, len(model),
                  len(model) + 5):
        fields = client.cmd("HRANDFIELD", "h", count)
        assert len(fields) == len(set(fields)) == min(count, len(model))
        assert set(fields) <= set(model)
        pairs = client.cmd("HRANDFIELD", "h", count, "WITHVALUES")
        pairs = pairs if client.proto == 3 else list(zip(pairs[::2], pairs[1::2]))
        assert len(pairs) == min(count, len(model))
        assert all(model[f] == v for f, v in pairs)
    fields = client.cmd("HRANDFIELD", "h", -len(model) * 2)
    assert len(fields) == len(model) * 2 and set(fields) <= set(model)
    assert len(set(fields)) < len(fields)


def test_hrandfield_of_a_large_hash(client):
    check_random(client, make_large(client))


def test_hrandfield_of_a_packed_hash(client):
    check_random(client, make_large(client, count=100))


def test_hrandfield_reaches_every_field(client):
    for count in (20, 1000):
        client.cmd("DEL", "h")
        model = make_large(client, count=count)
        seen = set()
        for _ in range(200):
            seen.update(client.cmd("HRANDFIELD", "h", 5))
            seen.update(client.cmd("HRANDFIELD", "h", -100))
            seen.add(client.cmd("HRANDFIELD", "h"))
        assert seen == set(model)


def test_hashes_inside_a_transaction(client):
    client.cmd("SET", "s", "v")
    client.cmd("MULTI")
    for command in (("HSET", "h", "f", "1"), ("HINCRBY", "h", "f", "2"), ("HGET", "h", "f"),
                    ("HSET", "s", "f", "1"), ("HDEL", "h", "f"), ("EXISTS", "h")):
        assert client.cmd(*command) == "QUEUED"
    replies = client.cmd("EXEC")
    assert replies[:3] == [1, 3, b"3"] and replies[4:] == [1, 0]
    assert isinstance(replies[3], Error) and replies[3].startswith("WRONGTYPE")
