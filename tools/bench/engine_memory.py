"""Parts of tools/bench/engine: what a key costs in memory, and the slowest SET while keys grow."""
import json
import os
import subprocess

from harness import FAILED

TTL_S = 86400


def per_key(server, empty, keys, payload):
    """Bytes a key beyond key and value, by RSS and by used_memory."""
    resident = server.settled_rss()
    by_rss = (resident - empty["rss"]) / keys - payload
    used = server.info("used_memory")
    by_used = (used - empty["used"]) / keys - payload if used is not None else None
    return by_rss, by_used


def cell(pair):
    if pair is None:
        return FAILED
    by_rss, by_used = pair
    return f"{by_rss:.1f}" if by_used is None else f"{by_rss:.1f} ({by_used:.1f})"


def emptiness(server):
    return {"rss": server.settled_rss(), "used": server.info("used_memory")}


def filled(bench, name, keys, value, ttl):
    with bench.start(name, bench.megabytes(keys, value)) as server:
        empty = emptiness(server)
        bench.fill(server, keys, value, ttl=ttl)
        return per_key(server, empty, keys, bench.args.key_bytes + value)


def growing(bench, name, keys, value):
    """At 1.0x, 1.1x, ... 2.0x of the keys."""
    found = []
    with bench.start(name, bench.megabytes(2 * keys, value)) as server:
        empty = emptiness(server)
        there = 0
        for step in range(bench.args.steps + 1):
            wanted = keys + keys * step // bench.args.steps
            bench.fill(server, wanted - there, value, ttl=TTL_S, first_key=there)
            there = wanted
            found.append(per_key(server, empty, there, bench.args.key_bytes + value))
    return found


def overwritten(bench, name, keys, value):
    """Every key twice, with other sizes, in another order."""
    middle, last = value * 3 // 2 + 5, value // 2 + 3
    with bench.start(name, bench.megabytes(keys, middle)) as server:
        empty = emptiness(server)
        bench.fill(server, keys, value, ttl=TTL_S)
        bench.fill(server, keys, middle, ttl=TTL_S, order="shuffled")
        bench.fill(server, keys, last, ttl=TTL_S, order="shuffled")
        return per_key(server, empty, keys, bench.args.key_bytes + last)


class Costs:
    """Every case's bytes a key by resident memory, for the last table."""

    def __init__(self, names):
        self.names, self.all, self.with_ttl = names, {}, {}

    def note(self, name, pairs, ttl):
        by_rss = [pair[0] for pair in pairs]
        self.all.setdefault(name, []).extend(by_rss)
        self.with_ttl.setdefault(name, []).extend(by_rss if ttl else [])

    def rows(self):
        def line(title, of, found):
            return [title] + [f"{of(found[n]):.1f}" if found.get(n) else "-" for n in self.names]
        return [line("mean of the cases with TTL", lambda v: sum(v) / len(v), self.with_ttl),
                line("worst case", max, self.all)]


def memory_filled(bench, costs):
    args, report = bench.args, bench.report
    rows = []
    for keys, value, ttl in [(k, v, t) for k in args.keys for t in (0, TTL_S) for v in args.values]:
        case = f"{keys:.0e}, {value} B, {'with' if ttl else 'no'} TTL".replace("e+0", "e")
        row = [case]
        for name in args.wanted:
            pair = bench.attempt(f"{name}, memory of {case}", filled, bench, name, keys, value, ttl)
            if pair:
                costs.note(name, [pair], ttl)
                report.add("memory", case="filled", server=name, keys=keys, value=value, ttl=ttl,
                           rss=pair[0], used=pair[1])
            row.append(cell(pair))
        report.row(rows, row)
    report.table(["case"] + args.wanted, rows)


def memory_growing(bench, costs):
    args, report, keys = bench.args, bench.report, min(bench.args.keys)
    report.say(f"Growing from {keys:,} to {2 * keys:,} keys in {args.steps} steps, with TTL: mean "
               "and worst over the counts.\n")
    rows = []
    for value in args.values:
        row = [f"{value} B"]
        for name in args.wanted:
            found = bench.attempt(f"{name}, growing with {value} B", growing, bench, name, keys,
                                  value)
            if not found:
                row.append(FAILED)
                continue
            costs.note(name, found, TTL_S)
            by_rss = [pair[0] for pair in found]
            report.add("memory", case="growing", server=name, keys=keys, value=value, rss=by_rss)
            row.append(f"{sum(by_rss) / len(by_rss):.1f}, worst {max(by_rss):.1f}")
        report.row(rows, row)
    report.table(["value"] + args.wanted, rows)


