from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from emjax.errors import InputError
from emjax.evaluation.image_quality import psnr, ssim


def test_psnr_by_hand():
    target = np.zeros((2, 4, 4))
    prediction = np.stack([np.full((4, 4), 0.1), np.full((4, 4), 0.01)])
    assert psnr(prediction, target) == pytest.approx((20 + 40) / 2)
    assert psnr(255 * prediction, target, data_range=255) == pytest.approx(30)
    assert psnr(target, target) == np.inf


def test_ssim_equals_scikit_image_section_by_section():
    rng = np.random.default_rng(0)
    target = rng.uniform(size=(2, 3, 24, 20))
    prediction = np.clip(target + rng.normal(0, 0.1, target.shape), 0, 1)
    expected = [
        structural_similarity(
            p, t, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for p, t in zip(prediction.reshape(6, 24, 20), target.reshape(6, 24, 20), strict=True)
    ]
    assert ssim(prediction, target) == pytest.approx(np.mean(expected), abs=1e-7)


def test_ssim_of_equal_images_is_one_and_falls_with_noise():
    rng = np.random.default_rng(1)
    target = rng.uniform(size=(2, 32, 32))
    noise = rng.normal(size=target.shape)
    scores = [ssim(target + sigma * noise, target) for sigma in (0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1) and scores[0] > scores[1] > scores[2]


def test_mistakes_are_named():
    with pytest.raises(InputError, match="must be alike"):
        psnr(np.zeros((1, 4)), np.zeros((4, 1)))
    with pytest.raises(InputError, match="too small for SSIM; give 11"):
        ssim(np.zeros((1, 10, 32)), np.zeros((1, 10, 32)))
