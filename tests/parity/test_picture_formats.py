"""image/ against Pillow 13 on GIF, BMP, TIFF and AVIF, and against pillow-heif on HEIC.

Equal in every value, save where a test says by how much its files may differ and why.
"""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from test_image import exif, jobs, picture, saved, upright_rgb  # noqa: F401  jobs is a fixture

SIZES = [(1, 1), (5, 3), (16, 16), (33, 17), (64, 48)]


# ---- GIF ----


def lzw(indices, bits):
    """GIF's compression without its gain: the codes are cleared before they grow."""
    clear, width = 1 << bits, bits + 1
    codes = []
    for i, index in enumerate(indices):
        if i % (clear - 2) == 0:
            codes.append(clear)
        codes.append(int(index))
    codes.append(clear + 1)
    number = sum(code << (width * i) for i, code in enumerate(codes))
    data = number.to_bytes((width * len(codes) + 7) // 8, "little")
    blocks = [data[i : i + 255] for i in range(0, len(data), 255)]
    return bytes([bits]) + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0"


def colours_of(palette):
    return (len(palette) // 3 - 1).bit_length() - 1


def gif(indices, bits, canvas=None, at=(0, 0), palette=None, local=None, transparent=None, interlaced=False):
    height, width = indices.shape
    canvas = canvas or (width, height)
    file = b"GIF89a" + struct.pack("<HH", *canvas)
    file += bytes([0x80 | colours_of(palette) if palette else 0, 0, 0]) + (palette or b"")
    file += b"!\xfe\x05hello\0"
    if transparent is not None:
        file += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    flags = (0x80 | colours_of(local) if local else 0) | (0x40 if interlaced else 0)
    file += b"," + struct.pack("<HHHHB", *at, width, height, flags) + (local or b"")
    if interlaced:
        indices = np.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    return file + lzw(indices.reshape(-1), bits) + b";"


def test_gif(jobs):  # noqa: F811
    rng = np.random.default_rng(1)
    for width, height in SIZES:
        for bits in (2, 3, 4, 8):
            indices = rng.integers(0, 1 << bits, (height, width))
            whole, short = rng.bytes(3 << bits), rng.bytes(6)
            greys = bytes(i for i in range(1 << bits) for _ in range(3))
            for palettes in ((whole, None), (None, whole), (short, whole), (short, None), (greys, None),
                             (greys[:6], None), (None, None)):
                for transparent in (None, 0, 1, (1 << bits) - 1, 200):
                    for interlaced in (False, True):
                        kind = {"palette": palettes[0], "local": palettes[1], "transparent": transparent,
                                "interlaced": interlaced}
                        jobs.decode(gif(indices, bits, **kind), ".gif")
                    jobs.decode(gif(indices, bits, (width + 5, height + 3), (2, 1), **kind), ".gif")
                    jobs.decode(gif(indices, bits, (1, 1), (2, 1), **kind), ".gif")  # beyond its canvas
    frames = [Image.fromarray(picture(rng, 64, 48)) for _ in range(3)]
    jobs.decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), ".gif")
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        for size in ((64, 48), (317, 211)):
            jobs.decode(saved(Image.fromarray(picture(rng, *size, 4)).convert(mode), "GIF"), ".gif")
    jobs.check()


# ---- BMP ----


