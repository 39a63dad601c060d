"""Where the shared real data lies, and one thread per test so that timings of neighbours do not matter."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get("SEGSTILL_SHARED", Path(__file__).parents[2] / "shared"))
CAMVID = SHARED / "data" / "camvid"
WEIGHTS = SHARED / "data" / "weights"
GOLDEN = Path(__file__).parent / "golden"  # small excerpts; the complete files are in SHARED / "golden"

needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason=f"needs the CamVid data set in {CAMVID}")
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"needs the pretrained weights in {WEIGHTS}")

torch.set_num_threads(1)
