"""Writes the first inputs of the picture fuzzer into a folder: small files of every format.

python3 fuzz/image_seeds.py seeds && build-fuzz/fuzz/image -max_len=4000 -timeout=10 found seeds
Needs Pillow 13 and pillow-heif, which the tests' .venv has.
"""

import io
import pathlib
import sys

import pillow_heif
from PIL import Image


def files():
    """(name, bytes) of each: modes, compressions and samplings that decoders treat apart."""
    colours = Image.radial_gradient("L").resize((16, 16))
    colours = Image.merge("RGBA", (colours, colours.rotate(90), colours.rotate(180), colours))
    plain = {
        "jpeg": [("RGB", {}), ("RGB", {"progressive": True}), ("CMYK", {})],
        "png": [("RGBA", {}), ("P", {}), ("1", {})],
        "webp": [("RGBA", {"lossless": True}), ("RGB", {"quality": 60})],
        "gif": [("P", {}), ("L", {"interlace": True})],
        "bmp": [(mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")],
        "tiff": [(mode, {"compression": name}) for mode in ("L", "P", "RGB", "CMYK")
                 for name in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")]
        + [("1", {"compression": "group4"}), ("RGB", {"compression": "jpeg"}), ("YCbCr", {"compression": "jpeg"})],
        "avif": [("RGB", {}), ("RGBA", {"subsampling": "4:4:4"})],
        "heif": [("RGB", {}), ("RGBA", {"chroma": 444}), ("L", {})],
    }
    for format, kinds in plain.items():
        for number, (mode, options) in enumerate(kinds):
            buffer = io.BytesIO()
            colours.convert(mode).save(buffer, format, **options)
            yield f"{format}-{number}", buffer.getvalue()


def main():
    pillow_heif.register_heif_opener()
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
