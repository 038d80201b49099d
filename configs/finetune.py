"""Finetunes a pretrained network on labels for segmentation, or trains one from scratch.

    python -m emjax.main --config configs/finetune.py

trains on the embedded synthetic volume. For your own data, give volumes as `image|labels`, and the pretraining run:

    python -m emjax.main --config configs/finetune.py:neurons --workdir runs/neurons \
        --config.init_from=runs/pretrain --config.data.volumes='a.h5:raw[0:160]|a.h5:labels[0:160]'

An image may have labels of several kinds, which targets read by `of=NAME`, and a mask of where they are known:
`image|neurons=A|mito=B|mask=C` (docs/volumes.md).

Presets (after a colon; several are separated by commas, as in `mitochondria,large`):

| preset | what is learnt |
|---|---|
| `neurons` (also without a preset) | affinities to nearest and distant neighbours, borders widened |
| `mitochondria` | foreground and contour (BC) |
| `nuclei` | foreground, contour and signed distance (BCD) |
| `synapses` | clefts: foreground, on crops most of which contain a cleft |
| `semantic` | one class for each voxel; give volumes, and `--config.targets='classes?ids=0,1&losses=cross_entropy'` |

| preset | network from scratch, and crops | checkpoints of `configs/pretrain.py` with this size | runs on |
|---|---|---|---|
| (none) | small U-Net, 8x80x80 | without a preset, `real` | 2 CPU cores, minutes to an hour |
| `large` | the paper's U-Net, 18x160x160 | `ours`, `paper`, `unet_l` | an accelerator |
| `wide` | the same with wider channels | `gpu` | an 80 GB GPU |
| `vit` | 3D ViT, 32x160x160 | `vit`, `vit_l` | an accelerator |
| `smoke` | a few steps, to see that everything runs | `smoke` | 2 CPU cores, a minute |
| `resnet18`, `dinov2_small` and others | networks with published weights (docs/weights.md) | of the same name | |

With `init_from` the network is that of the checkpoint, whatever the preset, with skips; the preset then decides steps,
crops and learning rates, so any preset goes with any checkpoint. Fields of `model` on the command line count before
the checkpoint, and are refused if its weights do not fit. Crops that the network cannot take are those of the
checkpoint, unless `data.crop_size` is given.

The folder `--workdir` (default `runs/finetune`) receives checkpoints (the best and the last ones), `results.json`,
TensorBoard files and plots. Stop it at any time; the same command continues where it stopped.
"""

import functools

from emjax.augment.presets import augmentation
from emjax.config import Config, base_config, choose_preset
from emjax.models.presets import PUBLISHED, network

SYNTHETIC = "synthetic://neurites?shape=32,256,256&voxel_nm=40,12,12"


def get_config(preset: str = "") -> Config:
    """Returns the configuration of one or more presets; the module docstring lists them."""
    c = base_config("finetune")
    _default(c)
    for name in preset.split(","):
        choose_preset(PRESETS, name.strip())(c)
    return c.lock()


def _default(c: Config) -> None:
    c.num_steps = 400
    c.data.volumes = f"{SYNTHETIC}|{SYNTHETIC}&labels=neurons"
    c.data.batch_size = 4
    c.data.crop_size = (8, 80, 80)
    c.data.pad = "reflect"
    c.data.label_sections = 0  # largest number of labelled sections used of each volume; 0: all
    c.data.min_labelled = 0  # crops with fewer voxels of objects are drawn again; 0: no crops are
    c.data.reject_probability = 0.95  # probability that such a crop is drawn again
    c.data.widen = True  # for affinities: voxels at the border of two objects become background

    # What is learnt: NAME?key=value&... separated by ';'. docs/targets.md lists all.
    c.targets = "affinities?offsets=long&losses=balanced_bce"

    # How crops are changed, and how some are damaged.
    c.augment = augmentation()
    c.augment.strong_probability = 0.5  # probability that a crop gets defects of sections

    c.model = network("small_unet")
    c.model.skips = "add"

    c.eval.every_steps = 100
    c.eval.crops = 16  # held-out crops, always the same
    c.eval.volumes = ""  # 'image|labels' to validate on, instead of the held-out parts
    c.eval.held_out = 0.2  # share of each volume, at its end, that is never trained on
    c.eval.held_out_axis = ""  # 'z', 'y' or 'x'; '': the axis that is longest in crops
    c.eval.margin = (2, 32, 32)  # z, y, x voxels between the training and the held-out part

    c.save.best_metric = "val_loss"
    c.save.best_mode = "min"
    c.save.every_steps = 100
    c.optimizer.learning_rate = 2e-3
    c.optimizer.ema_decay = 0.99


