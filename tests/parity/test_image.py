"""image/ against Pillow 13 and transformers' processors given PIL images: every value equal.

Given a path or an address, transformers' processors drop alpha instead of composing it over white
(test_alpha_in_transformers); docs/published.md has the table.
"""

import datetime
import io
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file


def upright_rgb(source):
    """Pillow's picture upright, with alpha over white as transformers makes it of a PIL image."""
    image = ImageOps.exif_transpose(Image.open(source))
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def picture(rng, width, height, channels=3):
    """Smooth waves with noise and a hard edge: all frequencies."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, c = rng.uniform(0.01, 0.6, 3)
        plane = 127 + 100 * np.sin(a * x + b * y) + rng.normal(0, 25 * c, (height, width))
        plane[y > height * c + x] = rng.uniform(0, 255)
        planes.append(plane)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


class Jobs:
    """Collects pictures with what they must become, and runs them all in one go."""

    def __init__(self, folder, probe):
        self.folder, self.probe, self.jobs, self.expected = folder, probe, [], []
        self.rounding = {}  # the numbers of jobs whose values may differ by so much

    def file(self, content, suffix):
        path = self.folder / f"{len(self.jobs)}{suffix}"
        path.write_bytes(content)
        return path

    def add(self, path, expected, **job):
        self.jobs.append({"image": str(path), **job})
        self.expected.append(np.asarray(expected))

    def decode(self, content, suffix, **job):
        self.add(self.file(content, suffix), upright_rgb(io.BytesIO(content)), op="decode", **job)

    def check(self):
        (self.folder / "jobs.jsonl").write_text("".join(json.dumps(j) + "\n" for j in self.jobs))
        errors = self.probe("image", self.folder / "jobs.jsonl", self.folder / "out.safetensors")
        assert errors == ""
        results = load_file(self.folder / "out.safetensors")
        wrong = []
        for i, expected in enumerate(self.expected):
            got = results[str(i)]
            assert got.dtype == expected.dtype
            if got.shape != expected.shape:
                wrong.append((self.jobs[i], f"shape {got.shape}, expected {expected.shape}"))
            elif not np.allclose(got, expected, rtol=0, atol=self.rounding.get(i, 0)):
                differ = np.abs(got.astype(float) - expected.astype(float))
                wrong.append((self.jobs[i], f"{(differ > 0).sum()} differ by ≤ {differ.max()}"))
        assert not wrong, f"{len(wrong)} of {len(self.jobs)}: {wrong[:5]}"


@pytest.fixture
def jobs(tmp_path, probe):
    return Jobs(tmp_path, probe)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def camera_notes(path):
    """What Pillow reads: seconds since 1970, and maker and model."""
    image = Image.open(path)
    block = image.getexif()
    own = block.get_ifd(0x8769)

    def name(tag):
        text = block.get(tag, "")
        if not isinstance(text, str):
            return ""
        written = text.encode("latin-1").split(b"\0")[0][:100]  # Pillow takes all text for Latin-1
        words = b" ".join(re.split(rb"[\x01-\x20\x7f]+", written)).strip()
        try:
            return words.decode()
        except UnicodeDecodeError:
            return words.decode("latin-1")

    maker, model = name(0x010F), name(0x0110)
    repeated = maker and re.match(re.escape(maker.split()[0]) + "(?![^ -])", model, re.IGNORECASE)
    camera = model if repeated or not maker else f"{maker} {model}".strip()
    taken = None
    for tag in (0x9003, 0x9004):
        if taken is None and isinstance(own.get(tag), str):
            numbers = re.match("([0-9]{4}).([0-9]{2}).([0-9]{2}).([0-9]{2}).([0-9]{2}).([0-9]{2})",
                               own[tag].split("\0")[0], re.DOTALL)
            try:
                date = datetime.datetime(*map(int, numbers.groups()), tzinfo=datetime.timezone.utc)
                taken = int((date - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds())
            except (AttributeError, ValueError):
                pass
    return {"taken": taken, "camera": camera, "size": list(ImageOps.exif_transpose(image).size)}


def photograph_blocks():
    """EXIF blocks as cameras write them, of either byte order."""
    makers = [("Canon", "Canon EOS R5"), ("NIKON CORPORATION", "NIKON D90"), ("FUJIFILM", "X-T4"), ("Apple", None),
              (None, "DSC-F828"), ("K\xf6nig", "Eins  "), ("samsung", "SM-G991B"), (None, None), ("Can", "Canopy")]
    dates = [{0x9003: "2024:02:29 12:34:56"}, {0x9004: "1999:12:31 23:59:59"}, {},
             {0x9003: "0000:00:00 00:00:00", 0x9004: "2010:01:02 03:04:05"}, {0x9003: "1965:07:01 08:09:10"},
             {0x9003: "2023:02:29 00:00:00"}, {0x9003: 7}]
    for i, (maker, model) in enumerate(makers):
        for j, date in enumerate(dates):
            block = Image.Exif()
            block.endian = "<>"[(i + j) % 2]
            for tag, text in ((0x010F, maker), (0x0110, model)):
                if text is not None:
                    block[tag] = text
            block[0x0112] = 1 + (i + j) % 8
            own = block.get_ifd(0x8769)
            own.update(date)
            yield block.tobytes()


def test_camera_notes(tmp_path, probe):
    """Date, maker and model as Pillow reads them, in every format and from damaged blocks too."""
    rng = np.random.default_rng(12)
    image = Image.fromarray(picture(rng, 30, 20))
    paths = []

    def add(content, suffix):
        paths.append(tmp_path / f"{len(paths)}{suffix}")
        paths[-1].write_bytes(content)

    for block in photograph_blocks():
        for format in ("JPEG", "PNG", "WEBP"):
            add(saved(image, format, exif=block), f".{format.lower()}")
        for _ in range(8):  # damage behind the header, so that Pillow still takes it for EXIF
            damaged = bytearray(block)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(14, len(damaged))] = rng.integers(256)
            add(saved(image, "JPEG", exif=bytes(damaged)), ".jpg")
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("".join(json.dumps({"image": str(path), "op": "notes"}) + "\n" for path in paths))
    printed = [json.loads(line) for line in probe("image", jobs, tmp_path / "none.safetensors").splitlines()]
    assert [line.pop("job") for line in printed] == list(range(len(paths)))
    wrong, refused = [], 0
    for path, got in zip(paths, printed, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = camera_notes(path)
            except Exception:  # Pillow gives up on some damage
                refused += 1
                continue
        if got != expected:
            wrong.append((path.name, got, expected))
    assert not wrong, wrong[:5]
    assert refused < len(paths) / 10


def test_jpeg(jobs):
    rng = np.random.default_rng(1)
    sizes = [(1, 1), (7, 5), (8, 8), (17, 33), (40, 23), (64, 48), (100, 75), (3, 90), (127, 65)]
    for size in sizes:
        rgb = Image.fromarray(picture(rng, *size))
        cmyk = Image.fromarray(picture(rng, *size, 4), mode="CMYK")
        for progressive in (False, True):
            for options in (
                {"subsampling": 0, "quality": 90},
                {"subsampling": 1, "quality": 75},
                {"subsampling": 2, "quality": 50},
                {"subsampling": 2, "quality": 95, "optimize": True},
                {"subsampling": 1, "quality": 30, "restart_marker_blocks": 2},
                {"subsampling": 2, "quality": 85, "restart_marker_rows": 1},
                {"keep_rgb": True, "quality": 80},
            ):
                jobs.decode(saved(rgb, "JPEG", progressive=progressive, **options), ".jpg")
            grey = rgb.convert("L")
            jobs.decode(saved(grey, "JPEG", progressive=progressive, quality=70), ".jpg")
            jobs.decode(saved(cmyk, "JPEG", progressive=progressive, quality=80), ".jpg")
        for orientation in range(10):
            jobs.decode(saved(rgb, "JPEG", exif=exif(orientation)), ".jpg")
            jobs.decode(saved(rgb, "PNG", exif=exif(orientation)), ".png")
            jobs.decode(saved(rgb, "WEBP", exif=exif(orientation), lossless=True), ".webp")
    jobs.check()


def test_jpeg_patched_headers(jobs):
    """Sampling factors and colour transforms that Pillow does not write."""
    rng = np.random.default_rng(2)
    for progressive in (False, True):
        image = Image.fromarray(picture(rng, 64, 64))
        file = saved(image, "JPEG", subsampling=1, progressive=progressive)
        sof = file.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        for luma in (b"\x12", b"\x21"):  # 4:4:0 and 4:2:2
            jobs.decode(file[: sof + 11] + luma + file[sof + 12 :], ".jpg")
        cmyk = saved(Image.fromarray(picture(rng, 50, 31, 4), mode="CMYK"), "JPEG")
        adobe = cmyk.index(b"Adobe")
        for transform in (b"\0", b"\2"):  # CMYK and YCCK
            jobs.decode(cmyk[: adobe + 11] + transform + cmyk[adobe + 12 :], ".jpg")
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    jobs.decode(saved(image, "JPEG", xmp=xmp), ".jpg")
    jobs.decode(saved(image, "WEBP", xmp=xmp), ".webp")
    jobs.check()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, depth):
    """Rows of samples [h, w, channels] as PNG stores them, with filters 0 to 4 in turn."""
    rows = []
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            rows.append(flat.astype(">u2").tobytes())
        elif depth == 8:
            rows.append(flat.astype(np.uint8).tobytes())
        else:
            bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            rows.append(np.packbits(bits.reshape(-1)).tobytes())
    return rows


def png(samples, depth, colour, interlaced=False, chunks=(), late=()):
    height, width, _ = samples.shape
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
    else:
        parts = [samples]
    data = b"".join(b"\0" + row for part in parts if part.size for row in packed(part, depth))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(data)), *late]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def test_png(jobs):
    rng = np.random.default_rng(3)
    kinds = {0: ((1, 2, 4, 8, 16), 1), 2: ((8, 16), 3), 4: ((8, 16), 2), 6: ((8, 16), 4)}
    for width, height in ((1, 1), (5, 3), (9, 8), (33, 17), (8, 40)):
        for interlaced in (False, True):
            for colour, (depths, channels) in kinds.items():
                for depth in depths:
                    samples = rng.integers(0, 1 << depth, (height, width, channels))
                    if depth == 16 and colour == 0:
                        samples //= rng.integers(1, 400)
                    jobs.decode(png(samples, depth, colour, interlaced), ".png")
                    if colour in (0, 2):
                        for at in samples[-1, -1], samples[0, 0] & 0xFF:
                            trns = chunk(b"tRNS", np.asarray(at).astype(">u2").tobytes())
                            jobs.decode(png(samples, depth, colour, interlaced, [trns]), ".png")
            for depth in (1, 2, 4, 8):
                samples = rng.integers(0, 1 << depth, (height, width, 1))
                entries = min(1 << depth, 200)
                plte = chunk(b"PLTE", rng.bytes(3 * entries))
                jobs.decode(png(np.minimum(samples, entries - 1), depth, 3, interlaced, [plte]), ".png")
                for alphas in (b"\0", b"\xff\0", rng.bytes(min(entries, 50))):
                    trns = chunk(b"tRNS", alphas[:entries])
                    jobs.decode(png(samples, depth, 3, interlaced, [plte, trns]), ".png")
    samples = picture(rng, 20, 11)
    tiff = exif(6)[6:]
    jobs.decode(png(samples, 8, 2, late=[chunk(b"eXIf", tiff)]), ".png")
    profile = b"\nexif\n%8d\n" % len(exif(8)) + exif(8).hex().encode() + b"\n"
    key = b"Raw profile type exif\0"
    jobs.decode(png(samples, 8, 2, chunks=[chunk(b"tEXt", key + profile)]), ".png")
    jobs.decode(png(samples, 8, 2, chunks=[chunk(b"zTXt", key + b"\0" + zlib.compress(profile))]), ".png")
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x><tiff:Orientation>3</tiff:Orientation></x>"
    jobs.decode(png(samples, 8, 2, chunks=[chunk(b"iTXt", xmp)]), ".png")
    for mode in ("L", "LA", "RGB", "RGBA", "P"):  # Pillow's own filters
        for size in ((64, 48), (31, 77)):
            jobs.decode(saved(Image.fromarray(picture(rng, *size, 4)).convert(mode), "PNG"), ".png")
    jobs.check()


def directory(entries, order="<", magic=42, padding=b""):
    """An EXIF block of one directory: (tag, type, count, the value's bytes)."""
    head = b"II" if order == "<" else b"MM"
    block = struct.pack(order + "HI", magic, 8) + struct.pack(order + "H", len(entries))
    place, apart = 8 + 2 + 12 * len(entries) + 4, b""
    for tag, kind, count, value in entries:
        block += struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            block += value.ljust(4, b"\0")
        else:
            block += struct.pack(order + "I", place + len(apart))
            apart += value
    return b"Exif\0\0" + head + block + bytes(4) + apart + padding


def exif_blocks(rng):
    """EXIF blocks with every type and number of values, in both byte orders, and broken ones."""
    codes = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii"}
    codes |= {11: "f", 12: "d", 13: "I", 16: "Q"}
    for order in "<>":
        for kind, code in codes.items():
            for count in (0, 1, 2, 3, 5):
                numbers = [int(n) for n in rng.integers(0, 9, count * len(code))]
                if len(code) == 2:  # rationals: whole numbers, and some that are not
                    numbers[1::2] = [int(rng.integers(0, 3)) for _ in numbers[1::2]]
                value = struct.pack(order + code[0] * len(numbers), *numbers)
                yield directory([(0x0112, kind, count, value)], order)
        six, three = struct.pack(order + "H", 6), struct.pack(order + "H", 3)
        yield directory([(0x0112, 3, 1, six), (0x0112, 3, 1, three)], order)  # the first counts
        yield directory([(0x0112, 99, 1, six), (0x0112, 3, 1, three)], order)  # of a type that is known
        yield directory([(0x0112, 3, 0, six), (0x0112, 3, 1, three)], order)  # and not empty
        long = (0x010E, 2, 60, b"a" * 60)
        yield directory([long, (0x0112, 3, 1, six)], order)
        yield directory([(0x010E, 2, 60000, b"a" * 60), (0x0112, 3, 1, six)], order)  # claims too much
        yield directory([(0x0112, 3, 200, six * 200), (0x0112, 3, 1, three)], order)
        yield directory([long, (0x0112, 3, 1, six)], order)[:70]  # its value is missing
        yield directory([(0x0112, 3, 1, six)], order, magic=42 << 8)
        for size in (7, 9, 13, 16, 24):
            yield directory([(0x0112, 3, 1, six)], order)[:size]
        yield directory([(0x0112, 3, 1, six)], order)[:6] + directory([(0x0112, 3, 1, six)], order)
    yield directory([])
    yield b"Exif\0\0"


def xmp_of(orientation):
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def test_orientation(jobs):
    """Wherever EXIF and XMP stand, and whatever is in them, as exif_transpose turns the picture."""
    rng = np.random.default_rng(8)
    samples = picture(rng, 9, 5)
    rgb = Image.fromarray(samples)
    blocks = list(exif_blocks(rng))
    compared = 0
    for number, block in enumerate(blocks):
        for xmp in (None, xmp_of(8)):
            extra = [] if xmp is None else [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)]
            options = {} if xmp is None else {"xmp": xmp}
            key = b"Raw profile type exif\0"
            profile = key + b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
            other = blocks[number - 1][6:]
            files = [
                (saved(rgb, "JPEG", exif=block, **options), ".jpg"),
                (saved(rgb, "WEBP", exif=block, lossless=True, **options), ".webp"),
                (png(samples, 8, 2, chunks=extra, late=[chunk(b"eXIf", block[6:])]), ".png"),
                (png(samples, 8, 2, chunks=[*extra, chunk(b"tEXt", profile)]), ".png"),
                (png(samples, 8, 2, False, [chunk(b"eXIf", other), *extra], [chunk(b"eXIf", block[6:])]), ".png"),
                (png(samples, 8, 2, chunks=[chunk(b"eXIf", other), chunk(b"tEXt", profile), *extra]), ".png"),
            ]
            for content, suffix in files:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what is broken in them
                    try:
                        jobs.decode(content, suffix)
                        compared += 1
                    except (SyntaxError, struct.error, ValueError):  # Pillow takes no such block
                        pass
    assert compared > 1800
    for a, b in ((3, 6), (6, 3)):  # of two texts with one key the last
        late = [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_of(n)) for n in (a, b)]
        jobs.decode(png(samples, 8, 2, late=late), ".png")
    webp = bytearray(saved(rgb, "WEBP", exif=exif(6), xmp=xmp_of(3), lossless=True))
    assert webp[12:16] == b"VP8X"
    for flags in range(0, 16, 4):  # a chunk that the header does not announce
        webp[20] = webp[20] & ~12 | flags
        jobs.decode(bytes(webp), ".webp")
    jobs.check()


