#!/usr/bin/env python3
"""Makes valid files at random, as this project and others write them: is any of them answered wrongly in silence?

    python scripts/fuzz_valid_files.py --count 500 --seed 1

Each file is a network of the family (widths, depths, dilation, fusion) × a maker × its options × what it is fed × the
name or the container that it is found in. It is asked for masks of two photographs, and its weights are read. Both have
to agree with the network that went in, or to be refused in one line, or to be said to differ or to have been assumed.
Prints a table; ends with 1 when anything else happened.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="makers whose names hold this text")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    options = parser.parse_args()
    from support.random_files import makers
    from support.silence import OUTCOMES, case

    known = {name: maker for name, maker in makers().items() if options.only in name}
    counts: Counter = Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        os.environ["U2ZOO_HOME"] = home
        for number in range(options.first, options.first + options.count):
            seed = f"{options.seed} {number}"
            name = list(known)[number % len(known)]
            noise = io.StringIO()
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                    try:
                        found = case(seed, name, known[name], Path(folder))
                    except Exception:
                        found = {"mask": ("wrong", traceback.format_exc()), "weights": ("wrong", "")}
            for what, (outcome, why) in found.items():
                counts[name, what, outcome] += 1
                if outcome != "agrees":
                    print(f"{number} {name}: {what} {outcome}: {why}", flush=True)
    print(f"{'maker':<38}" + "".join(f"{f'{w}: {o}':>20}" for w in ("mask", "weights") for o in OUTCOMES))
    for name in known:
        row = [counts[name, what, outcome] for what in ("mask", "weights") for outcome in OUTCOMES]
        print(f"{name:<38}" + "".join(f"{n:>20}" for n in row))
    wrong = sum(count for (_, _, outcome), count in counts.items() if outcome == "wrong")
    print(f"{options.count} files, seed {options.seed}: {wrong} wrong; {time.monotonic() - start:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