def memory_overwritten(bench, costs):
    args, report, keys = bench.args, bench.report, min(bench.args.keys)
    report.say(f"{keys:,} keys with TTL, each overwritten twice in random order, by 1.5 v + 5 and "
               "then by v / 2 + 3 bytes, measured against the last.\n")
    rows = []
    for value in args.values:
        row = [f"{value} B, {value * 3 // 2 + 5} B, {value // 2 + 3} B"]
        for name in args.wanted:
            pair = bench.attempt(f"{name}, overwriting {value} B", overwritten, bench, name, keys,
                                 value)
            if pair:
                costs.note(name, [pair], TTL_S)
                report.add("memory", case="overwritten", server=name, keys=keys, value=value,
                           rss=pair[0], used=pair[1])
            row.append(cell(pair))
        report.row(rows, row)
    report.table(["v, then, then"] + args.wanted, rows)


def memory(bench):
    args, report = bench.args, bench.report
    report.say("### Memory: bytes a key beyond key and value\n")
    report.say(f"Keys of {args.key_bytes} bytes. Resident memory of the filled server less that of "
               "the empty one, divided by the keys, less key and value; in brackets the same by "
               "`used_memory`. Each case in a fresh server.\n")
    costs = Costs(args.wanted)
    memory_filled(bench, costs)
    memory_growing(bench, costs)
    memory_overwritten(bench, costs)
    report.table(["of all these, by resident memory"] + args.wanted, costs.rows())


def grow_in_process(bench, keys):
    args, report = bench.args, bench.report
    report.say(f"In the process, `grow {keys}`: every insertion of {keys:,} keys timed; Forebay "
               "alone, a peer's can't be. \"Repeated\" sets the same keys again, \"empty\" times "
               "nothing: what these two show is the machine's.\n")
    done = subprocess.run(["taskset", "-c", args.server_cpu, os.path.join(args.tools, "grow"),
                           str(keys)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    report.add("grow", server="in-process", **result)
    report.table(["us", "slowest, CPU time", "slowest, wall", "p99.99, CPU time", "top five"],
                 [[{"grow": "growing", "repeat": "repeated"}.get(p, p),
                   f"{result[p]['cpu_max_us']:.0f}", f"{result[p]['wall_max_us']:.0f}",
                   f"{result[p]['cpu_p9999_us']:.1f}",
                   " ".join(f"{us:.0f}" for us in result[p]["cpu_top_us"])]
                  for p in ("grow", "repeat", "empty")])


def grow_over_the_wire(bench, name, keys):
    """Slowest and p99.9 of a batch, growing and repeated."""
    with bench.start(name, bench.megabytes(keys, 32)) as server:
        cells = []
        for pass_name in ("growing", "repeated"):
            result = bench.fill(server, keys, 32, connections=1, pipeline=16)
            bench.report.add("grow", server=name, phase=pass_name, **result)
            cells += [f"{result['max_us'] / 1000:.2f}", f"{result['p999_us'] / 1000:.2f}"]
        return cells


def grow(bench):
    args, report = bench.args, bench.report
    keys = args.grow_keys
    report.say("### Growth: the slowest single SET\n")
    if "forebay" in args.wanted:
        bench.attempt("grow", grow_in_process, bench, keys)
    report.say(f"Over the wire: one connection sends {keys:,} SETs of 32 bytes in batches of 16, "
               "as fast as they are answered, and then the same again. A batch's time is above "
               "that of the slowest SET in it.\n")
    rows = []
    for name in args.wanted:
        cells = bench.attempt(f"{name}, growing to {keys} keys", grow_over_the_wire, bench, name,
                              keys)
        report.row(rows, [name] + (cells or [FAILED] * 4))
    report.table(["server", "growing: slowest ms", "p99.9 ms", "repeated: slowest ms", "p99.9 ms"],
                 rows)