def bmp(rows, width, height, bits, header=40, coding=0, palette=b"", colours=0, masks=b"", top_down=False, gap=0):
    """A bitmap of rows (or run lengths) that are bytes already; `masks` stand behind the header."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IIiHHIIiiII", header, width, -height if top_down else height, 1, bits, coding,
                           len(rows), 2835, 2835, colours, 0)
        info = (info + (masks if header > 40 else b"")).ljust(header, b"\0")
    behind = masks if header == 40 else b""
    offset = 14 + len(info) + len(behind) + len(palette) + gap
    file = b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
    return file + info + behind + palette + bytes(gap) + rows


def bmp_rows(samples, bits):
    """Rows of numbers [h, w] of that many bits, each filled up to 4 bytes."""
    rows = b""
    for row in samples:
        if bits < 8:
            places = np.arange(bits - 1, -1, -1)
            row = np.packbits(((row[:, None] >> places) & 1).astype(np.uint8).reshape(-1)).tobytes()
        else:
            row = b"".join(int(n).to_bytes(bits // 8, "little") for n in row)
        rows += row + bytes(-len(row) % 4)
    return rows


def masks_of(*masks):
    return struct.pack("<%dI" % len(masks), *masks)


LAYOUTS = {
    32: [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0),
         (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
         (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0)],
    24: [(0xFF0000, 0xFF00, 0xFF, 0)],
    16: [(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)],
}


def runs(rng, width, height, four, start):
    """Run lengths of whole rows: runs, absolute ones, jumps over several pixels, ends of rows.

    What is absolute is filled up to an even place in the file, in which the runs begin at `start`.
    """
    out = b""
    for _ in range(height):
        x = 0
        while x < width:
            left = min(width - x, 255)
            count = int(rng.integers(1, left + 1))
            kind = rng.integers(0, 4)
            if kind == 0 and count >= 3:
                size = (count + 1) // 2 if four else count
                out += bytes([0, count]) + rng.bytes(size)
                out += bytes((start + len(out)) % 2)
            elif kind == 1:
                out += bytes([0, 2, count, 0])
            else:
                out += bytes([count, int(rng.integers(0, 256))])
            x += count
        out += b"\0\0"
    return out + b"\0\1"


def test_bmp(jobs):  # noqa: F811
    rng = np.random.default_rng(2)
    for width, height in SIZES:
        for bits in (1, 4, 8):
            samples = rng.integers(0, 1 << bits, (height, width))
            rows = bmp_rows(samples, bits)
            few = (1 << bits) * 3 // 4 or 1
            for colours in {0, 1 << bits, few}:
                entries = colours or 1 << bits
                palette = b"".join(rng.bytes(3) + b"\0" for _ in range(entries))
                for header in (40, 52, 56, 64, 108, 124):
                    for top_down in (False, True):
                        jobs.decode(bmp(rows, width, height, bits, header, 0, palette, colours,
                                        top_down=top_down, gap=header % 3), ".bmp")
            jobs.decode(bmp(rows, width, height, bits, 12, palette=rng.bytes(3 << bits)), ".bmp")
        greys = b"".join(bytes([i, i, i, 0]) for i in range(256))
        samples = rng.integers(0, 256, (height, width))
        for colours in (256, 100):
            jobs.decode(bmp(bmp_rows(samples, 8), width, height, 8, 40, 0, greys[: 4 * colours], colours), ".bmp")
        black_white = b"\0\0\0\0\xff\xff\xff\0"
        for palette in (black_white, black_white[4:] + black_white[:4]):
            jobs.decode(bmp(bmp_rows(samples & 1, 1), width, height, 1, 40, 0, palette), ".bmp")
        for bits in (16, 24, 32):
            rows = bmp_rows(rng.integers(0, 1 << bits, (height, width)), bits)
            for top_down in (False, True):
                jobs.decode(bmp(rows, width, height, bits, top_down=top_down), ".bmp")
                for layout in LAYOUTS[bits]:
                    for header in (40, 52, 56, 108, 124):
                        if header >= 56 or layout[3] == 0:
                            masks = masks_of(*layout)[: 12 if header == 40 else 16]
                            kind = {"coding": 3, "masks": masks, "top_down": top_down}
                            jobs.decode(bmp(rows, width, height, bits, header, **kind), ".bmp")
            if bits == 24:
                jobs.decode(bmp(rows, width, height, bits, 12), ".bmp")
        for four in (False, True):
            bits = 4 if four else 8
            palette = b"".join(rng.bytes(3) + b"\0" for _ in range(1 << bits))
            for top_down in (False, True):
                for gap in (0, 1):
                    data = runs(rng, width, height, four, 54 + len(palette) + gap)
                    jobs.decode(bmp(data, width, height, bits, 40, 2 if four else 1, palette,
                                    top_down=top_down, gap=gap), ".bmp")
        for mode in ("1", "L", "P", "RGB", "RGBA"):
            jobs.decode(saved(Image.fromarray(picture(rng, width, height, 4)).convert(mode), "BMP"), ".bmp")
    jobs.check()


# ---- TIFF ----


def tiff(data_of, width, height, tags, order="<", big=False, blocks=None):
    """A TIFF of one directory. data_of: the strips' or tiles' bytes in order; tags: tag to (type, values)."""
    codes = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
    places = (324, 325) if blocks else (273, 279)
    head = 16 if big else 8
    tags = {256: (4, [width]), 257: (4, [height]), **tags}
    offsets, at = [], head
    for block in data_of:
        offsets.append(at)
        at += len(block)
    at += at % 2
    tags |= {places[0]: (4, offsets), places[1]: (4, [len(block) for block in data_of])}
    if blocks:
        tags |= {322: (4, [blocks[0]]), 323: (4, [blocks[1]])}
    entries, apart = b"", b""
    room, size = (8, 20) if big else (4, 12)
    beyond = at + (8 if big else 2) + size * len(tags) + room
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + codes[kind] * len(values), *values)
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values))
        if len(value) <= room:
            entries += value.ljust(room, b"\0")
        else:
            entries += struct.pack(order + ("Q" if big else "I"), beyond + len(apart))
            apart += value + bytes(len(value) % 2)
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    body = head + b"".join(data_of)
    body += bytes(at - len(body)) + struct.pack(order + ("Q" if big else "H"), len(tags))
    return body + entries + bytes(room) + apart


def tiff_rows(samples, bits, order):
    """Rows of samples [h, w, channels] of so many bits, one after the other."""
    rows = b""
    for row in samples:
        flat = row.reshape(-1)
        if bits in (16, 32):
            rows += flat.astype(order + ("u2" if bits == 16 else "u4")).tobytes()
        elif bits == 8:
            rows += flat.astype(np.uint8).tobytes()
        else:
            places = np.arange(bits - 1, -1, -1)
            rows += np.packbits(((flat[:, None] >> places) & 1).astype(np.uint8).reshape(-1)).tobytes()
    return rows


def tiff_of(samples, bits, photometric, extra=(), order="<", rows=None, tile=None, planar=False, formats=None,
            more=(), big=False):
    height, width, channels = samples.shape
    tags = {258: (3, [bits] * channels), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [channels]), **dict(more)}
    if extra:
        tags[338] = (3, list(extra))
    if formats:
        tags[339] = (3, [formats] * channels)
    planes = [samples[:, :, i : i + 1] for i in range(channels)] if planar else [samples]
    if planar:
        tags[284] = (3, [2])
    data = []
    for plane in planes:
        if tile:
            w, h = tile
            padded = np.pad(plane, ((0, -height % h), (0, -width % w), (0, 0)))
            data += [tiff_rows(padded[y : y + h, x : x + w], bits, order)
                     for y in range(0, height, h) for x in range(0, width, w)]
        else:
            step = rows or height
            tags[278] = (3, [step])
            data += [tiff_rows(plane[y : y + step], bits, order) for y in range(0, height, step)]
    return tiff(data, width, height, tags, order, big, tile)


def test_tiff_layouts(jobs):  # noqa: F811
    """Every mode of Pillow's that is read, in strips and tiles of either byte order."""
    rng = np.random.default_rng(3)
    whole = [(1, 0, ()), (2, 0, ()), (4, 0, ()), (8, 0, ()), (1, 1, ()), (2, 1, ()), (4, 1, ()), (8, 1, ())]
    several = [(8, 2, ()), (16, 2, ()), (8, 5, ()), (16, 5, ())]
    several += [(8, 2, extra) for extra in ((0,), (1,), (2,), (0, 0), (1, 0), (2, 0), (0, 0, 0), (1, 0, 0), (2, 0, 0))]
    several += [(16, 2, extra) for extra in ((0,), (1,), (2,))] + [(8, 5, (0,)), (8, 5, (0, 0))]
    several += [(8, 1, (0,)), (8, 1, (2,)), (8, 3, (0,)), (8, 3, (2,))]
    indexed = [(1, 3, ()), (2, 3, ()), (4, 3, ()), (8, 3, ())]
    bands = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}
    for width, height in SIZES[1:]:
        for bits, photometric, extra in whole + several + indexed:
            channels = bands[photometric] + len(extra)
            samples = rng.integers(0, 1 << bits, (height, width, channels))
            more = {}
            if photometric == 3:
                more[320] = (3, [int(n) for n in rng.integers(0, 65536, 3 << bits)])
            for order in "<>":
                kind = {"extra": extra, "order": order, "more": more}
                jobs.decode(tiff_of(samples, bits, photometric, **kind), ".tif")
                jobs.decode(tiff_of(samples, bits, photometric, rows=3, **kind), ".tif")
                jobs.decode(tiff_of(samples, bits, photometric, tile=(16, 16), **kind), ".tif")
                if order == "<":  # which Pillow does not read of the other order
                    jobs.decode(tiff_of(samples, bits, photometric, big=True, **kind), ".tif")
                if bits == 8 and channels > 1 and photometric in (2, 5) and extra in ((), (2,)):
                    jobs.decode(tiff_of(samples, bits, photometric, planar=True, rows=2, **kind), ".tif")
        rgba = rng.integers(0, 256, (height, width, 4))
        jobs.decode(tiff_of(rgba, 8, 2), ".tif")  # a fourth sample that no tag explains is alpha
        jobs.decode(tiff_of(rgba, 8, 2, big=True), ".tif")
    jobs.check()


