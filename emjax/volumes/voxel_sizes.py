"""Voxel sizes from file metadata of every kind, converted to nanometres in the order z, y, x."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts
from absl import logging

from emjax.geometry.sizes import Triple

# Names of the attribute in zarr and HDF5 arrays, in the order in which they are looked for.
SIZES = ("resolution", "voxel_size_nm_zyx", "voxel_size")
_NANOMETRES = {
    ("pm", "picometer", "picometers", "picometre"): 1e-3,
    ("nm", "nanometer", "nanometers", "nanometre", "nanometres"): 1.0,
    ("a", "å", "Å".lower(), "angstrom", "angstroms", "ångström"): 0.1,
    ("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micron", "microns"): 1e3,
    ("mm", "millimeter", "millimeters", "millimetre"): 1e6,
    ("cm", "centimeter", "centimeters", "centimetre"): 1e7,
    ("m", "meter", "meters", "metre"): 1e9,
}


def unit_nm(unit: str | bytes | None) -> float | None:
    """Returns the length in nm of a unit as files name it; None for a name that is no unit of length."""
    if isinstance(unit, bytes):
        unit = unit.decode(errors="replace")
    # ImageJ escapes the micro sign when it writes files.
    name = str(unit).strip().lower().replace("\\u00b5", "µ")
    return next((nm for names, nm in _NANOMETRES.items() if name in names), None)


def attribute_voxel_nm(
    attributes: Mapping[str, Any], names: Sequence[str | None] = (None, None, None)
) -> Triple | None:
    """Reads the voxel size from attributes of zarr and HDF5 arrays, listed in the order of their axes.

    `resolution` and its like are nm unless `units` says otherwise; `transform` (OpenOrganelle) names its axes.

    Args:
        attributes: of the array.
        names: of its axes, as `emjax.volumes.axes.axis_names` returns them.
    """
    for name in SIZES:
        # The name of one attribute says its order.
        order = (None,) * 3 if name.endswith("_zyx") else names
        values = spatial_values(attributes.get(name), order)
        if values and may_be_size(name, values):
            return _scaled(values, spatial_units(attributes.get("units"), order))
    return _transform_voxel_nm(attributes)


def n5_voxel_nm(
    attributes: Mapping[str, Any], order: Sequence[str | None] = ("x", "y", "z")
) -> Triple | None:
    """Reads `resolution` or `pixelResolution` of N5 in the order of its axes; or `transform`, which names its own.

    Args:
        attributes: of the array or group.
        order: names of the axes as N5 counts them, the fastest first.
    """
    values, units = spatial_values(attributes.get("resolution"), order), attributes.get("units")
    pixel = attributes.get("pixelResolution")
    if values is None and isinstance(pixel, dict):
        values, unit = spatial_values(pixel.get("dimensions"), order), pixel.get("unit", "nm")
        units = [unit] * 3
    name = "resolution" if "resolution" in attributes else "pixelResolution"
    if values is None or not may_be_size(name, values):
        return _transform_voxel_nm(attributes)
    return _scaled(values, spatial_units(units, order))


def may_be_size(name: str, values: Triple) -> bool:
    """Whether values of a file are above 0, as voxel sizes must be; logs values that are not.

    Args:
        name: of the attribute.
        values: (z, y, x) sizes, in any unit.
    """
    if all(value > 0 for value in values):
        return True
    _say_impossible(name, ",".join(f"{value:g}" for value in values))
    return False


def spatial_values(values: object, names: Sequence[str | None]) -> Triple | None:
    """Returns the z, y, x values from numbers listed in the order of an array's axes.

    Args:
        values: a number for each axis, or for each of z, y, x alone.
        names: of the axes of the array, None where they are not named: then the last three are z, y, x.

    Returns:
        (z, y, x), or None for values of another kind or number.
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    ):
        return None
    found = _by_axis(values, names)
    return None if found is None else tuple(float(v) for v in found)


def spatial_units(units: object, names: Sequence[str | None]) -> tuple[str | bytes | None, ...]:
    """Returns the units of z, y, x; nm where none are given.

    Args:
        units: one for all, or one for each axis, in the order of `names`.
        names: of the axes of the array.
    """
    if isinstance(units, np.ndarray):
        units = units.tolist()
    if not units:
        return ("nm",) * 3
    if isinstance(units, str | bytes):
        return (units,) * 3
    found = _by_axis(units, names) if isinstance(units, list | tuple) else None
    return (None,) * 3 if found is None else found


def ome_voxel_nm(axes: Sequence[Mapping[str, Any]], scale: Sequence[float]) -> Triple | None:
    """Reads the scale of an OME-Zarr level, whatever the order of its axes.

    Args:
        axes: items with `name` and `unit`.
        scale: one number for each axis.
    """
    by_name = {
        axis["name"].lower(): (factor, unit_nm(axis.get("unit")))
        for axis, factor in zip(axes, scale, strict=True)
    }
    sides = [by_name.get(name) for name in "zyx"]
    known = [float(side[0]) * side[1] for side in sides if side and side[1]]
    return tuple(known) if len(known) == 3 else None


def unit_voxel_nm(store: ts.TensorStore) -> Triple | None:
    """Reads the voxel size from the units that zarr 3 and TensorStore keep for each axis.

    Args:
        store: with z, y, x as its last axes.
    """
    units = store.dimension_units[-3:]
    factors = [unit_nm(u.base_unit) if u is not None else None for u in units]
    known = [u.multiplier * f for u, f in zip(units, factors, strict=True) if u is not None and f]
    return tuple(known) if len(known) == 3 else None


def _transform_voxel_nm(attributes: Mapping[str, Any]) -> Triple | None:
    transform = attributes.get("transform")
    if not isinstance(transform, dict):
        return None
    axes, scale, units = (transform.get(name, []) for name in ("axes", "scale", "units"))
    if not len(axes) == len(scale) == len(units):
        return None
    named = [{"name": a, "unit": u} for a, u in zip(axes, units, strict=True)]
    return ome_voxel_nm(named, scale)


def _by_axis(values: Sequence[Any], names: Sequence[str | None]) -> tuple[Any, Any, Any] | None:
    """Picks the values of z, y, x from values listed in the order of the axes."""
    named = list(names) if set("zyx") <= set(names) else [None] * (len(names) - 3) + list("zyx")
    if len(values) != len(named):
        named = [name for name in named if name in tuple("zyx")]
    if len(values) != len(named):
        return None
    return tuple(values[named.index(axis)] for axis in "zyx")


def _scaled(values: Triple, units: Sequence[str | bytes | None]) -> Triple | None:
    factors = [unit_nm(unit) for unit in units]
    known = [v * f for v, f in zip(values, factors, strict=True) if f]
    return tuple(known) if len(known) == len(factors) else None


@functools.cache
def _say_impossible(name: str, values: str) -> None:
    logging.warning(
        "%s of %s (z, y, x) cannot be a size of voxels, and is not taken as one; add ?voxel_nm=Z,Y,X to the address "
        "if no size is known",
        name,
        values,
    )
