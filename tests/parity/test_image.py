"""image/ against Pillow 13 and transformers' PIL-backed processors: every value equal."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file


def upright_rgb(source):
    """Pillow's picture upright, with alpha over white as transformers' convert_to_rgb has it."""
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

    def file(self, content, suffix):
        path = self.folder / f"{len(self.jobs)}{suffix}"
        path.write_bytes(content)
        return path

    def add(self, path, expected, **job):
        self.jobs.append({"image": str(path), **job})
        self.expected.append(np.asarray(expected))

    def decode(self, content, suffix):
        self.add(self.file(content, suffix), upright_rgb(io.BytesIO(content)), op="decode")

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
            elif not np.array_equal(got, expected):
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


def test_written_png(jobs):
    rng = np.random.default_rng(7)
    for size in ((1, 1), (64, 64), (101, 57)):
        image = Image.fromarray(picture(rng, *size))
        jobs.add(jobs.file(saved(image, "PNG"), ".png"), image, op="reencode")
    jobs.check()