def _mitochondria(c: Config) -> None:
    c.data.volumes = f"{SYNTHETIC}|{SYNTHETIC}&labels=mitochondria"
    c.targets = "foreground?losses=bce+dice; contour?thickness=1&losses=balanced_bce"
    c.data.widen = False
    c.data.min_labelled = 200


def _nuclei(c: Config) -> None:
    c.data.volumes = (
        f"{SYNTHETIC}|{SYNTHETIC}&labels=mitochondria"  # the synthetic volume has no nuclei
    )
    c.targets = (
        "foreground?losses=bce+dice; contour?thickness=1&losses=balanced_bce; "
        "signed_distance?inside=8&outside=50&losses=mse:5"
    )
    c.data.widen = False
    c.data.min_labelled = 200


def _synapses(c: Config) -> None:
    c.data.volumes = f"{SYNTHETIC}|{SYNTHETIC}&labels=clefts"
    c.targets = "foreground?losses=balanced_bce+dice"
    c.data.widen = False
    c.data.min_labelled = 50
    c.data.max_blank_tries = 50


def _semantic(c: Config) -> None:
    c.targets = "classes?ids=0,1&losses=cross_entropy"
    c.data.widen = False


def _large(c: Config) -> None:
    c.num_steps = 50_000
    c.data.batch_size = 8
    c.data.crop_size = (18, 160, 160)
    c.model = network("paper_unet")
    c.model.skips = "add"
    c.optimizer.learning_rate = 1e-3
    c.optimizer.ema_decay = 0.999
    c.eval.every_steps = 1000
    c.save.every_steps = 1000
    c.log.every_steps = 100


def _wide(c: Config) -> None:
    _large(c)
    c.data.batch_size = 16
    c.data.num_threads = 16
    c.model = network("wide_unet")
    c.model.skips = "add"


def _vit(c: Config) -> None:
    _large(c)
    c.data.crop_size = (32, 160, 160)
    c.model = network("base_vit")
    c.model.skips = "add"
    c.optimizer.learning_rate = 3e-4
    c.optimizer.weight_decay = 0.05
    c.optimizer.layer_decay = 0.75


def _smoke(c: Config) -> None:
    c.num_steps = 6
    c.data.volumes = c.data.volumes.replace("shape=32,256,256", "shape=16,192,192")
    c.data.batch_size = 2
    c.data.crop_size = (6, 64, 64)
    c.model.widths = (4, 8, 12)
    c.model.kernels = ((1, 3, 3),)
    c.eval.every_steps = 3
    c.eval.crops = 4
    c.save.every_steps = 3
    c.log.every_steps = 1


def _published(preset: str, c: Config) -> None:
    """Sets a network that has published weights, which `init_from` loads (configs/import_weights.py)."""
    c.model = network(preset)
    c.model.skips = "add"
    side = 70 if preset == "dinov2_small" else 64
    c.data.crop_size = (8, side, side)
    c.optimizer.learning_rate = 3e-4
    c.optimizer.layer_decay = 0.75


PRESETS = {
    "": lambda c: None,
    "neurons": lambda c: None,
    "mitochondria": _mitochondria,
    "nuclei": _nuclei,
    "synapses": _synapses,
    "semantic": _semantic,
    "large": _large,
    "wide": _wide,
    "vit": _vit,
    **{name: functools.partial(_published, name) for name in PUBLISHED},
    "smoke": _smoke,
}