def test_sixteen_bit_grey(jobs):
    """cut is Pillow's way (test_png); scale gives what the same shades give as 16-bit colours."""
    rng = np.random.default_rng(9)
    for interlaced in (False, True):
        grey = rng.integers(0, 65536, (37, 41, 1))
        trns = chunk(b"tRNS", grey[3, 4].astype(">u2").tobytes())
        same = (grey == grey[3, 4]).repeat(3, 2)
        colours = np.asarray(upright_rgb(io.BytesIO(png(grey.repeat(3, 2), 16, 2, interlaced))))
        for chunks, expected in (((), colours), ([trns], np.where(same, 255, colours))):
            path = jobs.file(png(grey, 16, 0, interlaced, chunks), ".png")
            jobs.add(path, expected, op="decode", sixteen_bit="scale")
    jobs.check()


def test_alpha_in_transformers(tmp_path):
    """What docs/published.md says of transformers: a PIL image over white, a path without its alpha."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    processor = BlipImageProcessorPil(do_resize=False, do_rescale=False, do_normalize=False)
    clear = Image.new("RGBA", (3, 2), (0, 0, 0, 0))  # black, unseen
    clear.putpixel((0, 0), (10, 20, 30, 255))
    clear.save(tmp_path / "a.png", exif=exif(6))
    given = processor(Image.open(tmp_path / "a.png"), return_tensors="np")["pixel_values"][0]
    assert given.shape == (3, 2, 3)  # not turned
    assert given[:, 0, 0].tolist() == [10, 20, 30] and given[:, 1, 1].tolist() == [255] * 3
    by_path = processor(processor.fetch_images(str(tmp_path / "a.png")), return_tensors="np")["pixel_values"][0]
    assert by_path.shape == (3, 3, 2)  # turned
    assert by_path[:, 0, 1].tolist() == [10, 20, 30] and by_path[:, 1, 1].tolist() == [0] * 3


def test_webp(jobs):
    rng = np.random.default_rng(4)
    for size in ((1, 1), (2, 3), (17, 9), (64, 64), (75, 100), (33, 128)):
        for channels in (3, 4):
            image = Image.fromarray(picture(rng, *size, channels))
            for options in (
                {"quality": 5},
                {"quality": 80},
                {"quality": 100, "method": 0},
                {"lossless": True},
                {"lossless": True, "exact": True},
                {"quality": 60, "alpha_quality": 20},
            ):
                jobs.decode(saved(image, "WEBP", **options), ".webp")
            frames = [Image.fromarray(picture(rng, *size, channels)) for _ in range(3)]
            for lossless in (False, True):
                animation = {"save_all": True, "append_images": frames, "lossless": lossless}
                jobs.decode(saved(image, "WEBP", **animation), ".webp")
    jobs.check()


def test_resize(jobs):
    rng = np.random.default_rng(5)
    filters = {
        "bicubic": Image.Resampling.BICUBIC,
        "bilinear": Image.Resampling.BILINEAR,
        "lanczos": Image.Resampling.LANCZOS,
        "box": Image.Resampling.BOX,
    }
    targets = [(224, 224), (64, 64), (1, 1), (7, 300), (96, 31), (31, 1)]
    for size in ((1, 1), (2, 3), (64, 64), (72, 72), (17, 150), (224, 100), (500, 375), (640, 33)):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        for pixels in (pixels, picture(rng, *size), (pixels > 127).astype(np.uint8) * 255):
            image = Image.fromarray(pixels)
            path = jobs.file(saved(image, "PNG", compress_level=1), ".png")
            for target in (*targets, size, (size[0], 50), (50, size[1])):
                for name, filter in filters.items():
                    if name in ("lanczos", "box") and target[0] != 96:
                        continue
                    job = {"op": "resize", "filter": name, "width": target[0], "height": target[1]}
                    jobs.add(path, image.resize(target, filter), **job)
                x, y = sorted(rng.uniform(0, size[0], 2)), sorted(rng.uniform(0, size[1], 2))
                box = [x[0], y[0], x[1], y[1]]
                if rng.integers(2):
                    box = [int(x[0]), int(y[0]), int(x[1]) + 1, int(y[1]) + 1]
                    box = [*box[:2], min(box[2], size[0]), min(box[3], size[1])]
                expected = image.resize(target, Image.Resampling.BICUBIC, box=box)
                job = {"op": "resize", "filter": "bicubic", "box": box}
                jobs.add(path, expected, width=target[0], height=target[1], **job)
    jobs.check()


def test_preprocess(jobs):
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    rng = np.random.default_rng(6)
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    crop = {"do_center_crop": True}
    processors = [
        BlipImageProcessorPil(),
        BlipImageProcessorPil(size={"height": 224, "width": 224}, resample=2, **imagenet),
        BlipImageProcessorPil(size={"height": 50, "width": 90}, do_normalize=False),
        BlipImageProcessorPil(size={"height": 60, "width": 80}, do_rescale=False),
        CLIPImageProcessorPil(),
        CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 64, "width": 33}),
        CLIPImageProcessorPil(size={"height": 256, "width": 250}, **crop, **imagenet),
    ]
    for i, processor in enumerate(processors):
        folder = jobs.folder / f"processor{i}"
        processor.save_pretrained(folder)
        config = folder / "preprocessor_config.json"
        for size in ((64, 64), (300, 200), (41, 97), (1, 1)):
            for suffix, channels in ((".png", 4), (".jpg", 3)):
                image = Image.fromarray(picture(rng, *size, channels))
                path = jobs.file(saved(image, "PNG" if channels == 4 else "JPEG"), suffix)
                expected = processor(ImageOps.exif_transpose(Image.open(path)), return_tensors="np")
                jobs.add(path, expected["pixel_values"][0], op="preprocess", config=str(config))
    jobs.check()
    for i, processor in enumerate(processors):  # what we write means the same to transformers
        saved_by_us = jobs.folder / f"processor{i}" / "preprocessor_config.json.saved"
        again = type(processor)(**json.loads(saved_by_us.read_text()))
        image = Image.fromarray(picture(rng, 100, 70))
        a, b = (p(image, return_tensors="np")["pixel_values"] for p in (processor, again))
        assert np.array_equal(a, b)


ASPECTS = [(64, 64), (300, 200), (97, 41), (1, 1), (5, 700), (640, 13), (333, 500), (224, 225)]
NAFLEX = [{}, {"max_num_patches": 64}, {"patch_size": 14, "max_num_patches": 100, "resample": 3},
          {"patch_size": 4, "max_num_patches": 7, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.2, 0.1]},
          {"max_num_patches": 1, "do_normalize": False}]


def naflex_picture(outputs, patch):
    """The picture [3, H, W] whose patches a Siglip2ImageProcessor gives, without the padding."""
    rows, columns = (int(n) for n in outputs["spatial_shapes"][0])
    mask = np.asarray(outputs["pixel_attention_mask"][0])
    assert mask.sum() == rows * columns and mask[: rows * columns].all()
    patches = np.asarray(outputs["pixel_values"][0])[: rows * columns]
    picture = patches.reshape(rows, columns, patch, patch, 3).transpose(4, 0, 2, 1, 3)
    return np.ascontiguousarray(picture.reshape(3, rows * patch, columns * patch))


def test_patches_of_any_aspect(jobs):
    """SigLIP 2's NaFlex as its PIL-backed processor makes it: sides and every value."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    rng = np.random.default_rng(12)
    for i, keys in enumerate(NAFLEX):
        processor = Siglip2ImageProcessorPil(**keys)
        processor.save_pretrained(jobs.folder / f"naflex{i}")
        config = jobs.folder / f"naflex{i}" / "preprocessor_config.json"
        for size in ASPECTS + [tuple(int(n) for n in rng.integers(1, 900, 2)) for _ in range(12)]:
            path = jobs.file(saved(Image.fromarray(picture(rng, *size)), "PNG"), ".png")
            expected = naflex_picture(processor(Image.open(path), return_tensors="np"), processor.patch_size)
            jobs.add(path, expected, op="preprocess", config=str(config))
    jobs.check()
    for i, keys in enumerate(NAFLEX):  # what we write means the same to transformers
        written = (jobs.folder / f"naflex{i}" / "preprocessor_config.json.saved").read_text()
        again = Siglip2ImageProcessorPil(**json.loads(written))
        image = Image.fromarray(picture(rng, 100, 70))
        a, b = (p(image, return_tensors="np")["pixel_values"] for p in (Siglip2ImageProcessorPil(**keys), again))
        assert np.array_equal(a, b)


