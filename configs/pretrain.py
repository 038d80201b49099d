"""Pretrains a network on unlabelled EM volumes, self-supervised, by multiscale consistency.

    python -m emjax.main --config configs/pretrain.py

trains a small network on the embedded synthetic volume, so that all of it can be tried on any laptop. For your own
data, give the volumes and a workdir:

    python -m emjax.main --config configs/pretrain.py:ours --workdir runs/mine \
        --config.data.volumes='a.h5:raw[0:160]; b.zarr?voxel_nm=30,6,6; sections/*.png?voxel_nm=50,4,4'

Presets (after a colon):

| preset | network and crops | runs on |
|---|---|---|
| (none) | small U-Net, 4x64x64 crops of the embedded volume | 2 CPU cores, minutes |
| `smoke` | the same, a few steps, to see that everything runs | 2 CPU cores, under a minute or two |
| `real` | small U-Net for real volumes without an accelerator | 2 CPU cores, an hour |
| `ours` | the paper's U-Net at 18x160x160 with our losses and schedule | any mesh of accelerators |
| `vit` | 3D ViT encoder with a convolutional decoder at 32x160x160 | any mesh of accelerators |
| `gpu` | `ours` with wider channels and a batch for one 80 GB GPU, bfloat16 | one GPU |
| `unet_l` | `ours` with two to three times the channels, 12.5 M parameters | 8 H100, a TPU slice |
| `vit_l` | `vit` of large size, 305 M parameters | 8 H100, a TPU slice |
| `paper` | the paper's numbers: 500 K steps, channel tokens, its optimizer and loss weights | accelerators |

Any of these checkpoints can be finetuned by `configs/finetune.py:neurons --config.init_from=RUN` and the other targets,
which take over the network; `neurons,large` after `ours`, `paper` and `unet_l`, `neurons,wide` after `gpu`, and
`neurons,vit` after `vit` and `vit_l` have their crops and learning rates. U-Nets pool along z as the voxels demand; if
the crops of a preset are no multiple of that, the nearest that are one are taken.

`unet_l` and `vit_l` compute in bfloat16, recompute blocks in the backward pass, and share parameters and optimizer
among eight neighbours (`mesh.fsdp=8`), which are one machine of 8 GPUs. Their batch of 128 crops is for 8 to 128
devices; with more devices, give a multiple of their number, as `--config.data.batch_size=512` on 256. Work and memory:

| | `unet_l` | `vit_l` |
|---|---|---|
| FLOPs of a crop, both views, forward and backward | 6.4 T | 3.9 T |
| FLOPs of a step on each of 64 chips (2 crops) | 12.8 T | 7.8 T |
| time of that at an assumed 40 % of the peak of v5e, v5p | 0.16, 0.07 s | 0.10, 0.04 s |
| FLOPs of a step on each of 8 H100 (16 crops) | 103 T | 63 T |
| time of that at an assumed 40 % of the peak | 0.26 s | 0.16 s |
| parameters, two moments, moving average: 16 bytes for each parameter, shared by 8 | 0.03 GB | 0.61 GB |
| all memory on a chip of v5e:8x8 (16 GB), as compiled | 12.0 GiB | 9.4 GiB |
| all memory on each of 8 H100 (80 GB), calculated, not run | 48 GiB | 41 GiB |

docs/scale.md says what was compiled, what the programs communicate, and what follows from it.

The folder `--workdir` (default `runs/pretrain`) receives checkpoints, `results.json`, TensorBoard files and plots.
Stop it at any time; the same command continues where it stopped.
"""

import functools

from emjax.augment.presets import augmentation
from emjax.config import Config, base_config, choose_preset
from emjax.models.presets import PUBLISHED, network

# The four data sets of the paper; replace the paths with those of your own copies.
PAPER_VOLUMES = """
    fafb.zarr?group=fafb&voxel_nm=40,4,4
    fib25.zarr?group=fib25&voxel_nm=8,8,8
    kasthuri15.zarr?group=kasthuri15&voxel_nm=30,6,6
    mitoem_h.zarr?group=mitoem&voxel_nm=30,8,8
    mitoem_r.zarr?group=mitoem&voxel_nm=30,8,8
"""


