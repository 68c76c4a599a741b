"""What the tests of memory share: keys that fill a server, its memory in numbers, a kept full server."""
import functools
import threading

from instance import Instance, info
from resp import encode

KEYS, VALUE = 20000, b"v" * 200
FULL_BYTES = 96 << 20


def used(client):
    return int(info(client, "memory")["used_memory"])


def held(client):
    return int(info(client, "memory")["mem_clients_normal"])


def fill(client):
    for first in range(0, KEYS, 1000):
        pairs = [x for n in range(first, first + 1000) for x in ("key:%d" % n, VALUE)]
        assert client.cmd("MSET", *pairs) == "OK"


def is_jemalloc(client):
    """Sanitizers keep what was freed: resident memory says nothing there."""
    return info(client, "memory")["mem_allocator"].startswith("jemalloc")


def peak_rss(instance):
    with open("/proc/%d/status" % instance.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def reset_peak(instance):
    """From here on the peak is anew, where the kernel lets one say so."""
    try:
        with open("/proc/%d/clear_refs" % instance.pid, "w", encoding="ascii") as f:
            f.write("5")
        return True
    except OSError:
        return False


@functools.cache
def small_keys(limit, size):
    """Requests that set more keys of so many bytes than there is room for."""
    return [encode(["MSET"] + [x for n in range(first, first + 1000)
                               for x in ("key:%d" % n, b"v" * size)])
            for first in range(0, limit // size, 1000)]


def requests_for(client, limit):
    """Under sanitizers, where resident memory says nothing and all takes ten times as long, of a tenth
    of the keys."""
    return small_keys(limit, 100 if is_jemalloc(client) else 1000)


def fill_small(client, limit):
    """More keys of 100 bytes than there is room for."""
    for request in requests_for(client, limit):
        client.sock.sendall(request)
        assert client.read() == "OK"


class Filled:
    """A server of 96 MB, full of small keys, kept from test to test: what they set is deleted, and small
    keys take its room. For that the names of all else do not begin with a "k"."""

    def __init__(self):
        self.instance, self.next = None, 0

    def again(self):
        """The server, full as it was at first, and a connection to it. No peak is left of before."""
        if self.instance is None or self.instance.process.poll() is not None or \
                not reset_peak(self.instance):
            self.close()
            self.instance = Instance(maxmemory=FULL_BYTES, maxmemory_policy="allkeys-lru")
            client = self.instance.client()
            assert client.cmd("CONFIG", "SET", "loglevel", "warning") == "OK"  # nobody reads the log
            fill_small(client, FULL_BYTES)
            return self.instance, client
        client = self.instance.client()
        client.cmd("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert client.cmd("CONFIG", "SET", "maxmemory-clients", "0") == "OK"
        others = client.cmd("KEYS", "[^k]*")
        if others:
            client.cmd("DEL", *others)
        self.refill(client)
        assert client.cmd("CONFIG", "RESETSTAT") == "OK"
        reset_peak(self.instance)
        return self.instance, client

    def refill(self, client):
        """Those that were set longest ago are set again, until others go for them for a while."""
        requests = requests_for(client, FULL_BYTES)
        before = evicted(client)
        while evicted(client) - before < len(requests) * 1000 // 50:
            for _ in range(len(requests) // 50):
                client.sock.sendall(requests[self.next % len(requests)])
                assert client.read() == "OK"
                self.next += 1

    def close(self):
        if self.instance:
            status, self.instance = self.instance.close(), None
            assert status == 0, "exit status %s" % status


def evicted(client):
    return int(info(client, "stats")["evicted_keys"])


def request_of(name, count, form):
    head = b"*%d\r\n$%d\r\n%s\r\n" % (1 + count * (form.count(b"$")), len(name), name.encode())
    return head + b"".join(form % n if b"%" in form else form for n in range(count))


def run_all(count, body):
    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
