"""Runs every stage on the embedded synthetic volume: pretrain, finetune, predict, segment, evaluate, and a report.

    python -m emjax.main --config configs/demo.py

Two networks are trained on the same few labelled sections: one starts from pretraining on a larger unlabelled volume,
the other from scratch. Both segment a volume that neither has seen. Takes under 6 minutes on 2 CPU cores; the folder
`--workdir` (default `runs/demo`) receives a folder for each stage and `report.html`, which holds everything: curves,
pictures, scores, and the commands that were run, to repeat them on your own volumes. A stopped demo continues
with the same command.

It shows that all stages work and how they fit together. For results on real EM, see docs/results.md; synthetic tissue
says nothing about it.
"""

from emjax.config import Config, choose_preset

TISSUE = "synthetic://neurites?voxel_nm=40,12,12"


def get_config(preset: str = "") -> Config:
    """Returns the configuration; the preset 'smoke' only shows that everything runs."""
    c = Config()
    c.job = "demo"
    c.overwrite = False  # True: delete a finished demo in the workdir and start again

    c.volumes = f"{TISSUE}&shape=32,256,256&seed=1"  # unlabelled volume for pretraining
    # image|labels of the few sections that both networks are trained on
    c.labelled = f"{TISSUE}&shape=12,256,256&seed=2|{TISSUE}&shape=12,256,256&seed=2&labels=neurons"
    # image|labels that choose the best checkpoint
    c.validation = (
        f"{TISSUE}&shape=12,192,192&seed=3|{TISSUE}&shape=12,192,192&seed=3&labels=neurons"
    )
    # the volume that both segment; neither has seen it
    c.test_image = f"{TISSUE}&shape=16,192,192&seed=4"
    # true ids of test_image
    c.test_labels = f"{TISSUE}&shape=16,192,192&seed=4&labels=neurons"
    c.pretrain_steps = 120  # steps of self-supervised training
    c.finetune_steps = 120  # steps of each of the two networks
    c.crop_size = (8, 64, 64)  # z, y, x voxels of a crop in finetuning
    # preset that both configs/pretrain.py and configs/finetune.py have, such as 'smoke' or 'vit'; '': none
    c.network = ""
    choose_preset(PRESETS, preset)(c)
    return c.lock()


def _smoke(c: Config) -> None:
    c.network = "smoke"
    c.volumes = f"{TISSUE}&shape=16,192,192&seed=1"
    c.labelled = c.validation.replace("seed=3", "seed=2")
    c.test_image = f"{TISSUE}&shape=6,96,96&seed=4"
    c.test_labels = f"{TISSUE}&shape=6,96,96&seed=4&labels=neurons"
    c.pretrain_steps = 3
    c.finetune_steps = 3
    c.crop_size = (6, 64, 64)


PRESETS = {"": lambda c: None, "smoke": _smoke}
