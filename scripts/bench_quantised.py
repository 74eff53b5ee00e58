"""What reduced precision does to masks, files and speed: a table over formats and precisions.

    python scripts/bench_quantised.py weights.pth photographs/ [--only coreml:int8,onnx:int8] [--out folder] [--speed]

Every artifact is run by its format's own runtime (Core ML's off macOS by the evaluator) on all photographs and compared
with Torch's masks in float32: mean and lowest IoU at 0.5, mean absolute difference. Sizes are relative to the same
format in fp32. `--out`: a folder where artifacts are kept; one that lies there already is measured, not made again.
`--speed`: CPU seconds of one run, the format's fp32 and this one in alternation on one thread, medians of 15.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT = "coreml:fp16,coreml:int8,coreml:palette8,coreml:palette6,coreml:palette4,onnx:fp16,onnx:int8,tflite:int8"
ROUNDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--only", default=DEFAULT, help="format:precision, separated by commas")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args.source, args.photographs, args.size, args.out or Path(scratch))
        rows = []
        for name, precision in (item.split(":") for item in args.only.split(",")):
            rows.append(bench.row(name, precision, args.speed))
            print(line(rows[-1]), file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print(json.dumps({"processor": features(), "rows": rows}, indent=2))


def line(row: dict[str, Any]) -> str:
    speed = f"  {row['speed']:.2f}x" if "speed" in row else ""
    return (
        f"{row['format']:<8} {row['precision']:<9} IoU {row['iou']:.4f} worst {row['worst']:.4f} "
        f"MAE {row['mae']:.5f}  size {row['size']:.3f} of fp32{speed}"
    )


def features() -> list[str]:
    """What this processor has for int8; without VNNI int8 gains least."""
    from u2net_zoo.system import features as known

    flags = known()
    return [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]


class Bench:
    def __init__(self, source: Path, photographs: Path, size: int, out: Path):
        from converters.loading import read_source, stem_of
        from converters.sample_images import listed
        from converters.torch_predictor import TorchPredictor
        from u2net_zoo.preprocessing import PROFILES, read_image

        self.checkpoint, self.stem, self.size, self.out = read_source(source), stem_of(source), (size, size), out
        self.inputs = [PROFILES["paper"].tensor(read_image(file), self.size) for file in listed(photographs)]
        exact = TorchPredictor(self.checkpoint)
        self.masks = [exact(x)["mask"][0] for x in self.inputs]

    def artifact(self, name: str, precision: str) -> Path:
        from converters import FORMATS, Options, convert

        fmt = FORMATS[name]
        path = fmt.target(self.out, f"{self.stem}-{precision}")
        if not path.exists():
            options = Options(size=self.size, precision=precision, io="tensor")
            convert(self.checkpoint, name, self.out, name=f"{self.stem}-{precision}", options=options)
        return path

    def row(self, name: str, precision: str, speed: bool) -> dict[str, Any]:
        from converters import FORMATS
        from converters.mask_errors import MaskErrors

        fmt, path, full = FORMATS[name], self.artifact(name, precision), self.artifact(name, "fp32")
        predictor = fmt.run(path)
        found = MaskErrors.of([(predictor(x)["mask"][0], m) for x, m in zip(self.inputs, self.masks, strict=True)])
        row = {"format": name, "precision": precision, "iou": found.iou, "worst": found.worst, "mae": found.mae}
        row["size"] = weight(fmt, path) / weight(fmt, full)
        return row | (alternated(fmt.run(full), predictor, self.inputs[0]) if speed else {})


def weight(fmt: Any, path: Path) -> int:
    return sum(file.stat().st_size for file in fmt.files(path))


def alternated(full: Any, reduced: Any, x: np.ndarray) -> dict[str, float]:
    """Median CPU seconds of both, run in turns, and how often faster the second is."""
    for predictor in (full, reduced):
        single_threaded(predictor)
    times: dict[str, list[float]] = {"fp32_s": [], "seconds": []}
    for _ in range(ROUNDS + 1):
        for key, predictor in (("fp32_s", full), ("seconds", reduced)):
            start = time.process_time()  # what other programs take does not count
            predictor(x)
            times[key].append(time.process_time() - start)
    medians = {key: statistics.median(values[1:]) for key, values in times.items()}
    return medians | {"speed": medians["fp32_s"] / medians["seconds"]}


def single_threaded(predictor: Any) -> None:
    """onnxruntime takes every core otherwise, and a core that others use too spoils the comparison."""
    if hasattr(predictor, "session"):
        from converters.formats.onnx_reports import unreported_onnxruntime

        onnxruntime = unreported_onnxruntime()
        predictor.options.intra_op_num_threads = 1
        predictor.session = onnxruntime.InferenceSession(
            str(predictor.path), predictor.options, providers=["CPUExecutionProvider"]
        )


if __name__ == "__main__":
    main()
