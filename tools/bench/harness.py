"""What the parts of tools/bench/engine share: the report, a server's load, its resident memory.

A part is a function of a Bench. What fails for one server is said where it happens, and the part
goes on with the others: Bench.attempt.
"""
import sys
import threading

import servers as fleet

SAMPLE_S = 0.05
SERVER_OVERHEAD = 200  # bytes a key at most, to size memcached and pogocache with
FAILED = "failed"      # a cell of a table


class Report:
    """What is printed, kept for --markdown and --json."""

    def __init__(self):
        self.lines, self.results, self.failures = [], [], []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, head, rows):
        self.say("| " + " | ".join(head) + " |")
        self.say("|---" + "|--:" * (len(head) - 1) + "|")
        for row in rows:
            self.say("| " + " | ".join(str(cell) for cell in row) + " |")
        self.say()

    def add(self, part, **result):
        self.results.append(dict(result, part=part))

    def row(self, rows, row):
        """Adds to what becomes a table when all its rows are there; stderr has them at once."""
        rows.append(row)
        print("  " + " | ".join(str(cell) for cell in row), file=sys.stderr, flush=True)

    def fail(self, text):
        text = " ".join(text.split())
        self.failures.append(text)
        self.say(f"FAILED: {text}\n")


class Bench:
    def __init__(self, args, report, folder):
        self.args, self.report, self.folder = args, report, folder

    def start(self, name, memory_mb=0, **more):
        return fleet.start(self.args, name, self.folder, memory_mb=memory_mb, **more)

    def attempt(self, what, call, *words):
        """What call(*words) returns; None when it failed, which is reported as a failure of `what`.
        Any exception: a server that ends or answers nonsense must not cost the others' figures."""
        try:
            return call(*words)
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.report.fail(f"{what}: {type(e).__name__}: {e}")
            return None

    def fill(self, server, keys, value, op="set", order="sequential", connections=50, pipeline=64,
             may_fail=False, **options):
        """Does `op` to each key once; loadgen's object."""
        words = ["--op", op, "--fill", order, "--keys", keys, "--value-bytes", value,
                 "--key-bytes", self.args.key_bytes, "--connections", connections,
                 "--pipeline", pipeline]
        for option, given in options.items():
            words += ["--" + option.replace("_", "-"), given] if given else []
        result = fleet.run_loadgen(self.args, server, *words)
        if result["failed"] and not may_fail:
            self.report.fail(f"{server.name}, {op}: errors {result['errors']}, wrong "
                             f"{result['wrong']}: {result['first_error']} {result['stderr']}")
        return result

    def megabytes(self, keys, value):
        """Room for memcached and pogocache to hold it all."""
        return 256 + keys * (self.args.key_bytes + value + SERVER_OVERHEAD) * 3 // 2 // 2**20

    def each(self, names):
        return [n for n in self.args.wanted if n in names]


class Watch(threading.Thread):
    """Samples a server's resident memory."""

    def __init__(self, server):
        super().__init__()
        self.server, self.max, self.over = server, 0, threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_S):
            try:
                self.max = max(self.max, self.server.rss())
            except (OSError, IndexError):  # it has ended, which its load will notice
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def median(values):
    return sorted(values)[len(values) // 2]
