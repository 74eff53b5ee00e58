"""Run by test_train_torch.py: the first step's gradients with one process or two, into `OUT/N.npz`."""

import sys
from pathlib import Path

import numpy as np
from lightning.fabric import Fabric
from support.networks import SMALL

from u2net_zoo.train import pairs
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh
from u2net_zoo.train.torch_loop import Trainer

data, out, devices = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
strategy = "ddp" if devices > 1 else "auto"
setting = Setting(out / f"run{devices}", accelerator="cpu", logs=False)
# In float64, where rounding does not turn a ReLU the other way: what is left is what the processes do.
fabric = Fabric(accelerator="cpu", devices=devices, strategy=strategy, precision="64-true")
fabric.launch()
found = pairs.find(data / "images", data / "masks")
run = Trainer(Recipe(batch=8, size=64, crop=64, augment="none"), setting, fresh(SMALL, 0), found, [], fabric=fabric)
run.backward(next(run._batches(run.train_samples, 0, 0)))
if run.fabric.is_global_zero:
    np.savez(out / f"{devices}.npz", **{name: p.grad.numpy() for name, p in run.core.named_parameters()})
