r"""A trained network as one file that other libraries read, with a page that says what it is.

    python -m emjax.main --config configs/export_weights.py --config.checkpoint=runs/finetune
    --config.output=published \
        --config.licence=CC-BY-4.0

writes `published/model.safetensors` and `published/README.md`: what the network was trained on and with which voxel
sizes, its scores, how to load it, and the file's SHA-256. `init_from=published` and `checkpoint=published` read it
back bit for bit.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "export_weights"
    c.checkpoint = ""  # run folder, or one of its steps
    c.output = ""  # folder of the file and its page
    c.name = ""  # title of the page; '': the folder's name
    c.licence = ""  # of the weights, such as 'CC-BY-4.0': data may ask for one
    c.overwrite = (
        False  # True: replace what is in output, and a run of another configuration in the workdir
    )
    return c.lock()