def test_tiff_numbers(jobs):  # noqa: F811
    """Grey of 16 and 32 bits and of floats: cut at 0 and 255 as Pillow does."""
    rng = np.random.default_rng(4)
    for order in "<>":
        for high in (300, 65536):
            samples = rng.integers(0, high, (17, 33, 1))
            jobs.decode(tiff_of(samples, 16, 1, order=order), ".tif")
        path = jobs.file(tiff_of(samples, 16, 1, order=order), ".tif")
        jobs.add(path, (samples >> 8).astype(np.uint8).repeat(3, 2), op="decode", sixteen_bit="scale")
        signed = rng.integers(-300, 600, (17, 33, 1))
        for bits in (16, 32):
            jobs.decode(tiff_of(signed & ((1 << bits) - 1), bits, 1, order=order, formats=2), ".tif")
        floats = rng.normal(100, 150, (17, 33, 1)).astype("<f4").view("<u4")
        jobs.decode(tiff_of(floats, 32, 1, order=order, formats=3), ".tif")
    jobs.decode(tiff_of(rng.integers(0, 1 << 16, (17, 33, 1)), 16, 0), ".tif")
    jobs.check()


def test_tiff_compressions(jobs):  # noqa: F811
    rng = np.random.default_rng(5)
    plain = (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd")
    for size in SIZES:
        source = Image.fromarray(picture(rng, *size, 4))
        for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16"):
            image = source.convert("L").convert("I;16") if mode == "I;16" else source.convert(mode)
            for compression in plain:
                jobs.decode(saved(image, "TIFF", compression=compression), ".tif")
        jobs.decode(saved(source.convert("RGB"), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), ".tif")
        for compression in ("tiff_ccitt", "group3", "group4"):
            jobs.decode(saved(source.convert("1"), "TIFF", compression=compression), ".tif")
        for mode in ("L", "RGB", "CMYK", "YCbCr"):
            jobs.decode(saved(source.convert(mode), "TIFF", compression="jpeg", quality=80), ".tif")
        jobs.decode(saved(source.convert("YCbCr"), "TIFF", compression="tiff_lzw"), ".tif")
    pages = [Image.fromarray(picture(rng, *size)) for size in ((40, 30), (20, 50))]
    jobs.decode(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), ".tif")
    jobs.check()


