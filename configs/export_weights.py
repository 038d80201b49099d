r"""Writes a trained network to one file that other libraries can read, with a page that describes it.

    python -m emjax.main --config configs/export_weights.py --config.checkpoint=runs/finetune \
        --config.output=published --config.licence=CC-BY-4.0

writes `published/model.safetensors` and `published/README.md`: what the network was trained on and with which voxel
sizes, its scores, how to load it, and the file's SHA-256. `init_from=published` and `checkpoint=published` read it
back bit for bit.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "export_weights"
    c.checkpoint = ""  # run folder of the network, or one of its steps
    c.output = ""  # folder for the file and its page
    c.name = ""  # title of the page; '': the folder's name
    c.licence = ""  # licence of the weights, such as 'CC-BY-4.0'; data may require one
    c.overwrite = (
        False  # True: replace what is in output, and a run of another configuration in the workdir
    )
    return c.lock()
