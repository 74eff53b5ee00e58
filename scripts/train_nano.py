"""Train a second edition of `u2net_nano`: prune u2netp, then teach it photographs and alpha.

    python scripts/nano_packages.py out/packages
    python scripts/train_nano.py --packages out/packages --out out/nano   # resumes where an earlier run stopped
    python scripts/train_nano.py --packages out/packages --out out/more --start weights/u2net_nano.safetensors

Data: the photographs of ../shared/data, those that scikit-image ships, and the packages of `nano_packages`. What
u2netp says of a photograph is one part of what is learnt, the true alpha of composites the other (`nano_compose`).
Never learnt from: the parts that `nano_pictures.split` and `Packages` call test, which `measure_nano.py` alone opens,
the development set, and the photographs that our own pictures show.

Recipe: least-squares pruning (`nano_prune`), then rounds of fresh pictures that are each seen a few times, mirrored at
random. Batch norm is folded in while learning: statistics of eight pictures at a time are mostly noise. The loss is
`nano_lessons`'s; Adam, warm-up and cosine, gradient clipping, EMA of the weights. A round follows from the seed and its
number alone. What the last round leaves is taken, or a mean with runs of other seeds and the weights that all began
with. What is bundled came of several runs and means: weights/u2net_nano.md tells which.

Memory that is taken anew at each step costs a fifth of the time with glibc; MALLOC_MMAP_THRESHOLD_=4000000000
MALLOC_TRIM_THRESHOLD_=8000000000 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 keeps it, and takes up to 10 GB.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from nano_compose import Composer
from nano_lessons import BATCH, Lesson
from nano_packages import Packages
from nano_pictures import SHARED, normalise, paper_input
from nano_teacher import Teacher, iou
from torch import Tensor

from u2net_zoo.arch import U2NET_NANO
from u2net_zoo.files import staged
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import U2Net, build, state_of
from u2net_zoo.train.norms import calibrate
from u2net_zoo.train.storing import write_weights

SEED, LOOK = 2029, 2027  # of what is learnt, to begin with; of the composites of the development set
SIZES = (256, 320)  # of the pictures of a round, in turn
COUNT, EPOCHS = 384, 4  # pictures of a round, and how often each is seen
FLOOR, WARMUP, CLIP, EMA = 0.01, 200, 1.0, 0.998
EVALUATE_EVERY = 4  # rounds between two looks at the development set
COMPOSITES = 48  # of the development set
NOISE = 0.05  # at most, of a normalised picture whose label is that of the clean one: masks that rounding leaves alone


class Run:
    """Args:
    rounds: what the cosine is laid out for.
    start: weights to begin with instead of pruning.
    seed: of what is learnt.
    """

    def __init__(
        self, out: Path, teacher: Teacher, rounds: int, rate: float, start: Path | None = None, seed: int = SEED
    ):
        self.out, self.teacher, self.rounds, self.rate, self.seed = out, teacher, rounds, rate, seed
        self.plan = {"rounds": rounds, "rate": rate, "seed": seed, "epochs": EPOCHS, "pictures": COUNT}
        out.mkdir(parents=True, exist_ok=True)
        self.student = build(state_of(self.beginning(start)).fold()).to(memory_format=torch.channels_last)
        self.lesson = Lesson(teacher.model, self.student)
        self.began = {key: value.clone() for key, value in self.student.state_dict().items()}
        self.average = {key: value.clone() for key, value in self.began.items()}
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=rate)
        self.round = 0
        self.composites = drawn(Composer(teacher.development, 320, LOOK, {"composite": 1.0}, close=0), COMPOSITES)
        if (last := out / "last.pt").exists():
            self.resume(torch.load(last, weights_only=True))

    def beginning(self, start: Path | None) -> U2Net:
        """The network to begin with; pruned once, then read from the output folder."""
        path, origin = self.out / "start.pt", digest_of(start) if start else "pruned"
        if not path.exists():
            model = build(read_checkpoint(start).unfold()) if start else self.teacher.pruned(SEED - 1)
            save({"state": model.state_dict(), "origin": origin}, path)
        content = torch.load(path, weights_only=True)
        if content["origin"] != origin:
            raise SystemExit(f"{path}: began with {content['origin']}, not with {origin}; take another --out")
        model = U2Net(U2NET_NANO)
        model.load_state_dict(content["state"])
        return model

    def resume(self, last: dict[str, Any]) -> None:
        if last["plan"] != self.plan:
            raise SystemExit(f"{self.out}: a run of the plan {last['plan']}, not {self.plan}; take another --out")
        self.student.load_state_dict(last["student"])
        self.optimizer.load_state_dict(last["optimizer"])
        self.average, self.round = last["average"], last["round"]

    def train(self, until: float) -> bool:
        """Whether it came to its end; `until`: when to stop, in seconds since the epoch."""
        if self.round == 0:
            self.report(0.0, 0.0)
        while self.round < self.rounds and time.time() < until:
            started = time.time()
            loss = self.learn()
            self.round += 1
            kept = {"student": self.student.state_dict(), "optimizer": self.optimizer.state_dict()}
            save({**kept, "average": self.average, "round": self.round, "plan": self.plan}, self.out / "last.pt")
            self.report(loss, time.time() - started)
        return self.round == self.rounds

    def learn(self) -> float:
        """The mean loss of a round."""
        size, seed = SIZES[self.round % len(SIZES)], self.seed + 1000 * (self.round + 1)
        pictures, alphas = drawn(Composer(self.teacher.stock, size, seed), COUNT)
        labels = self.lesson.label(pictures, alphas)
        rng = torch.Generator().manual_seed(seed)
        losses: list[float] = []
        for _ in range(EPOCHS):
            for pick in torch.randperm(COUNT, generator=rng).split(BATCH):
                x, y = pictures[pick], [label[pick] for label in labels]
                if torch.rand((), generator=rng) < 0.5:
                    x, y = x.flip(3), [label.flip(3) for label in y]
                sigma = NOISE * torch.rand((len(x), 1, 1, 1), generator=rng)
                x = x + sigma * torch.randn(x.shape, generator=rng)
                self.step(loss := self.lesson.loss(x, y), self.round * EPOCHS * (COUNT // BATCH) + len(losses))
                losses.append(loss.item())
        return float(np.mean(losses))

    def step(self, loss: Tensor, done: int) -> None:
        """`done`: steps so far."""
        whole = self.rounds * EPOCHS * (COUNT // BATCH)
        cosine = FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done / whole)) / 2
        self.optimizer.param_groups[0]["lr"] = self.rate * min(1, (done + 1) / WARMUP) * cosine
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), CLIP)
        self.optimizer.step()
        decay = min(EMA, (done + 1) / (done + 10))
        with torch.no_grad():
            for key, value in self.student.state_dict().items():
                self.average[key].lerp_(value, 1 - decay)

    def averaged(self) -> U2Net:
        model = U2Net(self.student.arch)
        model.load_state_dict(self.average)
        return model.eval()

    def report(self, loss: float, seconds: float) -> None:
        """One line of progress, every `LOOK` rounds with what the averaged weights make of the development set."""
        line: dict[str, Any] = {"round": self.round, "loss": round(loss, 4), "seconds": round(seconds, 1)}
        if self.round % EVALUATE_EVERY == 0:
            agreement, apart = self.teacher.agreement(self.averaged())
            line |= {"iou": round(float(np.mean(agreement)), 4), "each": [round(value, 2) for value in agreement]}
            line |= {"mae": round(apart, 4)}
            line |= self.on_composites(self.averaged())
            line |= {"teacher": self.on_composites(self.teacher.model)} if self.round == 0 else {}
        print(json.dumps(line), flush=True)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    @torch.no_grad()
    def on_composites(self, model: U2Net) -> dict[str, float]:
        """Mean absolute error and IoU to the true alpha."""
        pictures, alphas = self.composites
        masks = torch.cat([model(batch)[0] for batch in pictures.split(BATCH)])[:, 0].numpy()
        pairs = [(m, a) for m, a in zip(masks, alphas, strict=True) if a is not None]
        mae, overlap = (float(np.mean([of(m, a) for m, a in pairs])) for of in (lambda m, a: abs(m - a).mean(), iou))
        return {"alpha_mae": round(mae, 4), "alpha_iou": round(overlap, 4)}

    def finish(self, path: Path, shares: Sequence[float], beside: Sequence[Path]) -> None:
        """Writes the averaged weights under norms with photographs' statistics, so that they can be fine-tuned.

        Args:
            shares: of this run, and of each in `beside`, in the mean with the weights that they began with, which have
                the rest: M. Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, and Model soups, ICML
                2022. Such means keep more of what generalises.
            beside: folders of runs from the same beginning and of other seeds.
        """
        runs = [self.average, *(torch.load(folder / "last.pt", weights_only=True)["average"] for folder in beside)]
        for key, value in self.began.items():
            learnt = sum(share * run[key] for share, run in zip(shares, runs, strict=True))
            self.average[key] = learnt + (1 - sum(shares)) * value
        model = build(state_of(self.averaged()).unfold())
        before, _ = self.teacher.agreement(model)
        photographs = self.teacher.photographs
        calibrate(model, [torch.stack([paper_input(image) for image in photographs[i::6]]) for i in range(6)])
        if abs(np.subtract(self.teacher.agreement(model)[0], before)).max() > 1e-3:
            raise SystemExit("calibration changed the masks")
        source = "scripts/train_nano.py: u2netp pruned by least squares, distilled and taught alpha"
        write_weights(state_of(model), path, licence="Apache-2.0", source=source)


def drawn(composer: Composer, count: int) -> tuple[Tensor, list[np.ndarray | None]]:
    """Pictures (N, 3, S, S), normalised, and their alphas."""
    pictures, alphas = zip(*(composer() for _ in range(count)), strict=True)
    return normalise(torch.from_numpy(np.stack(pictures))), list(alphas)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(content: dict, path: Path) -> None:
    """Whole or not at all."""
    with staged(path) as beside:
        torch.save(content, beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, required=True, help="what nano_packages.py unpacked")
    parser.add_argument("--out", type=Path, default=Path("out/nano"))
    parser.add_argument("--weights", type=Path, default=Path("out/nano/u2net_nano.safetensors"), help="what to write")
    parser.add_argument("--teacher", type=Path, default=SHARED / "weights" / "u2netp.pth")
    parser.add_argument("--start", type=Path, help="weights to begin with; what they have seen is seen, too")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="--out of runs of other seeds, for the mean")
    parser.add_argument("--rate", type=float, default=6e-4, help="where the cosine begins")
    parser.add_argument(
        "--share", type=float, nargs="+", default=[1.0], help="of this run and those --beside; --start's has the rest"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of what is learnt")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=math.inf, help="pause after so long; run again to go on")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    until = time.time() + 60 * options.minutes
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(SEED)
    teacher = Teacher(options.teacher, Packages(options.packages))
    run = Run(options.out, teacher, options.rounds, options.rate, options.start, options.seed)
    if run.train(until):
        run.finish(options.weights, options.share, options.beside)


if __name__ == "__main__":
    main()
