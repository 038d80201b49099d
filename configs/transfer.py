r"""Compares what a network learns from weights of elsewhere and from scratch: the same samples, steps and decoder.

    python -m emjax.main --config configs/transfer.py --config.source=dinov2_small.safetensors \
        --config.data.volumes='a.h5:raw[0:28]|a.h5:mito[0:28]' --config.data.label_sections=4 \
        --config.eval.volumes='a.h5:raw[34:40]|a.h5:mito[34:40]'

trains every arm with every seed, each in a folder of its own below `--workdir` (default `runs/transfer`), and writes
`table.md`, `results.json` and `plots/arms.png`: the scores, their differences from the first arm, paired by seeds and
held-out crops, with intervals, and the arms' predictions beside image and labels. The same command goes on where it
was stopped, and further arms and seeds may be added to it.

Presets are those of `configs/finetune.py`, a task and a network: `mitochondria,dinov2_small` without any. All fields of
finetuning can be set, but for `seed` and `init_from`, which the arms decide.
"""

from emjax.command_line import load_config
from emjax.config import Config

DEFAULT = "mitochondria,dinov2_small"


def get_config(preset: str = "") -> Config:
    """Returns the configuration, for presets of `configs/finetune.py`."""
    c = load_config(f"configs/finetune.py:{preset or DEFAULT}")
    with c.unlocked():
        c.job = "transfer"
        del c["seed"]
        del c["init_from"]
        c.source = ""  # weights: a file as for configs/import_weights.py, a run, or an export
        c.family = ""  # how the file is laid out; '': found by its names
        # Where each arm starts, separated by commas; the first is what the others are compared with. 'scratch'; '2d':
        # the weights on each section by itself; 'center', 'average', 'uniform_g' and the other fills of
        # docs/weights.md; 'source': the weights as they are; NAME=WEIGHTS: those of another file or run. With
        # '+frozen' at its end, only decoder and head learn.
        c.arms = "scratch,2d,average,center"
        c.seeds = (0, 1, 2)  # of samples, augmentation, and of what begins anew
        # With '+frozen', the encoder sees this many different batches, once, and what it makes of them is kept on
        # disk; 0: as many as there are steps, so that the samples are those of the other arms.
        c.frozen_batches = 0
        c.resamples = 2000  # of seeds and held-out crops, for the intervals
        if "slices" in c.model:
            c.model.slices = 3
            c.data.crop_size = (3, *c.data.crop_size[1:])
        c.save.best_metric = ""  # all arms are compared after the same number of steps
        c.save.keep = 1
        c.optimizer.ema_decay = 0.0
    return c.lock()
