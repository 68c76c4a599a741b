"""tools/replay: a trace over the wire against our server, beside what it must come to."""
import os
import random
import re
import subprocess
from collections import OrderedDict

import pytest

from server import binary, until

REPLAY = os.path.join(os.path.dirname(binary()), "..", "tools", "trace", "replay")
KEYS, REQUESTS = 400, 6000

pytestmark = pytest.mark.skipif(not os.access(REPLAY, os.X_OK), reason="replay is not built")


def replay(*words, status=0, text=None):
    result = subprocess.run([REPLAY, *map(str, words)], capture_output=True, check=False,
                            timeout=120, input=text, text=True)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout if status == 0 else result.stdout + result.stderr


def requests():
    draw = random.Random(4)
    return [min(draw.randrange(KEYS), draw.randrange(KEYS)) for _ in range(REQUESTS)]


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "small.txt"
    path.write_text("".join("key:%d %d\n" % (k, 20 + k * 37 % 9000) for k in requests()))
    return path


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "objects.txt"
    path.write_text("".join("key:%d\n" % k for k in requests()))
    return path


def row(out, name):
    """The cells of a table's row."""
    for line in out.splitlines():
        cells = re.split(r" {2,}", line.strip())
        if cells[0] == name:
            return cells[1:]
    raise AssertionError("no row %s in:\n%s" % (name, out))


@pytest.mark.parametrize("pipeline", [1, 100])
def test_server_without_limit(plain, trace, pipeline):
    c = plain.client()
    out = replay("--server", "ours=127.0.0.1:%d" % plain.port, "--flush", "--pipeline", pipeline,
                 trace)
    keys = len(set(requests()))
    hits, misses, ratio = row(out, "ours")[:3]
    assert (int(hits), int(misses)) == (REQUESTS - keys, keys)
    assert ratio == "%.4f" % (keys / REQUESTS)
    assert c.cmd("DBSIZE") == keys
    assert len(c.cmd("GET", "key:7")) + len("key:7") == 20 + 7 * 37 % 9000
    assert c.cmd("PTTL", "key:7") == -1
    again = replay("--server", "127.0.0.1:%d" % plain.port, trace)
    assert row(again, "127.0.0.1:%d" % plain.port)[1] == "0"
    c.close()


def test_share_of_objects_is_memory(plain, objects):
    """Objects without a size take --unit-bytes: a share of the footprint is one of those bytes."""
    c = plain.client()
    replay("--server", "127.0.0.1:%d" % plain.port, "--flush", "--maxmemory", "50000%",
           "--unit-bytes", "1000", objects)
    assert int(c.cmd("CONFIG", "GET", "maxmemory")[1]) == len(set(requests())) * 1000 * 500
    c.cmd("CONFIG", "SET", "maxmemory", "0")
    c.close()


def test_server_with_limit(forebay, trace):
    server = forebay(port=True, shards=1)  # three take more than the limit while they are empty
    c = server.client()
    out = replay("--server", "a=127.0.0.1:%d" % server.port, "--server",
                 "b=127.0.0.1:%d" % server.port, "--flush", "--maxmemory", "8mb", "--policy",
                 "allkeys-lru", "--ttl", "1h", trace)
    assert int(row(out, "a")[1]) >= len(set(requests())) and int(row(out, "b")[1]) > 0
    assert c.cmd("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"8388608"]
    assert c.cmd("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"allkeys-lru"]
    assert 3500000 < c.cmd("PTTL", c.cmd("RANDOMKEY")) <= 3600000
    c.close()


def test_server_says_no(forebay, trace):
    server = forebay(port=True, maxmemory="1mb")
    out = replay("--server", "127.0.0.1:%d" % server.port, trace, status=2)
    assert "OOM command not allowed" in out
    out = replay("--server", "127.0.0.1:%d" % server.port, "--policy", "nosuch", trace, status=2)
    assert "maxmemory-policy" in out


def lru_misses(capacity):
    held, misses = OrderedDict(), 0
    for key in requests():
        if key in held:
            held.move_to_end(key)
            continue
        misses += 1
        if len(held) == capacity:
            held.popitem(last=False)
        held[key] = True
    return misses


def test_in_process(objects):
    out = replay("--sizes", "40,100%", "--policies", "lru,belady,allkeys-lru", objects)
    lru, belady, ours = map(float, row(out, "40")[1:])
    assert "%.4f" % (lru_misses(40) / REQUESTS) == "%.4f" % lru
    assert belady < lru and abs(ours - lru) < 0.2
    cold = "%.4f" % (len(set(requests())) / REQUESTS)
    assert row(out, "100%")[1:] == [cold] * 3


def test_curve_is_the_simulation(objects, tmp_path):
    svg = tmp_path / "curve.svg"
    out = replay("--mrc", "--points", "8", "--policies", "lru", "--svg", svg, objects)
    found = re.findall(r"^(\d+) +[\d.]+% +([\d.]+)$", out, re.M)
    assert len(found) >= 6
    for capacity, ratio in found:
        assert ratio == "%.4f" % (lru_misses(int(capacity)) / REQUESTS)
    assert svg.read_text().startswith("<svg ")


def test_table(objects, trace):
    """Its exit status is what its bars say."""
    result = subprocess.run([REPLAY, "--table", objects, trace], capture_output=True, text=True,
                            check=False, timeout=120)
    decisive = result.stdout.split("byte miss ratio")[0]
    assert len(re.findall(r"^(?:pass|FAIL)  ", decisive, re.M)) == 3, result.stdout
    assert result.returncode == (1 if "\nFAIL" in decisive else 0)
    assert len(re.findall(r"^small\.txt  ", decisive, re.M)) == 4


def test_standard_input_and_bad_lines():
    out = replay("--sizes", "2", "--policies", "lru", "-", text="a\nb\na\nc\nb\n")
    assert row(out, "2")[1] == "0.8000"
    out = replay("-", text="a 1\nb one\n", status=2)
    assert "-:2: the size is not a decimal number" in out


def test_peers(objects):
    out = replay("--peers", "--forebay", binary(), "--policy", "allkeys-lfu", "--maxmemory",
                 "16mb", objects)
    assert int(row(out, "forebay")[2]) == len(set(requests()))


def test_ended_peers(objects):
    """What --peers started is gone with it, also when it fails."""
    out = replay("--peers", "--forebay", binary(), "--policy", "nosuch", "--maxmemory", "16mb",
                 objects, status=2)
    assert "forebay with maxmemory 16777216: it ended" in out
    until(lambda: not left_over(), "no server is left")


def left_over():
    """Processes with this test's policy, which nobody else asks for."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if b"--maxmemory-policy" in words and b"nosuch" in words:
            found.append(pid)
    return found
