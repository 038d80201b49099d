"""Voxel sizes as files of every kind write them, in nanometres, z, y, x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorstore as ts

from emjax.geometry.sizes import Triple

_NANOMETRES = {
    ("pm", "picometer", "picometers", "picometre"): 1e-3,
    ("nm", "nanometer", "nanometers", "nanometre", "nanometres"): 1.0,
    ("a", "å", "Å".lower(), "angstrom", "angstroms", "ångström"): 0.1,
    ("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micron", "microns"): 1e3,
    ("mm", "millimeter", "millimeters", "millimetre"): 1e6,
    ("cm", "centimeter", "centimeters", "centimetre"): 1e7,
    ("m", "meter", "meters", "metre"): 1e9,
}


def unit_nm(unit: str | None) -> float | None:
    """Returns the nanometres in a unit of length as files name it, or None for what is none."""
    # ImageJ escapes the micro sign in what it writes.
    name = str(unit).strip().lower().replace("\\u00b5", "µ")
    return next((nm for names, nm in _NANOMETRES.items() if name in names), None)


def attribute_voxel_nm(attributes: Mapping[str, Any]) -> Triple | None:
    """Reads what zarr arrays of the field carry, in the order of their axes.

    `resolution` and its like are nm unless `units` says otherwise; `transform` (OpenOrganelle) names its axes.

    Args:
        attributes: of the array.
    """
    for name in ("resolution", "voxel_size_nm_zyx", "voxel_size"):
        values = _positive(attributes.get(name))
        if values:
            return _scaled(values, attributes.get("units") or ["nm"] * 3)
    return _transform_voxel_nm(attributes)


def n5_voxel_nm(attributes: Mapping[str, Any]) -> Triple | None:
    """Reads `resolution` or `pixelResolution` of N5, both x, y, z; or `transform`, which names its axes.

    Args:
        attributes: of the array or group.
    """
    values, units = _positive(attributes.get("resolution")), attributes.get("units") or ["nm"] * 3
    pixel = attributes.get("pixelResolution")
    if values is None and isinstance(pixel, dict):
        values, units = _positive(pixel.get("dimensions")), [pixel.get("unit", "nm")] * 3
    found = _scaled(values, units) if values else None
    return found[::-1] if found else _transform_voxel_nm(attributes)


def ome_voxel_nm(axes: Sequence[Mapping[str, Any]], scale: Sequence[float]) -> Triple | None:
    """Reads the scale of an OME-Zarr level, whatever the order of its axes.

    Args:
        axes: with `name` and `unit`.
        scale: one number for each axis.
    """
    by_name = {
        axis["name"]: (factor, unit_nm(axis.get("unit")))
        for axis, factor in zip(axes, scale, strict=True)
    }
    sides = [by_name.get(name) for name in "zyx"]
    if not all(side and side[1] for side in sides):
        return None
    return tuple(float(factor) * unit for factor, unit in sides)


def unit_voxel_nm(store: ts.TensorStore) -> Triple | None:
    """Reads the units that zarr 3 and TensorStore keep for each axis.

    Args:
        store: with z, y, x as its last axes.
    """
    units = store.dimension_units[-3:]
    factors = [unit_nm(u.base_unit) if u is not None else None for u in units]
    if len(units) != 3 or not all(factors):
        return None
    return tuple(u.multiplier * f for u, f in zip(units, factors, strict=True))


def _transform_voxel_nm(attributes: Mapping[str, Any]) -> Triple | None:
    transform = attributes.get("transform")
    if not isinstance(transform, dict):
        return None
    axes, scale, units = (transform.get(name, []) for name in ("axes", "scale", "units"))
    if not len(axes) == len(scale) == len(units):
        return None
    named = [{"name": a, "unit": u} for a, u in zip(axes, units, strict=True)]
    return ome_voxel_nm(named, scale)


def _positive(values: object) -> list[float] | None:
    """Returns three numbers above 0, or None for anything else."""
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    if not all(isinstance(v, int | float) and v > 0 for v in values):
        return None
    return [float(v) for v in values]


def _scaled(values: Sequence[float], units: object) -> Triple | None:
    factors = [unit_nm(unit) for unit in units] if isinstance(units, list | tuple) else []
    if len(factors) != 3 or not all(factors):
        return None
    return tuple(v * f for v, f in zip(values, factors, strict=True))
