"""The predictive codec beside JPEG XL, WebP and JPEG 2000: rate and time on a folder of images.

    python bench/predictive.py --images ../shared/data/kodak --json bench/results/predictive.json

CPU seconds in one thread, all codecs in one run; of each image the lesser of two runs. Rates are
bits per sample of complete files (for ours: of the container).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

import nc_core
from nc_core.images import image_files, read_image

SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
Codec = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], Any]]
MARKS = {"bits_per_sample": 3.10, "encode_speed_over_jpegxl_7": 5.0}


def codecs(plugins: Any) -> dict[str, Codec]:
    return {
        "JPEG XL, effort 7": (
            lambda a: imagecodecs.jpegxl_encode(a, lossless=True, effort=7, numthreads=1),
            lambda d: imagecodecs.jpegxl_decode(d, numthreads=1),
        ),
        "JPEG XL, effort 3": (
            lambda a: imagecodecs.jpegxl_encode(a, lossless=True, effort=3, numthreads=1),
            lambda d: imagecodecs.jpegxl_decode(d, numthreads=1),
        ),
        "WebP lossless": (
            lambda a: imagecodecs.webp_encode(a, lossless=True, level=100),
            imagecodecs.webp_decode,
        ),
        "JPEG 2000": (
            lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, level=0, numthreads=1),
            lambda d: imagecodecs.jpeg2k_decode(d, numthreads=1),
        ),
        "predictive": (
            lambda a: nc_core.compress(a, verify=False, plugins=plugins).data,
            lambda d: nc_core.decompress(d, plugins=plugins),
        ),
    }


def least_seconds(work: Callable[[], Any], runs: int = 2) -> tuple[float, Any]:
    best, result = float("inf"), None
    for _ in range(runs):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def measure(name: str, codec: Codec, images: list[np.ndarray]) -> dict[str, Any]:
    encode, decode = codec
    decode(encode(images[0]))  # compile, allocate
    rates, encoding, decoding = [], 0.0, 0.0
    for image in images:
        seconds, data = least_seconds(lambda image=image: encode(image))
        encoding += seconds
        seconds, back = least_seconds(lambda data=data: decode(data))
        decoding += seconds
        if not np.array_equal(back, image):
            raise SystemExit(f"{name}: not lossless")
        rates.append(8 * len(data) / image.size)
    return {
        "codec": name,
        "bits_per_sample": float(np.mean(rates)),
        "encode_seconds": encoding / len(images),
        "decode_seconds": decoding / len(images),
    }


def first_use() -> float:
    """Seconds that the first photograph costs more than the second, in a fresh process."""
    import subprocess
    import sys

    program = (
        "import time, numpy as np, nc_core\n"
        "image = np.random.default_rng(0).integers(0, 9, (64, 64, 3)).astype('u1')\n"
        "for _ in range(2):\n"
        "    start = time.process_time(); nc_core.compress(image)\n"
        "    print(time.process_time() - start)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
    first, second = map(float, done.stdout.split())
    return first - second


def main() -> None:
    from nc_core.models import installed

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=SHARED / "data" / "kodak")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    images = [read_image(path).pixels for path in image_files(arguments.images)]
    rows = [measure(name, codec, images) for name, codec in codecs(installed()).items()]
    ours = next(row for row in rows if row["codec"] == "predictive")
    for row in rows:
        row["encode_speed_ours"] = row["encode_seconds"] / ours["encode_seconds"]
        row["decode_speed_ours"] = row["decode_seconds"] / ours["decode_seconds"]
    rows.sort(key=lambda row: row["bits_per_sample"])
    print(f"{len(images)} images of {arguments.images.name}; CPU seconds per image, one thread")
    for row in rows:
        print(
            f"{row['codec']:20} {row['bits_per_sample']:.4f} bits/sample"
            f"  encode {row['encode_seconds']:.3f} s ({row['encode_speed_ours']:.2f} x ours)"
            f"  decode {row['decode_seconds']:.3f} s ({row['decode_speed_ours']:.2f} x ours)"
        )
    extra = first_use()
    print(f"the first image costs {extra:.1f} s of CPU more than the second (compiling)")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"images": len(images), "rows": rows, "compile_seconds": extra, "marks": MARKS}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
        with arguments.json.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
