"""torchvision_reference JOBS.jsonl OUT.npz: pixel values of transformers' torchvision-backed processors.

A line of JOBS is {"processor": class, "config": its keys, "image": path}; OUT has "0", "1", …, and of a processor with
more outputs "0 name". It is a
program of its own, as transformers takes other ways wherever torchvision can be imported.
"""

import json
import sys

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps

# torchvision's operators are compiled for one build of torch and may not load with this one; then
# only their names have to be there, as processors resize with torch itself.
try:
    import torchvision  # noqa: F401
except RuntimeError:
    names = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def main(jobs, out):
    arrays, processors = {}, {}
    for number, line in enumerate(open(jobs)):
        job = json.loads(line)
        key = json.dumps([job["processor"], job["config"]])
        if key not in processors:
            processors[key] = getattr(transformers, job["processor"])(**job["config"])
        processor = processors[key]
        assert processor.backend == "torchvision"
        image = ImageOps.exif_transpose(Image.open(job["image"]))
        outputs = processor(image, return_tensors="np")
        arrays[str(number)] = outputs["pixel_values"][0]
        if len(outputs) > 1:  # Siglip2ImageProcessor's mask and sides
            arrays.update({f"{number} {name}": value[0] for name, value in outputs.items()})
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
