"""The settings of each method, with their ranges and the values that are worth trying."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from emjax.config import nearest
from emjax.errors import InputError
from emjax.segmentation.agglomerate import LINKAGES
from emjax.segmentation.components import CONNECTIVITIES
from emjax.segmentation.fragments import COMBINE, SEEDS
from emjax.segmentation.sizes import SMALL

FLOODS = ("affinities", "boundary")

S = TypeVar("S")


def _number(default: float, low: float, high: float = float("inf"), grid: tuple = ()) -> Any:
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "grid": grid})


def _choice(default: Any, options: tuple, grid: tuple = ()) -> Any:
    return dataclasses.field(default=default, metadata={"options": options, "grid": grid})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeSettings:
    """What every method does last.

    Attributes:
        min_size: smaller segments are removed, voxels; 0 keeps all.
        small: what becomes of them: 'background', or 'neighbour' (the one with the highest mean
            affinity, or without affinities the largest contact).
        max_size: larger segments become background, voxels; 0 keeps all.
    """

    min_size: int = _number(0, 0)
    small: str = _choice("background", SMALL)
    max_size: int = _number(0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StitchSettings(SizeSettings):
    """How objects that were found in the cells of a volume are joined across their faces.

    Attributes:
        stitch: two objects of neighbouring cells are one where each is the other's largest partner
            around the face, and the voxels that both have are more than this share of the
            smaller one's. 1 joins none.
    """

    stitch: float = _number(0.5, 0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FragmentSettings(SizeSettings):
    """How affinities, or a contour or membrane channel, become fragments.

    Attributes:
        plane: each section by itself, for sections thicker than voxels are wide; false: in 3D.
        boundary: how affinities become a boundary map: 1 - their 'mean' or 1 - the 'worst'.
        boundary_threshold: seeds lie where the boundary is below.
        flood: from the seeds along 'affinities', or over the 'boundary' map. In a map the
            voxels on one side of a sharp boundary are its wall, and a wall may fall to the wrong
            side, which then joins the two: prefer it where predictions are smooth.
        seeds: the 'maxima' of the distance to the boundary, or its 'basins', all that leads to the same maximum:
            faster, and an object is cut into fragments by its shape instead of its affinities.
        sigma_seeds: smoothing of the distance whose maxima are seeds, voxels.
        sigma_weights: smoothing of the boundary map that is flooded, voxels.
        boundary_weight: share of the boundary map in what is flooded; the rest is distance.
        min_fragment: smaller fragments are flooded by their neighbours, voxels.
        foreground_threshold: voxels with less foreground are background; without a foreground
            channel, those whose highest nearest affinity is lower. 0: every voxel is labelled.
        long_range: whether long-range affinities between fragments that touch count as evidence.
            They shift all means: choose thresholds anew.
    """

    plane: bool = _choice(True, (False, True))
    boundary: str = _choice("worst", COMBINE, COMBINE)
    boundary_threshold: float = _number(0.5, 0, 1)
    flood: str = _choice("affinities", FLOODS)
    seeds: str = _choice("maxima", SEEDS)
    sigma_seeds: float = _number(1.0, 0, grid=(0.0, 1.0, 2.0))
    sigma_weights: float = _number(0.0, 0)
    boundary_weight: float = _number(1.0, 0, 1)
    min_fragment: int = _number(0, 0)
    foreground_threshold: float = _number(0.0, 0, 1)
    long_range: bool = _choice(False, (False, True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgglomerateSettings(FragmentSettings):
    """Fragments, merged strongest first; see `agglomerate.agglomerate`.

    Attributes:
        linkage: 'mean', 'quantile' or 'quantile_of_maxima' of the affinities between two clusters.
            The default is the median of the fragment pairs' largest affinities, as in the code of
            arXiv:2308.09917; its fragments are plane=true, boundary=mean, flood=boundary,
            sigma_seeds=0.
        quantile: percent.
        threshold: merges affinities above; higher merges less. waterz' threshold is 1 - this.
    """

    linkage: str = _choice("quantile_of_maxima", LINKAGES, LINKAGES)
    quantile: int = _number(50, 0, 100)
    threshold: float = _number(
        0.5, 0, 1, grid=(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MulticutSettings(FragmentSettings):
    """Fragments, partitioned at least cost; see `multicut.multicut`.

    Attributes:
        beta: prior of a boundary; more cuts more.
        weighted: whether long boundaries count more than short ones.
            The fragments in the code of arXiv:2308.09917 are boundary_threshold=0.25,
            flood=boundary, sigma_seeds=2, sigma_weights=2, boundary_weight=0.9, min_fragment=100.
        lifted: whether long-range affinities count between fragments that do not touch.
    """

    beta: float = _number(0.5, 0.001, 0.999, grid=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    weighted: bool = _choice(True, (False, True))
    lifted: bool = _choice(False, (False, True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MutexSettings(StitchSettings):
    """Voxels joined and kept apart by affinities; see `mutex.mutex_watershed`.

    Attributes:
        strides: (z, y, x) voxels between those whose long-range affinities are used; 1/1/1 uses all
            of them, cuts more and takes some fifteen times as long.
        threshold: what only affinities of this or less hold together is cut.
        foreground_threshold: as in `FragmentSettings`.
    """

    strides: tuple[int, int, int] = _number(
        (2, 8, 8), 1, grid=((1, 4, 4), (2, 8, 8), (4, 8, 8), (4, 16, 16))
    )
    threshold: float = _number(0.0, 0, 1, grid=(0.0, 0.1, 0.3))
    foreground_threshold: float = _number(0.0, 0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityComponentsSettings(SizeSettings):
    """Voxels joined by nearest affinities; see `components.affinity_components`.

    Attributes:
        threshold: joins affinities above.
    """

    threshold: float = _number(0.5, 0, 1, grid=(0.5, 0.7, 0.8, 0.9, 0.95, 0.98))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComponentsSettings(SizeSettings):
    """Connected components of one channel; see `components.components`.

    Attributes:
        channel: what is thresholded: 'foreground', 'signed_distance' (0.5 is the edge), 'class_2'...
        threshold: objects lie above.
        connectivity: 6, 18 or 26 neighbours.
        min_size: smaller objects are removed, voxels.
    """

    channel: str = _choice("foreground", ())
    threshold: float = _number(0.5, 0, 1, grid=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    connectivity: int = _choice(6, CONNECTIVITIES)
    min_size: int = _number(128, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContourSettings(StitchSettings):
    """Foreground and contour (BC); see `contour.contour_watershed`.

    Attributes:
        seed_foreground: seeds have more foreground.
        seed_contour: seeds have less contour.
        threshold: objects have more foreground.
        min_seed_size: smaller seeds are none, voxels.
        connectivity: of seeds, 6, 18 or 26.
        min_size: smaller objects are removed, voxels.
    """

    seed_foreground: float = _number(0.9, 0, 1, grid=(0.5, 0.7, 0.8, 0.9, 0.95))
    seed_contour: float = _number(0.8, 0, 1, grid=(0.2, 0.3, 0.5, 0.8))
    threshold: float = _number(0.85, 0, 1, grid=(0.3, 0.5, 0.7, 0.85))
    min_seed_size: int = _number(32, 0)
    connectivity: int = _choice(6, CONNECTIVITIES)
    min_size: int = _number(128, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistanceSettings(ContourSettings):
    """Foreground and distance, and contour where there is one (BD, BCD).

    See `distance.distance_watershed`.

    Attributes:
        seed_distance: seeds have more distance: a share of the object's largest, or, of a signed
            distance, more than this.
    """

    seed_distance: float = _number(0.5, 0, 1, grid=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7))


def read_settings(kind: type[S], method: str, given: Mapping[str, Any]) -> S:
    """Makes settings of what a user gave, numbers or their text.

    Args:
        kind: one of the dataclasses above.
        method: its name, for messages.
        given: setting -> value; what is not given has its default.

    Raises:
        InputError: an unknown setting (names the nearest), a value of another type, or one that is
            out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in fields:
            raise InputError(f"{method}: unknown setting '{name}'{nearest(name, fields)}")
        values[name] = _read(f"{method}: {name}", fields[name], value)
    return kind(**values)


