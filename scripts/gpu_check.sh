#!/usr/bin/env bash
# Parity, masks and speed on a machine with an NVIDIA GPU; writes a Markdown table.
#
#     scripts/gpu_check.sh [WEIGHTS] [OUT.md]
#
# Takes PYTHON, else the one of .venv, else python3; it needs torch with CUDA and the extra `dev`. What else is
# installed takes part. A GPU that cannot be tested is an error, not a skip.
set -euo pipefail
weights=${1:-u2net_nano}
[ ! -e "$weights" ] || weights=$(realpath "$weights")
out=$(realpath -m "${2:-$(dirname "$0")/../docs/gpu.md}")
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$python" -c 'import torch, sys; sys.exit(0 if torch.cuda.is_available() else "error: this Torch finds no CUDA device")'
export PYTHONPATH=$PWD
U2ZOO_GPU=required "$python" -m pytest -n 0 -q parity_tests/models/test_gpu.py

# A folder through the engines that have CUDA: which is taken is said; onnxruntime-gpu takes part where it is installed.
masks=$(mktemp -d)
trap 'rm -r "$masks"' EXIT
for device in cuda cpu; do
    "$python" -m u2net_zoo mask converters/engines -o "$masks/$device" --model "$weights" --device "$device"
done
"$python" -m u2net_zoo engines
"$python" - "$masks" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from PIL import Image

for path in sorted(Path(sys.argv[1], "cpu").glob("*.png")):
    masks = [np.asarray(Image.open(each), int) for each in (path, Path(sys.argv[1], "cuda", path.name))]
    near = float((np.abs(masks[0] - masks[1]) <= 1).mean())
    print(f"{path.name}: {near:.3%} of pixels within a grey level of the CPU's mask")
    if near < 0.999:
        sys.exit("error: the masks of the GPU are others")
PYTHON

"$python" -m u2net_zoo bench "$weights" --device cuda --runs 30 --markdown "$out"
