#!/usr/bin/env python3
"""Makes tests/goldens/gguf: random blocks of every GGUF type we read, and gguf-py's numbers for them.

Needs numpy and gguf. Seeded; run from the repository's root: python3 tools/make_gguf_goldens.py
TYPE.blocks holds 8 blocks (random bits, finite scales), TYPE.f32 what gguf.quants.dequantize says.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T, quants

OUT = pathlib.Path("tests/goldens/gguf")
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}  # byte offsets of fp16


def main():
    rng = np.random.default_rng(5)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, offsets in SCALES.items():
        kind = T[name]
        numbers, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (8, size), dtype=np.uint8)
        for at in offsets:
            blocks[:, at:at + 2] = rng.normal(0, 0.02, (8, 1)).astype("<f2").view(np.uint8)
        values = quants.dequantize(blocks.reshape(-1), kind).astype("<f4").reshape(-1)
        assert values.size == 8 * numbers and np.isfinite(values).all()
        (OUT / f"{name}.blocks").write_bytes(blocks.tobytes())
        (OUT / f"{name}.f32").write_bytes(values.tobytes())
    (OUT / "MADE_BY").write_text(f"tools/make_gguf_goldens.py; gguf {gguf.__version__ if hasattr(gguf, '__version__') else '0.19'}, numpy {np.__version__}, seed 5\n")


if __name__ == "__main__":
    main()