def test_crops_of_long_pictures(jobs):
    """Only what a crop keeps is resampled, to the very values of the whole."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    rng = np.random.default_rng(10)
    sizes = [(3, 500), (500, 3), (40, 900), (900, 40), (1, 200), (700, 1), (64, 64), (30, 31)]
    for i, (edge, crop) in enumerate((((24, (24, 24)), (24, (10, 37)), (50, (24, 60)), (7, (8, 8))))):
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": edge}, crop_size={"height": crop[0], "width": crop[1]}
        )
        processor.save_pretrained(jobs.folder / str(i))
        config = str(jobs.folder / str(i) / "preprocessor_config.json")
        for size in sizes:
            image = Image.fromarray(picture(rng, *size))
            path = jobs.file(saved(image, "PNG"), ".png")
            expected = processor(image, return_tensors="np")["pixel_values"][0]
            jobs.add(path, expected, op="preprocess", config=config)
    jobs.check()


@pytest.fixture(scope="session")
def torchvision():
    """The folder of torchvision, apart from the packages: BLIP2_TORCHVISION or .venv/torchvision."""
    folder = pathlib.Path(__file__).resolve().parents[2] / ".venv" / "torchvision"
    folder = pathlib.Path(os.environ.get("BLIP2_TORCHVISION", folder))
    if not (folder / "torchvision").is_dir():
        pytest.fail(f"{folder} has no torchvision: run tools/setup.sh test")
    return folder


def test_torchvision_processor(jobs, torchvision):
    """"processor": "torchvision" gives what transformers' default backend gives, every value."""
    rng = np.random.default_rng(11)
    rgb = {"do_convert_rgb": True}  # some leave out by default what all others do
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    processors = [
        ("BlipImageProcessor", {}),
        ("BlipImageProcessor", {"size": {"height": 64, "width": 64}}),
        ("BlipImageProcessor", {"size": {"height": 37, "width": 90}, "resample": 2, **imagenet}),
        ("BlipImageProcessor", {"size": {"height": 41, "width": 30}, "resample": 1}),
        ("BlipImageProcessor", {"size": {"height": 50, "width": 90}, "do_normalize": False}),
        ("BlipImageProcessor", {"size": {"height": 60, "width": 80}, "do_rescale": False}),
        ("CLIPImageProcessor", {}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 64, "width": 33}}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 41}, "crop_size": {"height": 20, "width": 51}}),
        ("Siglip2ImageProcessor", rgb),
        ("Siglip2ImageProcessor", NAFLEX[2] | rgb),
        ("DINOv3ViTImageProcessor", rgb),
        ("DINOv3ViTImageProcessor", {"size": {"height": 96, "width": 96}, "resample": 3, **rgb}),
    ]
    configs = []
    for i, (_, keys) in enumerate(processors):
        cropped = {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}}
        own = {"Blip": {"size": {"height": 384, "width": 384}}, "CLIP": cropped}.get(processors[i][0][:4], {})
        path = jobs.folder / f"config{i}.json"
        path.write_text(json.dumps({"image_processor_type": processors[i][0], **own, **keys,
                                    "processor": "torchvision"}))
        configs.append(str(path))
    sizes = [(1, 1), (2, 3), (64, 64), (384, 384), (640, 480), (333, 500), (29, 300), (411, 17), (90, 37)]
    sizes += [tuple(int(n) for n in rng.integers(1, 700, 2)) for _ in range(60)]
    reference = []
    for number, size in enumerate(sizes):
        pixels = picture(rng, *size, 4 if number % 7 == 0 else 3)
        if number % 3 == 1:
            pixels = rng.integers(0, 256, pixels.shape, np.uint8)
        if number % 3 == 2:
            pixels = (pixels > 127).astype(np.uint8) * 255
        image = jobs.folder / f"picture{number}.png"
        Image.fromarray(pixels).save(image, exif=exif(1 + number % 8))
        for config, (name, keys) in zip(configs, processors):
            reference.append({"processor": name, "config": keys, "image": str(image)})
            jobs.jobs.append({"image": str(image), "op": "preprocess", "config": config})
    (jobs.folder / "reference.jsonl").write_text("".join(json.dumps(j) + "\n" for j in reference))
    arguments = [jobs.folder / "reference.jsonl", jobs.folder / "reference.npz"]
    program = pathlib.Path(__file__).with_name("torchvision_reference.py")
    environment = os.environ | {"PYTHONPATH": str(torchvision)}
    done = subprocess.run([sys.executable, program, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    arrays = np.load(arguments[1])
    for i, job in enumerate(reference):
        if job["processor"].startswith("DINOv3"):  # which resizes floats: sums round as the machine adds
            jobs.rounding[i] = 5e-6
        if job["processor"].startswith("Siglip2"):
            names = ("pixel_values", "pixel_attention_mask", "spatial_shapes")
            outputs = {name: arrays[f"{i} {name}"][None] for name in names}
            jobs.expected.append(naflex_picture(outputs, job["config"].get("patch_size", 16)))
        else:
            jobs.expected.append(arrays[str(i)])
    jobs.check()


def test_written_png(jobs):
    rng = np.random.default_rng(7)
    for size in ((1, 1), (64, 64), (101, 57)):
        image = Image.fromarray(picture(rng, *size))
        jobs.add(jobs.file(saved(image, "PNG"), ".png"), image, op="reencode")
    jobs.check()