def parse_settings(text: str) -> dict[str, str]:
    """Reads `NAME=VALUE&NAME=VALUE`; the three numbers of one value are separated by '/'.

    Raises:
        InputError: a part without name or value, or a name given twice.
    """
    settings: dict[str, str] = {}
    for part in text.split("&") if text.strip() else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise InputError(
                f"settings: '{part.strip()}' is no NAME=VALUE; write NAME=VALUE&NAME=VALUE"
            )
        if name in settings:
            raise InputError(f"settings: '{name}' is given twice; give it once")
        settings[name] = value
    return settings


def format_settings(settings: Mapping[str, Any]) -> str:
    """Writes settings as `parse_settings` reads them."""

    def shown(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "/".join(map(str, value))
        return str(value).lower() if isinstance(value, bool) else str(value)

    return "&".join(f"{name}={shown(value)}" for name, value in settings.items())


def grid(kind: type) -> dict[str, tuple]:
    """Returns the values that are worth trying, of each setting that has some."""
    fields = dataclasses.fields(kind)
    return {f.name: f.metadata["grid"] for f in fields if f.metadata["grid"]}


def _read(title: str, field: dataclasses.Field, value: Any) -> Any:
    default, rules = field.default, field.metadata
    if isinstance(default, tuple):
        parts = value.replace(",", "/").split("/") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or len(parts) != len(default):
            raise InputError(f"{title}={value!r} must be {len(default)} numbers z/y/x")
        return tuple(_in_range(title, _convert(title, part, int), rules) for part in parts)
    value = _convert(title, value, type(default))
    if "options" in rules:
        if rules["options"] and value not in rules["options"]:
            known = ", ".join(map(str, rules["options"]))
            raise InputError(f"{title}={value} is unknown; use one of {known}")
        return value
    return _in_range(title, value, rules)


def _in_range(title: str, value: Any, rules: Mapping[str, Any]) -> Any:
    low, high = rules["low"], rules["high"]
    # A comparison with NaN is false, so that this catches it as well.
    if not low <= value <= high:
        allowed = f"{low:g} or more" if high == float("inf") else f"between {low:g} and {high:g}"
        raise InputError(f"{title}={value} must be {allowed}")
    return value


def _convert(title: str, value: Any, kind: type) -> Any:
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        try:
            if kind is bool:
                return {"true": True, "false": False, "1": True, "0": False}[text]
            return kind(text)
        except (KeyError, ValueError):
            pass
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif kind in (bool, str) and isinstance(value, kind):
        return value
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    raise InputError(f"{title}={value!r} must be {wanted}")