def get_config(preset: str = "") -> Config:
    """Returns the configuration of a preset; the module docstring lists them."""
    c = base_config("pretrain")
    _default(c)
    choose_preset(PRESETS, preset)(c)
    return c.lock()


def _default(c: Config) -> None:
    c.num_steps = 200
    # 12 nm, not the 8 nm of most serial sections: a crop of 64 voxels then holds several neurites.
    c.data.volumes = "synthetic://neurites?shape=32,256,256&voxel_nm=40,12,12"
    c.data.batch_size = 8
    c.data.crop_size = (4, 64, 64)

    # How crops are changed, and how the strong view is damaged.
    c.augment = augmentation()
    c.augment.recipe = "ours"  # 'released': the paper's code, for comparison only
    c.augment.max_offset = (
        1,
        16,
        16,
    )  # z, y, x voxels, largest distance between the cuts of the two views
    c.augment.own_orientation = False  # True: each view has its own flip and quarter turn

    c.model = network("small_unet")

    c.loss = Config()
    c.loss.reconstruction = 1.0  # weight of the voxel reconstruction of both views
    # With five times these weights, one seed in three learns nothing, not even reconstruction: more than
    # nine tenths of the gradient are then contrastive (docs/results.md).
    c.loss.contrastive = 0.01  # weight of the multiscale contrastive loss
    c.loss.cross = 0.004  # weight of the cross-attention matching, the mean of both directions
    c.loss.kind = "mse"  # reconstruction by 'mse' or 'l1'
    c.loss.tokens = "spatial"  # positions of the pyramid; 'channel': the paper's channel maps
    c.loss.levels = (0, 1)  # pyramid levels from which tokens are made; 0 is the coarsest
    c.loss.num_tokens = 64  # positions in each crop (spatial tokens)
    c.loss.size = 64  # dimensions of a token after projection
    c.loss.heads = 4  # attention heads of the matcher
    c.loss.matcher = "projected"  # 'paper': 4096-wide attention on channel tokens
    c.loss.temperature = 0.1  # similarities are divided by it; small: only the nearest tokens count
    c.loss.negatives = "global"  # from the whole batch on all devices; 'sample': from the same crop, as in the paper
    c.loss.stop_gradient = True  # no gradient into the token that matching has to reproduce
    c.loss.form = "full"  # 'released': the paper code's loss without negatives, for ablation only
    c.loss.balance = (
        "fixed"  # 'gradient': the weights become shares of the gradient at the features
    )
    c.loss.row_chunk = 0  # rows of the token matrix computed at once, to save memory; 0: all

    c.eval.every_steps = 50
    c.eval.crops = 16  # held-out crops, always the same
    c.eval.held_out = (
        0.2  # share of each volume, at the end of its longest axis, that is never trained on
    )
    c.eval.margin = (2, 32, 32)  # z, y, x voxels between the training and the held-out part
    c.eval.level = 0  # pyramid level whose tokens are judged
    c.eval.queries = 48  # queries in each crop, for retrieval and matching
    c.eval.volumes = ""  # held-out volumes, instead of the held-out parts
    # Each view of a pair has its own flip and quarter turn. Otherwise a code of the position that never sees an image
    # has as small a matching error (by cosines) as features have (docs/results.md).
    c.eval.own_orientation = True
    c.eval.distractors = 255  # number of places from which each query's true place has to be told
    # z, y, x voxels around the true place that has no distractors from the same crop; (): the receptive field
    c.eval.exclusion_radius = ()
    c.eval.probe_train = ""  # 'image|labels' with boxes: where the membrane probe is fitted
    c.eval.probe_test = ""  # 'image|labels' with boxes: where it is scored
    c.eval.probe_membrane = ()  # ids that are membrane; (): ids are instances, with membranes between them
    c.eval.probe_ignore = ()  # ids of which nothing is known

    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_fraction = (
        0.1  # the default 0.02 of a few hundred steps would be almost no steps
    )
    c.optimizer.weight_decay = 1e-4


