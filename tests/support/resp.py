"""A small RESP2/RESP3 client on raw sockets that keeps reply types apart.

    bulk string -> bytes      simple string -> Simple     error -> Error     integer -> int
    null bulk, RESP3 null -> Nil     null array -> NilArray     array -> list
    map -> Map (pairs in order)      set -> Set     push -> Push     double -> Double
    bool -> Bool
"""
import socket


class Simple(str):
    pass


class Error(str):
    pass


class Double(float):
    pass


class Bool(int):
    pass


class Map(list):
    pass


class Set(list):
    pass


class Push(list):
    pass


class Verbatim(bytes):
    pass


class _Nil:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


Nil = _Nil("Nil")
NilArray = _Nil("NilArray")


def encode(args):
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        raw = arg if isinstance(arg, bytes) else str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(out)


class Client:
    def __init__(self, address, timeout=10):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        # Without a timeout, so that it waits where the backlog of a unix socket is full.
        self.sock.connect(address)
        self.sock.settimeout(timeout)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, *args):
        self.sock.sendall(encode(args))

    def cmd(self, *args):
        self.send(*args)
        return self.read()

    def pipeline(self, commands):
        self.sock.sendall(b"".join(encode(c) for c in commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return Simple(rest.decode("latin1"))
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return Nil
        if kind == b",":
            return Double(rest)
        if kind == b"#":
            return Bool(rest == b"t")
        if kind in b"$=":
            return self._bulk(int(rest), Verbatim if kind == b"=" else bytes)
        if kind == b"*" and rest == b"-1":
            return NilArray
        if kind == b"%":
            return Map((self.read(), self.read()) for _ in range(int(rest)))
        members = {b"*": list, b"~": Set, b">": Push}[kind]
        return members(self.read() for _ in range(int(rest)))

    def _bulk(self, length, make):
        if length < 0:
            return Nil
        raw = self.file.read(length + 2)
        if raw[length:] != b"\r\n":
            raise ConnectionError("bulk without its end")
        return make(raw[:length])
