"""INFO missratio: the estimate of the hit ratio with other amounts of memory."""
import random

import pytest

from server import AGAINST
from instance import Instance, info, until
from resp import Nil

pytestmark = pytest.mark.skipif(bool(AGAINST), reason="Forebay's own section")
# A sample of 250 keys, other ones each time: estimates are off by 0.07 (standard deviation). How good
# they are with more of them is the unit test's, whose keys are the same each time.
TOLERANCE = 0.3
SIZES = ("0.25x", "0.5x", "1x", "1.5x", "2x", "4x", "unlimited")
KEYS, READS = 8000, 40000


def curve(client):
    got = info(client, "missratio")
    return [float(got["hit_ratio_" + size]) for size in SIZES], got


def read_through(client, keys, reads, value=b"v" * 200):
    """GET, and SET what was missed, in bunches."""
    draw = random.Random(5)
    for _ in range(0, reads, 500):
        names = ["key:%d" % draw.randrange(keys) for _ in range(500)]
        found = client.pipeline([["GET", name] for name in names])
        sets = [["SET", name, value] for name, was in zip(names, found) if was is Nil]
        if sets:
            client.pipeline(sets)


def test_empty():
    with Instance() as instance:
        ratios, got = curve(instance.client())
        assert ratios == [0] * len(SIZES)
        assert got["sampled_keys"] == "0" and got["hit_ratio_estimate"] == "on"
        assert "hit_ratio_1x" not in info(instance.client())
        assert "hit_ratio_1x" in info(instance.client(), "everything")
        assert "hit_ratio_1x" in info(instance.client(), "all")


def test_not_full():
    """All fits: what is measured is what one gets, and more memory does not help."""
    with Instance() as instance:
        client = instance.client()
        read_through(client, KEYS, READS)
        ratios, got = curve(client)
        assert int(got["sampled_keys"]) in range(KEYS // 64, KEYS // 20)
        assert 0.01 < float(got["sampling_rate"]) < 0.05
        measured = float(got["hit_ratio_measured"])
        assert abs(measured - (1 - KEYS / READS)) < 0.05
        assert ratios == sorted(ratios)
        assert abs(ratios[2] - measured) < TOLERANCE and abs(ratios[5] - measured) < 0.1
        assert ratios[0] < 0.6 * ratios[5]


def test_full():
    """Half fits, uniformly read: twice the memory would nearly always hit."""
    with Instance() as instance:
        client = instance.client()
        read_through(client, KEYS, KEYS)
        used = int(info(client, "memory")["used_memory"])
        half = used - int(curve(client)[1]["keys_memory"]) // 2
        client.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(half))
        read_through(client, KEYS, 4 * READS)
        ratios, got = curve(client)
        measured = float(got["hit_ratio_measured"])
        assert 0.05 < measured < 0.8 and abs(ratios[2] - measured) < TOLERANCE
        assert ratios[0] < ratios[2] < ratios[4] and ratios[6] > 0.7


def test_filled_before_it_is_read():
    """What was written before the first read came is known as well."""
    with Instance() as instance:
        client = instance.client()
        for first in range(0, KEYS, 500):
            client.cmd("MSET", *[x for n in range(first, first + 500) for x in ("key:%d" % n, "v")])
        for n in range(KEYS):
            client.cmd("GET", "key:%d" % n)
        ratios, got = curve(client)
        assert float(got["hit_ratio_measured"]) > 0.99 and ratios[4] > 0.7 and ratios[6] > 0.95


def test_off_and_on():
    with Instance() as instance:
        client = instance.client()
        read_through(client, KEYS, 8000)
        assert client.cmd("CONFIG", "SET", "hit-ratio-estimate", "no") == "OK"
        until(lambda: curve(client)[1]["sampled_keys"] == "0", "forgotten")
        ratios, got = curve(client)
        assert got["hit_ratio_estimate"] == "off" and ratios == [0] * len(SIZES)
        assert client.cmd("CONFIG", "SET", "hit-ratio-estimate", "yes") == "OK"
        until(lambda: float(curve(client)[1]["sampling_rate"]) > 0.03, "begins anew")
        read_through(client, KEYS, 8000)
        assert int(curve(client)[1]["sampled_keys"]) > 0


def test_flush_forgets():
    with Instance() as instance:
        client = instance.client()
        read_through(client, KEYS, 8000)
        assert int(curve(client)[1]["sampled_keys"]) > 0
        assert client.cmd("FLUSHALL") == "OK"
        assert curve(client)[1]["sampled_keys"] == "0"
