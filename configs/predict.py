"""Predicts a whole volume with a finetuned network; only its checkpoint is needed.

    python -m emjax.main --config configs/predict.py --config.checkpoint=runs/finetune \
        --config.input=em.zarr --config.output=prediction.zarr

writes the network's prediction at every voxel as OME-Zarr: `[c, z, y, x]`, with the names of the channels and the
offsets of affinities as attributes, which `configs/segment.py` reads. Memory does not grow with the volume. Stop it at
any time: the same command continues with the blocks that are not done, and the output is the same, byte for byte.

Several processes or machines share a volume when each is started with its own part, in one workdir:

    python -m emjax.main --config configs/predict.py --config.part=0/4 ...
    python -m emjax.main --config configs/predict.py --config.part=1/4 ...

Under a launcher such as srun each process also needs --num_processes=1.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("predict")
    c.checkpoint = ""  # run folder of a finetuning (its best step is used), one of its steps, or a params folder
    c.input = ""  # address of the images
    c.output = ""  # path of the OME-Zarr to write
    # True: images of another voxel size than that of the training are resampled to it, block by block. False: they are
    # taken as they are, which is refused where the sizes differ by more than 20 %.
    c.resample = True
    # Voxel size of the output where images were resampled: 'trained', as the network saw them; 'native', that of the
    # input, interpolated back (not for affinities: configs/segment.py has at=native, which brings ids back).
    c.at = "trained"
    c.dtype = "uint8"  # stores 255 times the prediction, rounded; 'float16': the prediction itself
    # Channels to write: '' all of the network; 'nearest' the affinities that join neighbours, which are all that
    # agglomeration and multicut need, in a quarter of the disk space; or names, as in 'foreground,affinity:-1/0/0'.
    c.channels = ""
    c.tile_size = ()  # z, y, x voxels that the network sees at once; (): as in training
    c.overlap = (
        0.5  # share of a tile that the next one covers too, at least 0.25, which is 3 times as fast
    )
    c.blending = "gaussian"  # weights of overlapping tiles; 'linear': flat with ramps at the edges
    c.variants = (
        1  # number of flipped and transposed tiles to average: 1, 4, 8 or 16; as many times slower
    )
    c.batch_size = 0  # tiles that run together on all devices; 0: chosen by their size
    # I/N: this process takes every N-th block, from the I-th on; processes of one run take theirs by themselves
    c.part = "0/1"
    return c.lock()
