"""Tests as data: a case is a name and lines, `command -> reply`.

    @cases({"name": '''
        SET k v          -> +OK
        GET k            -> "v"
    '''})

Words are split as a shell does ('' is the empty argument, "a b" one, \\x00 in double quotes a byte).
Replies:

    +OK            simple string          "v"        bulk string
    -ERR text      the whole error (" _" at its end: a space)        :1   integer
    nil            null bulk, RESP3 null  nilarray   null array, RESP3 null
    [a b ...]      array                  {k v ...}  map; in RESP2 an array of the same
    <a b ...>      array, in any order    |          RESP2's reply | RESP3's reply
    :a..b          an integer in range    *          anything but an error
    1              in an array: an integer
    $name          the reply is kept; as a word of a later command it is put in
"""
import pytest

from resp import Error, Map, Nil, NilArray, Set, Simple

WRONGTYPE = "-WRONGTYPE Operation against a key holding the wrong kind of value"


def split(text):
    """Words of a command: quotes as in redis.conf, backslash escapes in double quotes."""
    words, i = [], 0
    while i < len(text):
        if text[i].isspace():
            i += 1
            continue
        word, i = _word(text, i)
        words.append(word)
    return words


def _word(text, i):
    escapes = {"n": "\n", "r": "\r", "t": "\t"}
    word, quote = "", ""
    while i < len(text) and (quote or not text[i].isspace()):
        ch = text[i]
        if quote == '"' and ch == "\\":
            if text[i + 1] == "x":
                word += chr(int(text[i + 2:i + 4], 16))
                i += 4
            else:
                word += escapes.get(text[i + 1], text[i + 1])
                i += 2
            continue
        if ch == quote:
            quote = ""
        elif not quote and ch in "'\"":
            quote = ch
        else:
            word += ch
        i += 1
    return word.encode("latin1"), i


class Expected:
    """Parses and compares one reply; `strict` types: b"1" is not 1."""

    def __init__(self, text, proto):
        self.text, self.at, self.proto = text, 0, proto

    def matches(self, reply):
        alternatives = self.text.split(" | ")
        if len(alternatives) == 2:
            self.text = alternatives[self.proto - 2]
        return self._match(self._parse(), reply)

    def _skip(self):
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _parse(self):
        self._skip()
        ch = self.text[self.at]
        if ch in "[{<":
            end = {"[": "]", "{": "}", "<": ">"}[ch]
            self.at += 1
            members = []
            while True:
                self._skip()
                if self.text[self.at] == end:
                    self.at += 1
                    return (ch, members)
                members.append(self._parse())
        if ch == '"':
            word, self.at = _word(self.text[:self._string_end()], self.at)
            return ('"', word)
        if self.at == 0 and ch in "+-":
            word, self.at = self.text[self.at + 1:].strip(), len(self.text)
            word = word[:-1] if word.endswith(" _") else word
            return (ch, word)
        start = self.at
        while self.at < len(self.text) and not (self.text[self.at].isspace() or
                                                self.text[self.at] in "]}>"):
            self.at += 1
        return ("word", self.text[start:self.at])

    def _string_end(self):
        i = self.at + 1
        while self.text[i] != '"':
            i += 2 if self.text[i] == "\\" else 1
        return i + 1

    def _match(self, want, got):
        kind, value = want
        if kind == "+":
            return type(got) is Simple and got == value
        if kind == "-":
            return type(got) is Error and got == value
        if kind == '"':
            return type(got) is bytes and got == value
        if kind == "[":
            return type(got) is list and len(got) == len(value) and all(
                self._match(w, g) for w, g in zip(value, got))
        if kind == "{":
            return self._match_map(value, got)
        if kind == "<":
            return self._match_any_order(value, got)
        return self._match_word(value, got)

    def _match_map(self, value, got):
        if self.proto == 2:
            return self._match(("[", value), got)
        flat = [x for pair in got for x in pair] if type(got) is Map else None
        return flat is not None and self._match(("[", value), flat)

    def _match_any_order(self, value, got):
        left = list(got) if type(got) in (list, Set) else None
        if left is None or len(left) != len(value):
            return False
        for want in value:
            found = [g for g in left if self._match(want, g)]
            if not found:
                return False
            left.remove(found[0])
        return True

    def _match_word(self, value, got):
        if value == "*":
            return not isinstance(got, Error)
        if value == "nil":
            return got is Nil
        if value == "nilarray":
            return got is (NilArray if self.proto == 2 else Nil)
        if value[0] in ":-0123456789":
            if type(got) is not int:
                return False
            low, _, high = value.lstrip(":").partition("..")
            return int(low) <= got <= int(high or low)
        raise ValueError("no such expectation: " + value)


def run(client, lines):
    kept = {}
    for line in lines.strip().splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        command, arrow, expected = line.partition(" -> ")
        assert arrow, "no expectation: " + line
        expected = expected.strip().replace("-WRONGTYPE", WRONGTYPE)
        words = [kept.get(w, w) for w in split(command)]
        reply = client.cmd(*words)
        if expected.startswith("$"):
            kept[expected.encode()] = reply
            continue
        assert Expected(expected, client.proto).matches(reply), "%s: got %r" % (line, reply)


def cases(table):
    """Parametrises a test with the cases of a dict."""
    return pytest.mark.parametrize("lines", list(table.values()), ids=list(table))
