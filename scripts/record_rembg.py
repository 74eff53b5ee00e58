"""Records what rembg's own server answers, for parity_tests/serve/test_rembg_clients.py.

    python scripts/record_rembg.py --rembg ~/rembg-venv/bin/rembg

rembg lives in an environment of its own (pip install "rembg[cpu,cli]==2.0.86"), with the Pillow, NumPy and PyMatting
that are here, or the pictures may differ by those. Its network is a formula, see `support.rembg_cases`; and the
bundled one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity_tests"))

from support.rembg_cases import CASES, GOLDENS, NANO_CASE, ask, digest, formula, nano, rembg_server, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rembg", type=Path, required=True, help="rembg's command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = formula(Path(folder) / "formula.onnx")
        other = nano(Path(folder))
        with rembg_server(arguments.rembg, Path(folder), Path(folder) / "log.txt") as base:
            found = {}
            for case in CASES:
                picture = ask(base, case, **_model(case, model))
                found[case.name] = {"size": picture.size, "sha256": digest(picture)}
                if case.estimated:
                    found[case.name]["samples"] = samples(picture).tobytes().hex()
                print(case.name, flush=True)
            picture = ask(base, NANO_CASE, **_model(NANO_CASE, other))
            found["u2net_nano"] = {"size": picture.size, "samples": samples(picture).tobytes().hex()}
    python = arguments.rembg.with_name("python")
    versions = subprocess.run([python, "-c", VERSIONS], capture_output=True, encoding="utf-8", check=True).stdout
    record = {"versions": json.loads(versions), "answers": found}
    GOLDENS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{GOLDENS}: {len(found)} answers")


VERSIONS = """
import importlib.metadata as m, json
print(json.dumps({name: m.version(name) for name in ("rembg", "pillow", "numpy", "pymatting", "scikit-image")}))
"""


def _model(case, model: Path) -> dict[str, str]:
    """rembg is told the model's file in `extras`; what the case has there goes with it."""
    return {"extras": json.dumps({**json.loads(case.query.get("extras", "{}")), "model_path": str(model)})}


if __name__ == "__main__":
    main()
