"""Evaluation of pretrained features on a fixed set of held-out crops.

A falling loss does not show that features are good, so they are tested in a task: find the tissue of one view in the
other, among distractors. Raw pixels, the untrained network and chance are tested in the same way, because a score
means nothing without them.

Both views of a pair are strongly degraded, and each has its own flip and quarter turn. If they were aligned, a code of
the position that never looks at the image would be hard to beat; that code is scored too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from emjax.errors import InputError
from emjax.evaluation import image_quality, retrieval, spectrum
from emjax.models.build import apply
from emjax.parallel.compile import jit
from emjax.parallel.mesh import replicated
from emjax.tasks.pretrain import Params, Pretrain, halves
from emjax.tasks.tokens import grid_positions, pair_points, read_level

# Number of spatial tokens from which the effective rank is computed.
RANK_TOKENS = 4096
# Number of places of the other view, besides the true ones, to which a query may be matched.
CANDIDATES = 1024
# Number of crops in the picture.
SHOWN = 4


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the evaluation; each field is documented in `configs/pretrain.py`."""

    level: int
    queries: int
    distractors: int
    exclusion_radius: tuple[float, ...]
    own_orientation: bool


class PretrainEvaluation:
    """Scores retrieval, matching, reconstruction and collapse, on fixed pairs of views of held-out crops.

    Args:
        task: the task; pairs have the orientations that `settings` say, not those of its recipe.
        windows: `[b, Z, Y, X]` uint8 held-out windows.
        settings: what is evaluated, and how.
        mesh: every process of the mesh gets the results.
        chunk: number of crops evaluated at once; must divide b.
        seed: seed of the views and positions, which never change.

    Raises:
        InputError: if there are fewer queries than the distractors need.
    """

    def __init__(
        self,
        task: Pretrain,
        windows: np.ndarray,
        settings: EvaluationSettings,
        *,
        mesh: Mesh,
        chunk: int,
        seed: int = 0,
    ) -> None:
        if task.recipe.name != "released":
            # The released recipe has no orientation setting, and its views are not registered.
            pairs = dataclasses.replace(task.recipe, own_orientation=settings.own_orientation)
            task = dataclasses.replace(task, recipe=pairs)
        self._task = task
        self._level = settings.level
        self._stride = task.backbone.level_strides[settings.level]
        self._chunk = chunk

        def choose(key: jax.Array, count: int) -> jax.Array:
            grid = grid_positions(task.crop_size, self._stride)
            keys = jax.random.split(key, len(windows))
            count = min(count, len(grid))
            return jax.vmap(lambda k: grid[jax.random.permutation(k, len(grid))[:count]])(keys)

        def prepare(images: jax.Array) -> tuple:
            keys = jax.random.split(jax.random.key(seed), 4)
            view_key, point_key, rank_key, candidate_key = keys
            views = task.views(view_key, images, ("strong", "strong"))
            pairs = pair_points(views.first, views.second, choose(point_key, settings.queries))
            rank_points = choose(rank_key, -(-RANK_TOKENS // len(windows)))
            return views, pairs, rank_points, choose(candidate_key, CANDIDATES)

        # Kept on the host, since every evaluation needs them as inputs, whatever its devices.
        prepared = jax.device_get(jit(prepare)(jnp.asarray(windows)))
        self.views, self._pairs, self._rank_points, candidates = prepared
        self._candidates = np.concatenate([self._pairs.second, candidates], axis=1)
        valid = self._pairs.valid
        crops = np.broadcast_to(np.arange(len(windows))[:, None], valid.shape)
        self._distractors = retrieval.draw_distractors(
            self._pairs.second[valid],
            crops[valid],
            exclusion_radius=exclusion_radius(task, settings),
            count=settings.distractors,
            seed=seed,
        )
        self._compute = jit(self._features, out_shardings=replicated(mesh))
        self._read_tokens = jit(self._tokens, out_shardings=replicated(mesh))

    @property
    def uses_tokens(self) -> bool:
        """Whether the trained tokens are judged, and not only the features from which they are made."""
        settings = self._task.settings
        trained = settings.contrastive or settings.cross
        return bool(trained) and settings.tokens == "spatial" and self._level in settings.levels

    def baselines(self) -> dict[str, float]:
        """Returns the scores of baselines that learn nothing.

        Returns:
            `_raw`: of raw pixels, as 16x16 patches, and of the degraded image as its own reconstruction;
            `_position`: of a code of the position in the view, which never sees an image; `_same_place`: of the
            answer that tissue lies at the same place in both views; `_chance`: of guessing.
        """
        first = retrieval.patch_descriptors(self.views.first.image, self._pairs.first)
        second = retrieval.patch_descriptors(self.views.second.image, self._pairs.second)
        places = retrieval.patch_descriptors(self.views.second.image, self._candidates)
        one, other, anywhere = (
            retrieval.position_code(points, self._task.crop_size)
            for points in (self._pairs.first, self._pairs.second, self._candidates)
        )
        moved = np.linalg.norm(self._pairs.first - self._pairs.second, axis=-1)[self._pairs.valid]
        return {
            "retrieval_top1_chance": retrieval.chance_top1(self._distractors),
            "retrieval_top1_raw": self._top1(first, second),
            "retrieval_top1_position": self._top1(one, other),
            "matching_error_voxels_same_place": float(moved.mean()),
            "matching_error_cosine_voxels_raw": self._cosine_error(first, places),
            "matching_error_cosine_voxels_position": self._cosine_error(one, anywhere),
            "psnr_db_raw": image_quality.psnr(self.views.second.image, self.views.second.target),
            "ssim_raw": image_quality.ssim(self.views.second.image, self.views.second.target),
        }

    def __call__(self, params: Params) -> dict[str, float]:
        """Scores parameters.

        Args:
            params: as made by the task.

        Returns:
            `retrieval_top1` (of the trained tokens if there are some, else of the features),
            `retrieval_top1_features`, `matching_error_voxels` of the place that the matcher expects, if it is
            trained, `matching_error_cosine_voxels` of the mean of places weighted by a softmax of the tokens' cosines
            (the same measure for every run, our choice), `psnr_db`, `ssim`, `effective_rank` and `variance_level<k>`.
        """
        parts = [jax.device_get(self._compute(params, chunk)) for chunk in self._chunks()]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        first, second, places = _standardise(found["first"], found["second"], found["places"])
        scores = {"retrieval_top1_features": self._top1(first, second)}
        scores["retrieval_top1"] = scores["retrieval_top1_features"]
        if self.uses_tokens:
            first, second, places = (found[f"{n}_tokens"] for n in ("first", "second", "places"))
            scores["retrieval_top1"] = self._top1(first, second)
        scores["matching_error_cosine_voxels"] = self._cosine_error(first, places)
        if "attention" in found:
            scores["matching_error_voxels"] = self._error(found["attention"])
        levels = range(len(self._task.backbone.level_strides))
        variances = spectrum.level_variances({f"level{k}": found[f"rank{k}"] for k in levels})
        tokens = found[f"rank{self._level}"]
        return scores | {
            "psnr_db": image_quality.psnr(found["restored"], self.views.second.target),
            "ssim": image_quality.ssim(found["restored"], self.views.second.target),
            "effective_rank": spectrum.effective_rank(tokens.reshape(-1, tokens.shape[-1])),
            **{f"variance_{name}": value for name, value in variances.items()},
        }

    def show(self, params: Params) -> list[dict[str, Any]]:
        """Returns the data for a picture of the first crops.

        Returns:
            For each crop: `first`, `second`, `target`, `restored` `[y, x]` of one section each, `similarity` `[y, x]`
            of one token of the first view to all places of the second view's section, and the true places of that token
            in both views: `query` and `twin` (z, y, x).
        """
        chunk = next(self._chunks())
        restored = jax.device_get(self._compute(params, chunk))["restored"]
        crops = []
        for i in range(min(SHOWN, self._chunk)):
            valid = np.flatnonzero(self._pairs.valid[i])
            if not len(valid):
                continue
            # The point nearest the middle of the crop is the easiest to look at.
            middle = (np.asarray(self._task.crop_size) - 1) / 2
            away = np.abs(self._pairs.first[i][valid] - middle)[:, 1:].max(axis=1)
            chosen = valid[np.argmin(away)]
            query, twin = self._pairs.first[i, chosen], self._pairs.second[i, chosen]
            z, w = int(round(float(query[0]))), int(round(float(twin[0])))
            crops.append(
                {
                    "first": self.views.first.image[i, z],
                    "second": self.views.second.image[i, w],
                    "target": self.views.second.target[i, w],
                    "restored": restored[i, w],
                    "similarity": self._similarity(params, chunk, i, query, w),
                    "query": query,
                    "twin": twin,
                }
            )
        return crops

    def _similarity(
        self, params: Params, chunk: tuple, crop: int, query: np.ndarray, section: int
    ) -> np.ndarray:
        """Returns the cosines of one token of the first view with all places of a section of the second."""
        grid = np.asarray(grid_positions(self._task.crop_size, self._stride))
        sections = np.unique(grid[:, 0])
        nearest = sections[np.argmin(np.abs(sections - section))]
        places = grid[grid[:, 0] == nearest]
        views = chunk[0]
        points = np.zeros((self._chunk, len(places), 3), np.float32)
        points[crop] = places
        asked = np.zeros((self._chunk, 1, 3), np.float32)
        asked[crop, 0] = query
        first, second = self._read_tokens(params, views, asked, points)
        first, second = np.asarray(first)[crop], np.asarray(second)[crop]
        shares = retrieval.soft_argmax(first, second, 1.0)
        side = self._task.crop_size[1] // self._stride[1]
        return np.log(shares[0]).reshape(side, -1)

    def _tokens(
        self, params: Params, views: Any, first: jax.Array, second: jax.Array
    ) -> tuple[jax.Array, ...]:
        """Returns tokens if these are trained, else features, at positions of both views: `[b, n, d]` each."""
        pyramids = halves(self._task.features(params, views)["pyramid"])
        if not self.uses_tokens:
            return tuple(
                read_level(pyramid[self._level], points, self._stride)
                for pyramid, points in zip(pyramids, (first, second), strict=True)
            )
        index = self._task.settings.levels.index(self._level)
        return tuple(
            self._task.spatial_tokens(params, pyramid, points)[:, index]
            for pyramid, points in zip(pyramids, (first, second), strict=True)
        )

    def _features(self, params: Params, chunk: tuple) -> dict[str, jax.Array]:
        """Returns everything that is measured on some crops, in one pass through the network."""
        views, pairs, rank_points, places = chunk
        features = self._task.features(params, views)
        first, second = halves(features["pyramid"])
        stride = self._stride
        found = {
            "first": read_level(first[self._level], pairs.first, stride),
            "second": read_level(second[self._level], pairs.second, stride),
            "places": read_level(second[self._level], places, stride),
            "restored": jax.nn.sigmoid(halves((features["output"],))[1][0][..., 0]),
        }
        for k, step in enumerate(self._task.backbone.level_strides):
            found[f"rank{k}"] = read_level(first[k], rank_points, step)
        if not self.uses_tokens:
            return found
        index = self._task.settings.levels.index(self._level)

        def tokens(pyramid: tuple[jax.Array, ...], points: jax.Array) -> jax.Array:
            return self._task.spatial_tokens(params, pyramid, points)[:, index]

        found["first_tokens"] = tokens(first, pairs.first)
        found["second_tokens"] = tokens(second, pairs.second)
        found["places_tokens"] = tokens(second, places)
        if self._task.settings.cross:
            _, attention = apply(
                self._task.matcher,
                params["matcher"],
                found["first_tokens"],
                found["places_tokens"],
            )
            found["attention"] = attention
        return found

    def _chunks(self) -> Iterator[tuple]:
        everything = (self.views, self._pairs, self._rank_points, self._candidates)
        for start in range(0, len(self._candidates), self._chunk):
            yield jax.tree.map(lambda x, s=start: x[s : s + self._chunk], everything)

    def _top1(self, first: np.ndarray, second: np.ndarray) -> float:
        valid = self._pairs.valid
        return retrieval.retrieval_top1(first[valid], second[valid], self._distractors)

    def _cosine_error(self, queries: np.ndarray, places: np.ndarray) -> float:
        return self._error(retrieval.soft_argmax(queries, places, self._task.settings.temperature))

    def _error(self, attention: np.ndarray) -> float:
        return retrieval.matching_error_voxels(
            attention, self._candidates, self._pairs.second, self._pairs.valid
        )


def check_settings(settings: EvaluationSettings, levels: int) -> None:
    """Raises InputError if the level to be judged does not exist, or the exclusion radius is no radius."""
    if not 0 <= settings.level < levels:
        raise InputError(
            f"eval.level={settings.level}: the network has levels 0 (coarsest) to {levels - 1}"
        )
    radius = settings.exclusion_radius
    if len(radius) not in (0, 3) or any(not 0 <= r < float("inf") for r in radius):
        raise InputError(
            f"eval.exclusion_radius={tuple(radius)} needs three lengths, z, y, x, of 0 or more voxels, or () for the "
            "receptive field"
        )


def exclusion_radius(task: Pretrain, settings: EvaluationSettings) -> tuple[float, ...]:
    """Returns how far from a query's true place, along any axis, the distractors of the same crop lie.

    Without a setting it is the receptive field, which is often larger than a crop: then all distractors come from other
    crops. A radius within the receptive field is taken, with a warning.

    Args:
        task: the task, whose network has the receptive field.
        settings: of the evaluation.

    Returns:
        (z, y, x) voxels.
    """
    # Farther apart than twice the halo, two places see no voxel in common.
    apart = tuple(2.0 * halo for halo in task.backbone.footprint.halo)
    if not settings.exclusion_radius:
        return apart
    if any(r < a for r, a in zip(settings.exclusion_radius, apart, strict=True)):
        logging.warning(
            "eval.exclusion_radius=%s lies within the receptive field: places up to %s voxels apart see voxels in "
            "common, so that distractors of the same crop may show the network some of the query's own tissue; () "
            "takes the receptive field",
            *(tuple(settings.exclusion_radius), apart),
        )
    return settings.exclusion_radius


def _standardise(*features: np.ndarray) -> list[np.ndarray]:
    """Scales every dimension to mean 0 and standard deviation 1 over all given features.

    After a rectifier features share a large mean, which would dominate their cosines.
    """
    rows = np.concatenate([f.reshape(-1, f.shape[-1]) for f in features[:2]])
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    return [(f - mean) / np.maximum(spread, 1e-6) for f in features]
