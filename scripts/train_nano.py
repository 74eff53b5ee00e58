"""Train `u2net_nano`, the checkpoint that the repository carries: prune u2netp, then distil what u2netp answers.

    python scripts/train_nano.py --out out/nano      # resumes by itself where an earlier run stopped

Data: the photographs of ../shared/data and those that scikit-image ships, augmented, cut out and pasted on each other;
drawn shapes. The teacher labels every picture. Kept aside, never trained on: every third photograph of `sod` and of
`human` (by name, from the second), and scikit-image's astronaut, cat (chelsea) and rocket.

Recipe: least-squares pruning (`u2net_zoo.train.prune`), then rounds of fresh pictures, each seen EPOCHS times:
sum of binary cross-entropy to the teacher's seven outputs plus the distance to its stage features on the kept channels.
Adam, warm-up and cosine, gradient clipping, bfloat16, EMA of the weights. A round follows from the seed and its number
alone, so a run that is resumed goes on as if it had never stopped.
"""

import argparse
import json
import math
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import skimage
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from u2net_zoo.arch import U2NET_NANO
from u2net_zoo.files import staged
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import U2Net, build, state_of
from u2net_zoo.train import prune
from u2net_zoo.train.composite import Composer, CutOut
from u2net_zoo.train.norms import balance, calibrate
from u2net_zoo.train.start import with_norms
from u2net_zoo.train.storing import write_weights

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT / ".." / "shared" / "data"
SHIPPED = Path(skimage.__file__).parent / "data"
LEARNT = ("coffee", "color", "hubble_deep_field", "ihc", "motorcycle_left", "motorcycle_right", "retina", "camera")
LEARNT += ("coins", "moon", "brick", "grass", "gravel")
ASIDE = ("astronaut", "chelsea", "rocket")
SIDE = 640  # photographs are shrunk to this before anything is drawn from them

SEED = 2026
EPOCHS, BATCH = 3, 8
FIT_SIZE = 224
RATE, WARMUP, FLOOR, CLIP = 2e-4, 60, 0.01, 1.0
MIX, SCALE = {"photograph": 0.6, "paste": 0.28, "shapes": 0.12}, (0.45, 1.0)
COUNT, EMA = 192, 0.995
SIZES = (192, 256, 192, 256, 192)  # of each round's pictures
PLAN = 25  # rounds that the cosine is laid out for. Later ones agreed better with the teacher and lost the cat.
FEATURES = ("stage2", "stage3", "stage4", "stage5", "stage6", "stage5d", "stage4d", "stage3d", "stage2d")
FEATURE_WEIGHT = 0.4
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def split() -> tuple[list[Path], list[Path], list[Path]]:
    """Files to learn from, to validate on, and scikit-image's three to look at."""
    sod, human = (sorted((SHARED / part / "images").iterdir()) for part in ("sod", "human"))
    aside = sod[1::3] + human[1::3]
    rest = [
        p
        for part in ("portrait/images", "portrait/your_images", "sky/images")
        for p in sorted((SHARED / part).iterdir())
    ]
    shipped = {path.stem: path for path in sorted(SHIPPED.iterdir()) if path.suffix in (".png", ".jpg")}
    learn = [p for p in sod + human if p not in aside] + rest + [shipped[name] for name in LEARNT]
    return learn, aside, [shipped[name] for name in ASIDE]


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def shrink(image: np.ndarray) -> np.ndarray:
    scale = SIDE / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def paper_input(image: np.ndarray, size: int = 320) -> Tensor:
    """The authors' preprocessing: (3, size, size)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resized = skimage.transform.resize(image, (size, size), mode="constant", anti_aliasing=False)
    return normalise(torch.from_numpy(resized.astype(np.float32))[None])[0]


def normalise(pictures: Tensor) -> Tensor:
    """(N, H, W, 3) of any range to (N, 3, H, W): divided by each picture's maximum, then ImageNet mean and std."""
    scaled = pictures.float() / pictures.amax((1, 2, 3), keepdim=True).float().clamp(min=1e-6)
    return ((scaled - MEAN) / STD).permute(0, 3, 1, 2).contiguous()


