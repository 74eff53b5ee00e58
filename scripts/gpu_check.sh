#!/usr/bin/env bash
# Parity and speed on a machine with an NVIDIA GPU; writes a Markdown table.
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
U2ZOO_GPU=required PYTHONPATH=$PWD "$python" -m pytest -n 0 -q parity_tests/models/test_gpu.py
PYTHONPATH=$PWD "$python" -m u2net_zoo bench "$weights" --device cuda --runs 30 --markdown "$out"
