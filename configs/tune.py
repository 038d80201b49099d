"""Chooses the settings of a segmentation on a labelled volume.

    python -m emjax.main --config configs/tune.py --config.input=validation_prediction.zarr \
        --config.labels='a.h5:labels[164:200]'

tries every combination of a grid, scores each against the labels, prints a table, and writes the best one to
`WORKDIR/decoding.json` (default workdir `runs/tune`). Give `configs/segment.py` that folder:
`--config.settings=runs/tune`. Use a volume that is neither trained on nor used for the final score.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("tune")
    c.input = (
        ""  # address of the prediction of the labelled volume, as configs/predict.py writes it
    )
    c.labels = ""  # address of its labels, of the same size
    c.method = ""  # as in configs/segment.py; '': chosen by the channels
    c.grid = ""  # values to try, NAME=VALUE,VALUE&NAME=VALUE,...; '': the method's own grid
    # Score to optimize. Lowest is best: 'voi' (variation of information), 'arand' (adapted Rand error), 'cremi_score'
    # (CREMI's; needs the voxel size). Highest is best: 'ap_50', 'ap_75' (average precision), 'foreground_iou', 'dice'.
    # Of classes (method 'classes') 'class_mean_iou', 'class_mean_dice'.
    c.metric = "voi"
    c.background_ids = (0,)  # ids of the labels that are no object: not scored
    c.ignore_ids = ()  # ids of the labels of which nothing is known: not scored
    c.cremi_border_nm = 25.0  # as in configs/evaluate.py
    c.of = ""  # as in configs/segment.py
    # True: labels of another voxel size than the prediction are resampled to its: each voxel of the prediction gets the
    # label that its centre lies in.
    c.resample = True
    c.channels = ""  # as in configs/segment.py
    return c.lock()