class Taps:
    """Keeps what the stages named FEATURES answer in the last call."""

    def __init__(self, model: U2Net, kept: dict[str, list[int]] | None = None):
        self.maps: dict[str, Tensor] = {}
        for name in FEATURES:
            channels = kept and kept[f"{name}.rebnconvin"]
            getattr(model, name).register_forward_hook(
                lambda module, x, y, name=name, channels=channels: self.maps.update(
                    {name: y[:, channels] if channels else y}
                )
            )


class Run:
    def __init__(self, out: Path, teacher: Path):
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        learn, aside, shown = split()
        self.photographs = [shrink(load(path)) for path in learn]
        self.checkpoint = read_checkpoint(teacher)
        self.teacher = build(self.checkpoint.fold()).to(memory_format=torch.channels_last)
        self.aside = [(path.name, paper_input(load(path))) for path in aside + shown]
        self.truth = [self.mask(self.teacher, x) for _, x in self.aside]
        self.cutouts = [cut for image in self.photographs if (cut := self.cut(image))]
        self.student, kept = self.start()
        self.average = {key: value.clone() for key, value in self.student.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=RATE)
        self.theirs, self.ours = Taps(self.teacher, kept), Taps(self.student)
        self.round = 0
        self.resume()

    @staticmethod
    @torch.no_grad()
    def mask(model: U2Net, x: Tensor) -> np.ndarray:
        """Min-max normalised d0, (320, 320)."""
        d0 = model(x[None])[0][0, 0].numpy()
        return (d0 - d0.min()) / (d0.max() - d0.min() + 1e-8)

    def cut(self, image: np.ndarray) -> CutOut | None:
        with torch.no_grad():
            mask = self.teacher(paper_input(image)[None])[0][0, 0].numpy()
        return CutOut.of(image, cv2.resize(mask, image.shape[1::-1]))

    def start(self) -> tuple[U2Net, dict[str, list[int]]]:
        """The pruned network and the channels that it kept; fitted once, then read from the output folder."""
        path = self.out / "start.pt"
        if not path.exists():
            composer = Composer(self.photographs, self.cutouts, FIT_SIZE, SEED - 1)
            drawn = normalise(torch.from_numpy(np.stack([composer() for _ in self.photographs])))
            images = torch.cat([torch.stack([paper_input(image, FIT_SIZE) for image in self.photographs]), drawn])
            kept = prune.channel_sets(self.checkpoint, U2NET_NANO, images)
            fitted = build(with_norms(prune.fit(self.checkpoint, U2NET_NANO, images, kept)))
            calibrate(fitted, images.split(20))
            balance(fitted)
            save({"state": fitted.state_dict(), "kept": kept}, path)
        start = torch.load(path, weights_only=True)
        student = U2Net(U2NET_NANO)
        student.load_state_dict(start["state"])
        # Norms keep the statistics that they were given: those of eight pictures at a time are mostly noise.
        return student.to(memory_format=torch.channels_last).eval(), start["kept"]

    def resume(self) -> None:
        path = self.out / "last.pt"
        if path.exists():
            last = torch.load(path, weights_only=True)
            self.student.load_state_dict(last["student"])
            self.optimizer.load_state_dict(last["optimizer"])
            self.average, self.round = last["average"], last["round"]

    def train(self) -> None:
        if self.round == 0:
            self.report(0.0, 0.0, 0)
        while self.round < len(SIZES):
            started = time.time()
            data = self.draw(SIZES[self.round])
            loss = self.learn(data)
            self.round += 1
            save(
                {
                    "student": self.student.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "average": self.average,
                    "round": self.round,
                },
                self.out / "last.pt",
            )
            self.report(loss, time.time() - started, SIZES[self.round - 1])

    @torch.no_grad()
    def draw(self, size: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Pictures (N, 3, S, S), the teacher's outputs (N, 7, S, S) and its features on the kept channels."""
        composer = Composer(self.photographs, self.cutouts, size, SEED + 1000 * self.round, MIX, SCALE)
        pictures = normalise(torch.from_numpy(np.stack([composer() for _ in range(COUNT)])))
        targets, features = [], []
        for batch in pictures.split(BATCH):
            maps = self.teacher(batch.contiguous(memory_format=torch.channels_last))
            targets.append(torch.cat(maps, 1).half())
            features.append({name: self.theirs.maps[name].half() for name in FEATURES})
        return pictures, torch.cat(targets), {name: torch.cat([f[name] for f in features]) for name in FEATURES}

    def learn(self, data: tuple[Tensor, Tensor, dict[str, Tensor]]) -> float:
        pictures, targets, features = data
        spread = {n: f.float().std((0, 2, 3), keepdim=True) + 0.05 for n, f in features.items()}
        order = torch.Generator().manual_seed(SEED + self.round)
        losses = []
        for epoch in range(EPOCHS):
            picks = torch.randperm(len(pictures), generator=order).split(BATCH)
            for step, pick in enumerate(picks):
                done = self.round + (epoch + step / len(picks)) / EPOCHS
                x = pictures[pick].contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16):
                    logits = torch.cat(self.student.logits(x), 1).float()
                loss = F.binary_cross_entropy_with_logits(logits, targets[pick].float()) * logits.shape[1]
                for name in FEATURES:
                    gap = (self.ours.maps[name].float() - features[name][pick].float()) / spread[name]
                    loss = loss + FEATURE_WEIGHT * gap.square().clamp(max=25).mean()
                self.step(loss, done)
                losses.append(loss.item())
        return float(np.mean(losses))

    def step(self, loss: Tensor, done: float) -> None:
        """`done`: rounds so far."""
        cosine = FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done / PLAN)) / 2
        steps = round(done * EPOCHS * COUNT / BATCH)
        self.optimizer.param_groups[0]["lr"] = RATE * min(1, (steps + 1) / WARMUP) * cosine
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), CLIP)
        self.optimizer.step()
        decay = min(EMA, (steps + 1) / (steps + 10))
        with torch.no_grad():
            for key, value in self.student.state_dict().items():
                self.average[key].lerp_(value, 1 - decay) if value.is_floating_point() else self.average[key].copy_(
                    value
                )

    def finish(self, path: Path) -> None:
        """Writes the averaged weights; their norms get the statistics of the photographs, so that they can be tuned."""
        model = U2Net(self.student.arch)
        model.load_state_dict(self.average)
        masks = [self.mask(model.eval(), x) for _, x in self.aside]
        calibrate(model, [torch.stack([paper_input(image) for image in self.photographs[i::6]]) for i in range(6)])
        apart = max(float(abs(self.mask(model, x) - m).max()) for (_, x), m in zip(self.aside, masks, strict=True))
        if apart > 1e-3:
            raise SystemExit(f"calibration changed the masks by {apart}")
        source = "scripts/train_nano.py: u2netp pruned by least squares and distilled"
        write_weights(state_of(model), path, licence="Apache-2.0", source=source)

    def report(self, loss: float, seconds: float, size: int) -> None:
        """One line of progress: how the averaged weights agree with the teacher on the photographs kept aside."""
        model = U2Net(self.student.arch)
        model.load_state_dict(self.average)
        masks = [self.mask(model.eval(), x) for _, x in self.aside]
        ious = [iou(mask, truth) for mask, truth in zip(masks, self.truth, strict=True)]
        count = len(ASIDE)
        line = {
            "round": self.round,
            "size": size,
            "loss": round(loss, 4),
            "seconds": round(seconds, 1),
            "iou": round(float(np.mean(ious[:-count])), 4),
            "mae": round(
                float(np.mean([abs(m - t).mean() for m, t in zip(masks[:-count], self.truth, strict=False)])), 4
            ),
            "shown": [round(value, 3) for value in ious[-count:]],
        }
        print(json.dumps(line), flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            log.write(
                json.dumps({**line, "each": {n: round(v, 4) for (n, _), v in zip(self.aside, ious, strict=True)}})
                + "\n"
            )


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union at 0.5; 1 where both are empty."""
    a, b = mask > 0.5, truth > 0.5
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0


def save(content: dict, path: Path) -> None:
    """Whole or not at all."""
    with staged(path) as beside:
        torch.save(content, beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/nano"))
    parser.add_argument("--weights", type=Path, default=ROOT / "weights" / "u2net_nano.safetensors")
    parser.add_argument("--teacher", type=Path, default=SHARED / "weights" / "u2netp.pth")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(SEED)
    run = Run(options.out, options.teacher)
    run.train()
    run.finish(options.weights)


if __name__ == "__main__":
    main()