def test_tiff_orientation(jobs):  # noqa: F811
    rng = np.random.default_rng(6)
    samples = rng.integers(0, 256, (5, 9, 3))
    xmp = list(b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>')
    for orientation in range(10):
        for order in "<>":
            for more in ({274: (3, [orientation])}, {274: (3, [orientation]), 700: (1, xmp)}):
                jobs.decode(tiff_of(samples, 8, 2, order=order, more=more), ".tif")
        jobs.decode(tiff_of(samples, 8, 2, more={274: (3, [orientation])}, big=True), ".tif")
    jobs.decode(tiff_of(samples, 8, 2, more={700: (1, xmp)}), ".tif")
    jobs.check()


# ---- AVIF and HEIC ----


def test_avif(jobs):  # noqa: F811
    rng = np.random.default_rng(7)
    for size in [*SIZES, (127, 65)]:
        source = Image.fromarray(picture(rng, *size, 4))
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
            for mode in ("RGB", "RGBA"):
                for options in ({"quality": 100}, {"quality": 60}, {"quality": 80, "range": "limited"}):
                    content = saved(source.convert(mode), "AVIF", subsampling=subsampling, speed=8, **options)
                    jobs.decode(content, ".avif")
    jobs.check()


def test_heic(jobs):  # noqa: F811
    """4:2:0 may differ by 1: libheif 1.15 (Debian 12) rounds its colours otherwise than the 1.23 of pillow-heif."""
    rng = np.random.default_rng(8)
    pillow_heif.register_heif_opener()
    for size in [(16, 16), (64, 48), (127, 65), (40, 23)]:
        source = Image.fromarray(picture(rng, *size, 4))
        for chroma in (444, 422, 420):
            for mode in ("RGB", "RGBA", "L"):
                for quality in (-1, 90, 50):
                    if chroma == 420 and mode != "L":
                        jobs.rounding[len(jobs.jobs)] = 1
                    content = saved(source.convert(mode), "HEIF", quality=quality, chroma=chroma)
                    jobs.decode(content, ".heic")
    jobs.check()
