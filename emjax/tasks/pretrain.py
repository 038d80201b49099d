"""Multiscale-consistency pretraining, a task that learns from unlabelled volumes.

One network sees two differently degraded views of the same tissue, as two rows of one batch. Three losses act on it:
the reconstruction of each view's clean target, the multiscale contrastive loss between the tokens of the two views, and
cross-attention soft matching, which re-expresses each token of one view from the tokens of the other.

Source: "Learning Multiscale Consistency for Self-supervised Electron Microscopy Instance Segmentation"
(arXiv:2308.09917). Spatial tokens, negatives from the global batch and separately cut views are our choice: without
them a code of the position alone is a minimum of the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emjax.augment.recipes import Recipe, window_size
from emjax.augment.views import Views, make_views
from emjax.geometry.sizes import Size
from emjax.losses.contrastive import nce, released_nce
from emjax.losses.reconstruction import reconstruction
from emjax.losses.tokens import choose_channels
from emjax.models.backbone import Backbone
from emjax.models.build import apply, init_params
from emjax.models.matcher import Matcher, TokenProjection
from emjax.models.pyramid import adaptive_pool
from emjax.tasks.terms import combine_terms
from emjax.tasks.tokens import choose_positions, pair_points, read_level

Params = Any

# Size to which a channel's map is pooled before it becomes a token (the paper's 4096-vector).
POOLED_SIZE = (16, 16, 16)


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Weights and forms of the losses; each field is documented in `configs/pretrain.py`."""

    reconstruction: float
    contrastive: float
    cross: float
    kind: str
    tokens: str
    levels: tuple[int, ...]
    num_tokens: int
    temperature: float
    negatives: str
    stop_gradient: bool
    form: str
    balance: str
    row_chunk: int


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """The pretraining task: `init`, `loss`, and the functions that its evaluation needs; all are pure.

    Attributes:
        backbone: network with decoder pyramid and reconstruction output.
        projection: features of the levels (or channel maps) to tokens.
        matcher: cross-attention from the tokens of one view to those of the other.
        recipe: how the two views are made.
        crop_size: (z, y, x) voxels of a view.
        settings: weights and forms of the losses.
    """

    backbone: Backbone
    projection: TokenProjection
    matcher: Matcher
    recipe: Recipe
    crop_size: Size
    settings: LossSettings

    @property
    def window_size(self) -> Size:
        """Size of the windows in a batch, (z, y, x) voxels."""
        return window_size(self.crop_size, self.recipe)

    def init(self, key: jax.Array) -> Params:
        """Makes the parameters of network, projection and matcher."""
        backbone_key, projection_key, matcher_key = jax.random.split(key, 3)
        image = jnp.zeros((1, *self.crop_size, 1), jnp.float32)
        params = {"backbone": init_params(self.backbone, backbone_key, image)}
        if self.settings.tokens == "spatial":
            tokens = [
                jnp.zeros((1, 2, self.backbone.level_channels[k])) for k in self.settings.levels
            ]
        else:
            tokens = [jnp.zeros((1, 2, POOLED_SIZE[0] * POOLED_SIZE[1] * POOLED_SIZE[2]))]
        params["projection"] = init_params(self.projection, projection_key, tokens)
        token = jax.eval_shape(lambda p: apply(self.projection, p, tokens), params["projection"])
        zeros = jnp.zeros((1, 2, token[0].shape[-1]))
        params["matcher"] = init_params(self.matcher, matcher_key, zeros, zeros)
        return params

    def loss(
        self, params: Params, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of one global batch of windows.

        Args:
            params: as made by `init`.
            batch: `image` `[b, Z, Y, X]` uint8 windows, larger than the crop by the recipe's margin.
            key: typed PRNG key of this step.

        The scalar loss, and scalar metrics: each term before weighting, and each term's share of the gradient at
        the features that all terms share.
        """
        view_key, token_key = jax.random.split(key)
        views = self.views(view_key, batch["image"])
        features = self.features(params, views)
        terms = {"reconstruction": lambda f, heads: self._reconstruction(f, views)}
        if self.settings.contrastive or self.settings.cross:
            terms |= self._token_terms(views, token_key)
        weights = {name: getattr(self.settings, name) for name in terms}
        heads = {name: params[name] for name in ("projection", "matcher")}
        return combine_terms(terms, weights, features, heads, self.settings.balance)

    def views(
        self, key: jax.Array, windows: jax.Array, strengths: tuple[str, str] = ("weak", "strong")
    ) -> Views:
        """Cuts and degrades two views of each window.

        Args:
            key: typed PRNG key; every window gets its own.
            windows: `[b, Z, Y, X]` uint8.
            strengths: recipe of the first and of the second view.
        """
        keys = jax.random.split(key, windows.shape[0])
        return jax.vmap(
            lambda k, window: make_views(k, window, self.crop_size, self.recipe, strengths)
        )(keys, windows)

    def features(self, params: Params, views: Views) -> dict[str, Any]:
        """Runs the network on both views as one batch of `2 b` rows, the two views of a crop next to each other."""
        images = _interleave(views.first.image, views.second.image)[..., None]
        out = apply(self.backbone, params["backbone"], images)
        return {"pyramid": out["pyramid"], "output": out["output"]}

    def _reconstruction(self, features: dict[str, Any], views: Views) -> jax.Array:
        restored = jax.nn.sigmoid(features["output"][..., 0])
        targets = _interleave(views.first.target, views.second.target)
        # The mean over 2 b rows is half the sum of the two views' means, as in the paper.
        return reconstruction(restored, targets, kind=self.settings.kind)

    def spatial_tokens(
        self, params: Params, pyramid: tuple[jax.Array, ...], points: jax.Array
    ) -> jax.Array:
        """Reads and projects tokens of the settings' levels at positions of one view.

        Args:
            params: must hold `projection`.
            pyramid: levels of this view, `[b, z_k, y_k, x_k, c_k]`.
            points: `[b, n, 3]` positions in voxels of the view.

        Returns:
            `[b, levels, n, d]` float32.
        """
        read = [
            read_level(pyramid[k], points, self.backbone.level_strides[k])
            for k in self.settings.levels
        ]
        return jnp.stack(apply(self.projection, params["projection"], read), axis=1)

    def _token_terms(self, views: Views, key: jax.Array) -> dict[str, Any]:
        """Returns the two losses on tokens, as functions of (features, heads)."""
        if self.settings.tokens == "spatial":
            directions = self._spatial_directions(views, key)
        else:
            directions = self._channel_directions(views.first.image.shape[0], key)
        terms = {}
        if self.settings.contrastive:
            terms["contrastive"] = lambda f, heads: _mean(
                [self._contrastive(pairs) for pairs in directions(f, heads)]
            )
        if self.settings.cross:
            terms["cross"] = lambda f, heads: _mean(
                [self._cross(heads, pairs) for pairs in directions(f, heads)]
            )
        return terms

    def _spatial_directions(self, views: Views, key: jax.Array) -> Any:
        """Makes the token pairs of both directions; each direction has its own grid positions in the querying view.

        If the second direction queried the twins of the first's positions, which lie at a different place in each crop,
        the place would identify the crop, and the matcher could echo it without looking at the image.
        """
        stride = self.backbone.level_strides[self.settings.levels[0]]
        ways = []
        for way_key, (asking, asked), rows in zip(
            jax.random.split(key), (views, views[::-1]), ((0, 1), (1, 0)), strict=True
        ):
            points = choose_positions(way_key, self.settings.num_tokens, self.crop_size, stride)
            ways.append((pair_points(asking, asked, points), rows))

        def directions(features: dict[str, Any], heads: Params) -> list[TokenPairs]:
            pyramids = halves(features["pyramid"])
            return [
                _token_pairs(
                    self.spatial_tokens(heads, pyramids[asking], pairs.first),
                    self.spatial_tokens(heads, pyramids[asked], pairs.second),
                    pairs.valid,
                )
                for pairs, (asking, asked) in ways
            ]

        return directions

    def _channel_directions(self, batch: int, key: jax.Array) -> Any:
        """Makes token pairs of both directions from channel maps."""
        levels = self.settings.levels
        chosen = choose_channels(
            key, [self.backbone.level_channels[k] for k in levels], [k + 1 for k in levels]
        )
        valid = jnp.ones((batch, sum(len(channels) for channels in chosen)), bool)

        def directions(features: dict[str, Any], heads: Params) -> list[TokenPairs]:
            first, second = (
                self._channel_tokens(heads, pyramid, chosen)
                for pyramid in halves(features["pyramid"])
            )
            return [_token_pairs(first, second, valid), _token_pairs(second, first, valid)]

        return directions

    def _channel_tokens(
        self, params: Params, pyramid: tuple[jax.Array, ...], chosen: list[jax.Array]
    ) -> jax.Array:
        """Returns the projected pooled maps of the chosen channels, `[b, 1, t, d]`."""
        maps = [
            adaptive_pool(pyramid[k][..., channels], POOLED_SIZE)
            for k, channels in zip(self.settings.levels, chosen, strict=True)
        ]
        tokens = [jnp.moveaxis(m, -1, 1).reshape(m.shape[0], m.shape[-1], -1) for m in maps]
        tokens = jnp.concatenate(tokens, axis=1).astype(jnp.float32)
        return apply(self.projection, params["projection"], [tokens])[0][:, None]

    def _contrastive(self, pairs: TokenPairs) -> jax.Array:
        """Returns the contrastive loss over the full token-by-token matrix of the two views."""
        return self._nce(pairs.queries, pairs.keys, pairs)

    def _cross(self, params: Params, pairs: TokenPairs) -> jax.Array:
        """Returns the loss of re-expressing each token from the tokens of the other view of the same crop."""
        batch, levels, count, size = pairs.queries.shape
        flat = (batch, levels * count, size)
        expressed, _ = apply(
            self.matcher,
            params["matcher"],
            pairs.queries.reshape(flat),
            pairs.keys.reshape(flat),
        )
        target = pairs.queries
        if self.settings.stop_gradient:
            target = jax.lax.stop_gradient(target)
        return self._nce(expressed.reshape(target.shape), target, pairs)

    def _nce(self, queries: jax.Array, keys: jax.Array, pairs: TokenPairs) -> jax.Array:
        settings = self.settings
        flat = (-1, queries.shape[-1])
        if settings.form == "released":
            return released_nce(
                queries.reshape(flat),
                keys.reshape(flat),
                temperature=settings.temperature,
                weights=pairs.weights.ravel(),
            )

        def matrix(q: jax.Array, k: jax.Array, weights: jax.Array, place: jax.Array) -> jax.Array:
            return nce(
                q.reshape(flat),
                k.reshape(flat),
                temperature=settings.temperature,
                weights=weights.ravel(),
                group=place.ravel(),
                row_chunk=settings.row_chunk,
            )

        if settings.negatives == "sample":
            return jnp.mean(jax.vmap(matrix)(queries, keys, pairs.weights, pairs.place))
        return matrix(queries, keys, pairs.weights, pairs.place)


class TokenPairs(NamedTuple):
    """Tokens of the querying view and of the queried view; tokens with the same index show the same tissue.

    Attributes:
        queries: `[b, levels, n, d]`.
        keys: `[b, levels, n, d]`.
        weights: `[b, levels, n]` float32, 0 where the tissue was destroyed.
        place: `[b, levels, n]` int32, number of the place; tokens of one place on several levels show the same tissue,
            so they are not negatives of each other.
    """

    queries: jax.Array
    keys: jax.Array
    weights: jax.Array
    place: jax.Array


def _token_pairs(queries: jax.Array, keys: jax.Array, valid: jax.Array) -> TokenPairs:
    batch, _, count, _ = queries.shape
    place = jnp.arange(batch * count).reshape(batch, 1, count)
    weights = jnp.broadcast_to(valid[:, None], queries.shape[:3]).astype(jnp.float32)
    return TokenPairs(queries, keys, weights, jnp.broadcast_to(place, weights.shape))


def _mean(values: list[jax.Array]) -> jax.Array:
    return jax.tree.reduce(jnp.add, values) / len(values)


def _interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """Joins two views `[b, ...]` to `[2 b, ...]`, row by row.

    Each device then has both views of its crops. If all first views came before all second views, half of the devices
    would have each, and whole feature maps would travel between devices.
    """
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def halves(pyramid: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Splits each level `[2 b, ...]`, as made by `Pretrain.features`, into the rows of the first and second views."""
    paired = [x.reshape(-1, 2, *x.shape[1:]) for x in pyramid]
    return tuple(x[:, 0] for x in paired), tuple(x[:, 1] for x in paired)
