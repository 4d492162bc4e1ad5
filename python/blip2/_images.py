"""Pictures as people have them, turned into the bytes of a picture file and a name for messages."""

import os

import numpy as np

from . import _native


def encoded(image):
    """(bytes of a picture file, name) of a path, the bytes of a file, a PIL picture or an array."""
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        with open(path, "rb") as file:
            return file.read(), os.fsdecode(path)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image), "picture"
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        return _native.png_of(_of_pil(image)), "PIL picture"
    if hasattr(image, "__dlpack__") or hasattr(image, "__array__"):
        return _native.png_of(_of_array(image)), "array"
    raise TypeError(f"expected a picture (a path, the bytes of a file, a PIL picture, or an array of numpy, torch or "
                    f"DLPack), got {type(image).__name__}")


def is_one(image):
    """Whether it is one picture and not a list of pictures."""
    return not isinstance(image, (list, tuple))


def _of_pil(image):
    """Upright, and with alpha over white, as the same picture's file is read."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.ascontiguousarray(image.convert("RGB"))


def _of_array(array):
    """[H, W, 3], [3, H, W], [H, W, 1], [1, H, W] or [H, W]; bytes, or numbers from 0 to 1."""
    given = np.asarray(array) if hasattr(array, "__array__") else np.from_dlpack(array)
    pixels = given
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3:
        raise ValueError(f"expected a picture of 2 or 3 dimensions, got the shape {given.shape}; a batch is a list")
    if pixels.shape[2] not in (1, 3) and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.shape[2] not in (1, 3):
        raise ValueError(f"expected 1 or 3 channels, first or last, got the shape {given.shape}")
    if pixels.dtype != np.uint8:
        pixels = _bytes_of(pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _bytes_of(numbers):
    if not np.issubdtype(numbers.dtype, np.floating):
        raise TypeError(f"expected bytes (uint8) or numbers from 0 to 1, got the type {numbers.dtype}")
    numbers = numbers.astype(np.float32)
    if not (numbers.min(initial=0) >= 0 and numbers.max(initial=0) <= 1):
        raise ValueError(f"expected numbers from 0 to 1, got {numbers.min()} to {numbers.max()}; give bytes (uint8), or "
                         "pixels that are not normalised")
    return np.rint(numbers * 255).astype(np.uint8)
