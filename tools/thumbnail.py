"""Small pictures on a colour terminal: two pixels a character (Python standard library only)."""

import os
import struct
import zlib

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type: samples a pixel


def wanted(stream):
    """Whether the stream is a terminal that shows 24-bit colour."""
    return stream.isatty() and os.environ.get("COLORTERM", "") in ("truecolor", "24bit")


def chunks(data):
    """Yields (type, body) of each chunk of a PNG file."""
    position = 8
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4:position + 8], data[position + 8:position + 8 + length]
        position += 12 + length


def paeth(a, b, c):
    distances = (abs(b - c), abs(a - c), abs(a + b - 2 * c))
    return (a, b, c)[distances.index(min(distances))]


def unfilter(raw, height, row_bytes, step):
    """The rows of an 8-bit PNG without their filters."""
    previous, rows = bytearray(row_bytes), []
    for y in range(height):
        start = y * (row_bytes + 1)
        kind, row = raw[start], bytearray(raw[start + 1:start + 1 + row_bytes])
        for x in range(row_bytes):
            left = row[x - step] if x >= step else 0
            corner = previous[x - step] if x >= step else 0
            row[x] = (row[x] + (0, left, previous[x], (left + previous[x]) // 2,
                                paeth(left, previous[x], corner))[kind]) & 255
        rows.append(row)
        previous = row
    return rows


def over_white(pixel, alpha):
    return tuple((c * alpha + 255 * (255 - alpha)) // 255 for c in pixel)


def read_png(path):
    """Rows of (red, green, blue) over white, or None where the file is of another kind."""
    header, packed, palette, transparency = None, b"", b"", b""
    for kind, body in chunks(path.read_bytes()):
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"tRNS":
            transparency = body
        elif kind == b"IDAT":
            packed += body
    if header is None or header[2] != 8 or header[6] != 0:
        return None
    width, height, colour, step = header[0], header[1], header[3], CHANNELS[header[3]]

    def pixel(row, x):
        samples = row[x * step:(x + 1) * step]
        if colour == 3:
            i = samples[0]
            alpha = transparency[i] if i < len(transparency) else 255
            return over_white(palette[3 * i:3 * i + 3], alpha)
        alpha = samples[-1] if colour in (4, 6) else 255
        return over_white(samples[:3] if colour in (2, 6) else samples[:1] * 3, alpha)

    rows = unfilter(zlib.decompress(packed), height, width * step, step)
    return [[pixel(row, x) for x in range(width)] for row in rows]


def half_blocks(path, columns):
    """The picture as lines of half blocks, `columns` characters wide; empty if it cannot be."""
    rows = read_png(path)
    if rows is None:
        return ""
    scale = len(rows[0]) // columns or 1

    def mean(x, y):
        block = [rows[min(y + j, len(rows) - 1)][x + i] for j in range(scale) for i in range(scale)]
        return ";".join(str(sum(p[c] for p in block) // len(block)) for c in range(3))

    lines = []
    for y in range(0, len(rows), 2 * scale):
        cells = (f"\x1b[38;2;{mean(x, y)};48;2;{mean(x, y + scale)}m▀"
                 for x in range(0, scale * columns, scale))
        lines.append("  " + "".join(cells) + "\x1b[0m")
    return "\n".join(lines)
