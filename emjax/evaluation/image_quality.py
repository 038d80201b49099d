"""Scores of reconstructed images against clean ones: PSNR and SSIM."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from emjax.errors import InputError

# Gaussian window of the SSIM paper: sigma and half width, pixels.
_SIGMA, _REACH = 1.5, 5


def psnr(prediction: np.ndarray, target: np.ndarray, data_range: float = 1.0) -> float:
    """Returns the peak signal-to-noise ratio in dB, averaged over the images.

    Args:
        prediction: `[b, ...]` images.
        target: `[b, ...]` clean images.
        data_range: largest possible difference of two values.

    Returns:
        Mean over b; infinite if an image equals its target.

    Raises:
        InputError: if the shapes differ.
    """
    prediction, target = _pair(prediction, target)
    errors = np.mean(np.square(prediction - target), axis=tuple(range(1, target.ndim)))
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(data_range**2 / errors)))


def ssim(prediction: np.ndarray, target: np.ndarray, data_range: float = 1.0) -> float:
    """Returns the structural similarity of sections, averaged over all of them.

    Args:
        prediction: `[..., y, x]` images; all leading axes count as sections, which are compared
            one by one, because they can be far apart.
        target: `[..., y, x]` clean images.
        data_range: largest possible difference of two values.

    Returns:
        Mean of the SSIM map over its interior (windows that leave the image do not count), at most
        1.

    Raises:
        InputError: if the shapes differ, or a side is shorter than the window of 11 pixels.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity",
    doi:10.1109/TIP.2003.819861.
    """
    first, second = _pair(prediction, target)
    if min(first.shape[-2:]) <= 2 * _REACH:
        raise InputError(
            f"sections of {first.shape[-2:]} pixels are too small for SSIM; "
            f"give {2 * _REACH + 1} or more a side"
        )

    def blur(image: np.ndarray) -> np.ndarray:
        sigma = (0.0,) * (image.ndim - 2) + (_SIGMA, _SIGMA)
        return gaussian_filter(image, sigma, radius=(0,) * (image.ndim - 2) + (_REACH, _REACH))

    first_mean, second_mean = blur(first), blur(second)
    first_variance = blur(first * first) - first_mean**2
    second_variance = blur(second * second) - second_mean**2
    covariance = blur(first * second) - first_mean * second_mean
    luminance, contrast = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * first_mean * second_mean + luminance) * (2 * covariance + contrast)
    similarity /= first_mean**2 + second_mean**2 + luminance
    similarity /= first_variance + second_variance + contrast
    return float(similarity[..., _REACH:-_REACH, _REACH:-_REACH].mean())


def _pair(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    if prediction.shape != target.shape:
        raise InputError(f"prediction {prediction.shape} and target {target.shape} must be alike")
    return prediction, target
