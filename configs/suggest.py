r"""Suggests what to label next, which labels to doubt, and what more labels would bring.

    python -m emjax.main --config configs/suggest.py --config.checkpoint=runs/finetune \
        --config.features=runs/pretrain --config.input=em.zarr --config.budget=10

lists boxes of the images that a finetuned network is unsure of and that differ from each other and from what is
labelled already, the best first: `suggestions.csv` and `suggestions.json` with places in voxels and nanometres and how
to look at each, and `plots/suggestions.png`. A longer list begins with the shorter one. docs/suggest.md says more.

    --config.labels='em_labels.zarr'            also lists where the network contradicts labels: suspects.csv
    --config.curve='4=runs/a; 8=runs/b; ...'    foretells scores for more labels, from finetunings with fewer
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("suggest")
    c.input = ""  # address of the images to choose from
    c.checkpoint = ""  # run of a finetuning, whose uncertainty decides
    c.prediction = (
        ""  # its prediction of the input, if configs/predict.py made it already; '': made here
    )
    # Pretrained (or other) network whose features say which tissue is alike; '': those of `checkpoint`.
    c.features = ""
    # Addresses of images of which labels exist, separated by ';'; '': what the checkpoint was trained on.
    c.labelled = ""
    c.budget = 10  # number of boxes to suggest
    # z, y, x voxels of a box; 0: as long as the volume, so that (1, 0, 0) are whole sections; (): the crop of the
    # network that describes tissue.
    c.size = ()
    c.share = 0.5  # share of the boxes, the most uncertain ones, that are chosen from
    c.windows = 4  # places of a large box at which tissue is described, at most
    # Labels of the input to doubt, as after '|' in data.volumes: 'LABELS' or 'NAME=LABELS|mask=MASK'; '': none.
    c.labels = ""
    c.suspects = 20  # number of boxes of labels to list, at most
    c.suspect_size = (4, 64, 64)  # z, y, x voxels of such a box
    c.suspect_least = 0.8  # difference of prediction and label, 0 to 1, from which they contradict
    # Voxels of a square within a section that must fit into what is contradicted, as borders differ by a voxel or two.
    c.suspect_thickness = 5
    # Finished finetunings with different amounts of labels, AMOUNT=RUN separated by ';', in any unit.
    c.curve = ""
    c.curve_score = ""  # score of these runs, as in results.json; '': the first of validation
    c.target_score = 0.0  # score for which the amount of labels is wanted; 0: none
    return c.lock()
