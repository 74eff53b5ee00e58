"""Train `u2net_nano`, the checkpoint that the repository carries: prune u2netp, then distil what u2netp answers.

    python scripts/train_nano.py --out out/nano      # resumes by itself where an earlier run stopped
    python scripts/train_nano.py --out out/nano --start weights/u2net_nano.safetensors   # the second part alone

Data: the photographs of ../shared/data and those that scikit-image ships, augmented, cut out and pasted on each other;
drawn shapes. The teacher labels every picture. Kept aside, never trained on: every third photograph of `sod` and of
`human` (by name, from the second). scikit-image's astronaut, cat (chelsea) and rocket are learnt in the second part.

Recipe: least-squares pruning (`nano_prune`), then two parts, each of several rounds of fresh pictures that
are seen a few times:

1. The whole network: sum of binary cross-entropy to the teacher's seven outputs plus the distance to its stage features
   on the kept channels.
2. The stages at a quarter of the size and below, which decide what the object is: the same on their side outputs and
   features. The stages around them, which take most of the time, stay as they are.

Adam, warm-up and cosine, gradient clipping, EMA of the weights. The second part begins with the first one's average and
a new optimizer. A round follows from the seed and its number alone, so a run that is resumed goes on as if it had never
stopped. Of the second part's rounds the one is taken that agrees best with the teacher on the photographs kept aside,
among those whose masks of scikit-image's three are the teacher's to an IoU of ACCEPTED.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from nano_compose import Composer
from nano_lessons import BATCH, Lesson
from nano_pictures import SHARED, normalise, paper_input
from nano_teacher import Teacher, mask
from torch import Tensor

from u2net_zoo.arch import U2NET_NANO
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.files import staged
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import U2Net, build, state_of
from u2net_zoo.train.norms import calibrate
from u2net_zoo.train.storing import write_weights

SEED = 2026
FLOOR, CLIP = 0.01, 1.0
ACCEPTED = 0.75  # IoU to the teacher's mask, for each of scikit-image's three


@dataclass(frozen=True)
class Part:
    """Attributes:
    sizes: of each round's pictures.
    plan: rounds that the cosine is laid out for.
    count, epochs: pictures a round, and how often each is seen.
    repeats: how often scikit-image's three stand among the photographs that pictures are drawn from.
    inward, bfloat16: see `Lesson`.
    """

    sizes: tuple[int, ...]
    plan: int
    rate: float
    warmup: int
    count: int
    epochs: int
    ema: float
    mix: dict[str, float]
    scale: tuple[float, float]
    repeats: int = 0
    inward: int = 0
    bfloat16: bool = False

    @property
    def steps(self) -> int:
        """Of a round."""
        return self.epochs * -(-self.count // BATCH)


PARTS = (
    # Longer first parts agreed better with the teacher on the photographs kept aside and lost the cat.
    Part(
        sizes=(192, 256, 192, 256, 192), plan=25, rate=2e-4, warmup=60, count=192, epochs=3, ema=0.995,
        mix={"photograph": 0.6, "paste": 0.28, "shapes": 0.12}, scale=(0.45, 1.0), bfloat16=True,
    ),
    Part(
        sizes=(256, 320, 256, 320, 320), plan=5, rate=3e-4, warmup=30, count=96, epochs=6, ema=0.985,
        mix={"photograph": 0.75, "paste": 0.15, "shapes": 0.1}, scale=(0.5, 1.0), repeats=12, inward=2,
    ),
)  # fmt: skip


class Run:
    """Args:
    start: weights to begin the second part with, instead of running the first.
    """

    def __init__(self, out: Path, teacher: Path, start: Path | None = None):
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self.teacher = Teacher(teacher)
        state, self.kept = self.beginning(start)
        path = out / "last.pt"
        last = torch.load(path, weights_only=True) if path.exists() else {"part": 1 if start else 0, "round": 0}
        self.part, self.round = last["part"], last["round"]
        self.begin(state)
        if path.exists():
            self.resume(last)

    def beginning(self, start: Path | None) -> tuple[Checkpoint, dict[str, list[int]]]:
        """The weights to begin with and the kept channels; pruned once, then read from the output folder."""
        path = self.out / "start.pt"
        if not path.exists():
            fit, kept = self.teacher.pruned(SEED - 1)
            model = build(read_checkpoint(start)) if start else fit()
            save({"state": model.state_dict(), "kept": kept}, path)
        content = torch.load(path, weights_only=True)
        model = U2Net(U2NET_NANO)
        model.load_state_dict(content["state"])
        return state_of(model), content["kept"]

    def begin(self, state: Checkpoint) -> None:
        """A part's student, running average and optimizer."""
        # Norms keep the statistics that they were given: those of eight pictures at a time are mostly noise.
        self.student = build(state).to(memory_format=torch.channels_last)
        part = PARTS[self.part]
        self.lesson = Lesson(self.teacher.model, self.student, self.kept, part.inward, part.bfloat16)
        self.learning = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        self.average = {key: value.clone() for key, value in self.student.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.learning, lr=part.rate)

    def resume(self, last: dict[str, Any]) -> None:
        self.student.load_state_dict(last["student"])
        self.optimizer.load_state_dict(last["optimizer"])
        self.average = last["average"]

    def train(self) -> None:
        while self.part < len(PARTS):
            if self.round == 0:
                self.keep_average()
                self.report(0.0, 0.0)
            while self.round < len(PARTS[self.part].sizes):
                self.one_round()
            if self.part + 1 == len(PARTS):
                return
            state = self.calibrated(self.averaged())
            self.part, self.round = self.part + 1, 0
            self.begin(state)

    def one_round(self) -> None:
        started = time.time()
        loss = self.learn(self.draw())
        self.round += 1
        kept = {"student": self.student.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average}
        save({**kept, "part": self.part, "round": self.round}, self.out / "last.pt")
        self.keep_average()
        self.report(loss, time.time() - started)

    def keep_average(self) -> None:
        save(self.average, self.out / f"average-{self.part}-{self.round}.pt")

    @property
    def number(self) -> int:
        """Of the round, counted over the parts."""
        return self.round + sum(len(part.sizes) for part in PARTS[: self.part])

    def draw(self) -> Tensor:
        """A round's pictures, (N, 3, S, S)."""
        part = PARTS[self.part]
        photographs = self.teacher.photographs + part.repeats * self.teacher.shown
        seed = SEED + 1000 * self.number
        composer = Composer(photographs, self.teacher.cutouts, part.sizes[self.round], seed, part.mix, part.scale)
        return normalise(torch.from_numpy(np.stack([composer() for _ in range(part.count)])))

    def learn(self, pictures: Tensor) -> float:
        """The mean loss of a round."""
        labels = self.lesson.label(pictures)
        order = torch.Generator().manual_seed(SEED + self.number)
        losses = []
        for _ in range(PARTS[self.part].epochs):
            for pick in torch.randperm(len(pictures), generator=order).split(BATCH):
                loss = self.lesson.loss(labels, pick)
                self.step(loss, self.round * PARTS[self.part].steps + len(losses))
                losses.append(loss.item())
        return float(np.mean(losses))

    def step(self, loss: Tensor, done: int) -> None:
        """`done`: steps so far in this part."""
        part = PARTS[self.part]
        cosine = FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done / (part.plan * part.steps))) / 2
        self.optimizer.param_groups[0]["lr"] = part.rate * min(1, (done + 1) / part.warmup) * cosine
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, CLIP)
        self.optimizer.step()
        decay = min(part.ema, (done + 1) / (done + 10))
        with torch.no_grad():
            for key, value in self.student.state_dict().items():
                mean = self.average[key]
                mean.lerp_(value, 1 - decay) if value.is_floating_point() else mean.copy_(value)

    def averaged(self, average: dict[str, Tensor] | None = None) -> U2Net:
        model = U2Net(U2NET_NANO)
        model.load_state_dict(average or self.average)
        return model.eval()

    def calibrated(self, model: U2Net) -> Checkpoint:
        """The weights under norms with the statistics of the photographs, so that they can be tuned."""
        before = [mask(model, x) for _, x in self.teacher.measured]
        photographs = self.teacher.photographs
        calibrate(model, [torch.stack([paper_input(image) for image in photographs[i::6]]) for i in range(6)])
        after = [mask(model, x) for _, x in self.teacher.measured]
        apart = max(float(abs(a - b).max()) for a, b in zip(after, before, strict=True))
        if apart > 1e-3:
            raise SystemExit(f"calibration changed the masks by {apart}")
        return state_of(model)

    def finish(self, path: Path) -> None:
        """Writes the round to be taken. Exits when none has acceptable masks of scikit-image's three."""
        accepted = []
        for average in sorted(self.out.glob(f"average-{self.part}-*.pt")):
            model = self.averaged(torch.load(average, weights_only=True))
            ious, _ = self.teacher.agreement(model)
            if min(ious[-3:]) >= ACCEPTED:
                accepted.append((float(np.mean(ious[:-3])), average.stem, model))
        if not accepted:
            raise SystemExit(f"no round reaches an IoU of {ACCEPTED} on each of scikit-image's three; see log.jsonl")
        best, name, model = max(accepted, key=lambda candidate: candidate[0])
        print(json.dumps({"taken": name, "iou": round(best, 4)}), flush=True)
        source = "scripts/train_nano.py: u2netp pruned by least squares and distilled"
        write_weights(self.calibrated(model), path, licence="Apache-2.0", source=source)

    def report(self, loss: float, seconds: float) -> None:
        """One line of progress: how the averaged weights agree with the teacher on the photographs kept aside."""
        ious, errors = self.teacher.agreement(self.averaged())
        line = {
            "part": self.part + 1,
            "round": self.round,
            "loss": round(loss, 4),
            "seconds": round(seconds, 1),
            "iou": round(float(np.mean(ious[:-3])), 4),
            "mae": round(float(np.mean(errors[:-3])), 4),
            "shown": [round(value, 3) for value in ious[-3:]],
        }
        print(json.dumps(line), flush=True)
        names = [name for name, _ in self.teacher.measured]
        each = dict(zip(names, (round(value, 4) for value in ious), strict=True))
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({**line, "each": each}) + "\n")


def save(content: dict, path: Path) -> None:
    """Whole or not at all."""
    with staged(path) as beside:
        torch.save(content, beside)


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/nano"))
    parser.add_argument("--weights", type=Path, default=root / "weights" / "u2net_nano.safetensors")
    parser.add_argument("--teacher", type=Path, default=SHARED / "weights" / "u2netp.pth")
    parser.add_argument("--start", type=Path, help="begin the second part with these weights")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(SEED)
    run = Run(options.out, options.teacher, options.start)
    run.train()
    run.finish(options.weights)


if __name__ == "__main__":
    main()