def _smoke(c: Config) -> None:
    c.num_steps = 6
    c.data.volumes = "synthetic://neurites?shape=16,192,192&voxel_nm=40,12,12"
    c.data.batch_size = 4
    c.model.widths = (4, 8, 12)
    c.model.kernels = ((1, 3, 3),)
    c.eval.every_steps = 3
    c.eval.crops = 4
    c.eval.queries = 24
    c.eval.distractors = 31
    c.save.every_steps = 3
    c.log.every_steps = 1


def _real(c: Config) -> None:
    c.num_steps = 1200
    c.augment.own_orientation = True
    c.eval.every_steps = 200
    c.save.every_steps = 200


def _ours(c: Config) -> None:
    c.num_steps = 50_000
    c.data.volumes = PAPER_VOLUMES
    c.data.batch_size = 32
    c.data.crop_size = (18, 160, 160)
    c.augment.max_offset = (4, 32, 32)
    c.augment.own_orientation = True
    c.model = network("paper_unet")
    c.loss.levels = (0, 1, 2)
    c.loss.num_tokens = 128
    c.loss.size = 128
    c.loss.row_chunk = 2048  # the whole matrix of a large batch takes gigabytes
    c.optimizer.warmup_fraction = 0.02
    c.optimizer.ema_decay = 0.999
    c.eval.every_steps = 1000
    c.save.every_steps = 1000
    c.log.every_steps = 100


def _vit(c: Config) -> None:
    _ours(c)
    c.data.crop_size = (32, 160, 160)
    c.model = network("base_vit")
    c.optimizer.learning_rate = 3e-4
    c.optimizer.weight_decay = 0.05


def _gpu(c: Config) -> None:
    _ours(c)
    c.model = network("wide_unet")
    c.data.batch_size = 64
    c.data.num_threads = 16


def _unet_l(c: Config) -> None:
    _ours(c)
    c.model = network("large_unet")
    _for_many(c)


def _vit_l(c: Config) -> None:
    _vit(c)
    c.model = network("large_vit")
    _for_many(c)


def _for_many(c: Config) -> None:
    """Sets the fields shared by the presets for 8 accelerators and more."""
    # Two crops on each chip of v5e:8x8, which has the least memory, 16 GB; 16 on each of 8 GPUs.
    c.data.batch_size = 128
    c.data.num_threads = 32
    c.mesh.fsdp = 8  # eight neighbours share parameters and optimizer; the batch is split over all


def _paper(c: Config) -> None:
    _ours(c)
    c.num_steps = 500_000
    c.data.batch_size = 16
    # Views and negatives stay ours: with aligned views and negatives only from the same crop, as released, a code of
    # the position is a minimum of the loss. `--config.augment.recipe=released` and `--config.loss.form=released`
    # give the released behaviour for comparison.
    c.augment.own_orientation = False
    c.model.dtype = "float32"
    c.model.strides = ((1, 2, 2),) * 4  # as the paper, whatever the voxel size
    c.loss.contrastive = 0.1
    c.loss.cross = 1.0  # weight of the mean of both directions: 0.5 for each, as released
    c.loss.tokens = "channel"
    c.loss.matcher = "paper"
    c.loss.levels = (0, 1, 2, 3)
    c.loss.stop_gradient = False
    c.optimizer.name = "adam_released"
    c.optimizer.schedule = "paper"
    c.optimizer.learning_rate = 1e-4
    c.optimizer.weight_decay = 1e-6
    c.optimizer.clip_norm = 0.0
    c.optimizer.ema_decay = 0.0


def _published(preset: str, c: Config) -> None:
    """Sets a network that has published weights, which `init_from` loads (configs/import_weights.py)."""
    c.model = network(preset)
    side = 70 if preset == "dinov2_small" else 64
    c.data.crop_size = (4, side, side)
    c.optimizer.learning_rate = 3e-4
    c.optimizer.layer_decay = 0.75


PRESETS = {
    "": lambda c: None,
    **{name: functools.partial(_published, name) for name in PUBLISHED},
    "smoke": _smoke,
    "real": _real,
    "ours": _ours,
    "vit": _vit,
    "gpu": _gpu,
    "unet_l": _unet_l,
    "vit_l": _vit_l,
    "paper": _paper,
}
