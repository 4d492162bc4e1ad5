"""Writers of what SentencePiece would write: precompiled character maps and .model files."""

import struct
import unicodedata


class DoubleArray:
    """A trie of byte strings as Darts-clone lays it out; values are whole numbers."""

    def __init__(self, entries):
        self.units = [0] * 256
        self.used = bytearray(256)
        self.bases = set()
        self.used[0] = 1
        self.low = 1
        root = {}
        for key, value in entries.items():
            node = root
            for byte in key:
                node = node.setdefault(byte, {})
            node[0] = value
        self.place(0, root)

    def fit(self, labels):
        """A base at which all labels' places are free, used by no other node."""
        while self.used[self.low]:
            self.low += 1
            self.grow(self.low + 512)
        free = self.low
        while True:
            self.grow(free + 512)
            base = free ^ labels[0]
            if not self.used[free] and base and base not in self.bases and not any(
                self.used[base ^ label] for label in labels
            ):
                return base
            free += 1

    def grow(self, size):
        if size > len(self.units):
            extra = max(size - len(self.units), len(self.units))
            self.units += [0] * extra
            self.used += bytes(extra)

    def place(self, index, node):
        labels = list(node)
        base = self.fit(labels)
        self.bases.add(base)
        self.units[index] |= (index ^ base) << 10 | (1 << 8 if 0 in node else 0)
        for label in labels:
            self.used[base ^ label] = 1
            self.units[base ^ label] = node[label] | 1 << 31 if label == 0 else label
        for label in labels:
            if label:
                self.place(base ^ label, node[label])

    def blob(self):
        size = (max(i for i, used in enumerate(self.used) if used) | 255) + 1  # whole blocks
        return struct.pack(f"<{size}I", *self.units[:size])


def charsmap(rules):
    """The precompiled map of {text: replacement}."""
    places, replacements = {}, b""
    for text in sorted(set(rules.values())):
        places[text] = len(replacements)
        replacements += text.encode() + b"\0"
    entries = {key.encode(): places[value] for key, value in rules.items()}
    trie = DoubleArray(entries).blob()
    return struct.pack("<I", len(trie)) + trie + replacements


def nfkc_rules():
    """As nmt_nfkc has it: NFKC of single characters and of pairs that compose, spaces, controls."""
    rules = {}
    for point in range(1, 0x30000):
        if 0xD800 <= point < 0xE000 or 0xAC00 <= point < 0xD7A4:
            continue
        char = chr(point)
        normal = unicodedata.normalize("NFKC", char)
        if normal != char:
            rules[char] = normal
        pair = unicodedata.normalize("NFD", char)
        if len(pair) == 2 and unicodedata.normalize("NFC", pair) == char:
            rules[pair] = unicodedata.normalize("NFKC", char)
        if unicodedata.category(char) == "Cc":
            rules[char] = ""
    for space in "\t\n\r\u1680\u200b\u200e\u2028\u2029\u2581\ufeff":
        rules[space] = " "
    return rules


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A protocol buffer's field: bytes, float or int."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def model_file(pieces, kind, unknown, blob=b""):
    """A .model file of (text, score, type) pieces."""
    out = b""
    for text, score, piece_type in pieces:
        out += field(1, field(1, text.encode()) + field(2, float(score)) + field(3, piece_type))
    out += field(2, field(3, kind) + field(40, unknown) + field(44, b"<unk>"))
    return out + field(3, field(1, b"nmt_nfkc") + field(2, blob))
