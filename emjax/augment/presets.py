"""The fields of augmentation as a group of a configuration, with what each is; imports no jax.

`emjax.augment.recipes.Recipe` has the same names and defaults.
"""

from __future__ import annotations

from emjax.config import Config


def augmentation() -> Config:
    """Returns the fields that pretraining and finetuning share."""
    a = Config()
    a.orientation_probability = 1.0  # probability that a crop is flipped or turned
    a.reverse_sections = True  # whether flips include the reversal of z
    a.rescale_probability = 0.5  # probability that it is rescaled in the plane
    a.rescale_range = (0.75, 4 / 3)  # smallest and largest magnification
    a.elastic_probability = 0.3  # probability that it is deformed
    a.elastic_spacing = (4, 40, 40)  # z, y, x voxels between control points of the deformation
    a.elastic_jitter = 2.0  # standard deviation of the control points, voxels
    _weak(a)
    _strong(a)
    return a


def _weak(a: Config) -> None:
    a.intensity_probability = 0.8  # probability that contrast, brightness and gamma change
    a.contrast = 0.05  # the factor is 1 +- up to this
    a.brightness = 0.05  # largest summand, grey values of [0, 1]
    a.gamma_octaves = 1.0  # the exponent is between 2 to the minus and plus this power
    # probability that each section gets its own change, instead of one for the crop
    a.intensity_section_probability = 0.75
    a.noise_probability = 0.3  # probability of weak noise
    a.noise_sigma = 0.05  # its largest standard deviation, grey values of [0, 1]
    a.blur_probability = 0.3  # probability of a weak blur
    a.blur_sigma = 1.0  # its largest standard deviation, voxels
    a.blur_radius = (1, 4)  # smallest and largest radius of its kernel, voxels


def _strong(a: Config) -> None:
    a.strong_count = (1, 3)  # fewest and most defects of a crop that gets defects
    # how often each defect is among them, compared with the others; 0: never
    a.strong_weights = Config()
    a.strong_weights.cutout = 0.5  # black cuboids
    a.strong_weights.missing = 0.2  # black sections, or black rectangles in them
    a.strong_weights.misalign = 0.2  # sections out of register
    a.strong_weights.fold = 0.2  # black bands with the tissue drawn towards them
    a.strong_weights.section_blur = 0.2  # sections out of focus
    a.strong_weights.noise = 0.2  # strong noise
    a.strong_weights.sobel = 0.1  # edges instead of grey values
    a.strong_noise_sigma = (0.01, 0.2)  # smallest and largest deviation of strong noise
    a.misalign_shift = 17  # largest shift of a section, voxels; at most a quarter of the crop
    a.misalign_section_probability = 0.2  # probability that a section is shifted
    a.cutout_count = (60, 100)  # fewest and most cuboids in 18x160x160 voxels
    a.cutout_depth = (5, 10)  # smallest and largest size in z, voxels; at most half the crop
    a.cutout_side = (10, 20)  # smallest and largest size in y and x, voxels; at most half the crop
    a.missing_whole_probability = 0.2  # that a section is lost, if whole ones are
    a.missing_part_probability = 0.5  # that it loses a rectangle, if rectangles are lost
    a.fold_sections = 5  # most folded sections
    a.fold_half_width = (5, 10)  # smallest and largest half width of the black band, voxels
    a.fold_width = 40  # largest distance from the fold within which tissue vanishes, voxels
    a.fold_slope = (1e-5, 0.1)  # smallest and largest decay of the displacement with the distance
    a.fold_margin = 40  # voxels around a section from which lines of folds begin
    a.section_blur_sigma = (0.0, 5.0)  # smallest and largest standard deviation, voxels
    a.section_blur_whole_probability = 0.5  # that a section is blurred, if whole ones are
    a.section_blur_part_probability = 0.7  # that a rectangle of it is, if rectangles are
