"""Write regions of rasters of any size as GeoJSON in geographic coordinates."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.files import written_whole
from maskpencil.plain_text import json_text

Ring = Sequence[tuple[float, float]]


def write_raster_regions(
    mask: Any, path: Path, classes: ClassSet, *, min_area: int = 1, wanted: Sequence[str] | None = None
) -> None:
    """Write the connected components (of 8 neighbors) of a mask, an open rasterio data set, as a FeatureCollection.

    Coordinates are longitude and latitude (WGS 84), as RFC 7946 requires. Where the mask has a transform or ground
    control points but no coordinate reference system, they are in the units of these, and where it has neither, in
    pixels, x to the right and y down. A feature has its class, its `area` in pixels and, where the georeference is in
    meters, its `square_meters`.

    Args:
        mask: the open data set.
        path: the file to write.
        classes: the classes of the mask.
        min_area: the least pixels of a region.
        wanted: the names of the classes to look for, by default all.

    Raises:
        DataError: there is no class of a wanted name.
        OutputError: the file cannot be written.
    """
    chosen = range(len(classes)) if wanted is None else [classes.index(name) for name in wanted]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        separator = ""
        for feature in _features(mask, classes, set(chosen) - {IGNORE_INDEX}, min_area):
            file.write(separator + json_text(feature))
            separator = ",\n"
        file.write("\n]}\n")


def _features(mask: Any, classes: ClassSet, chosen: set[int], min_area: int) -> Iterator[dict[str, Any]]:
    import rasterio
    from rasterio.features import shapes
    from rasterio.transform import GCPTransformer
    from rasterio.warp import transform_geom

    in_meters = (
        is_placed(mask) and mask.crs is not None and mask.crs.is_projected and mask.crs.linear_units_factor[1] == 1
    )
    pixel = abs(mask.transform.determinant)
    points, points_crs = mask.gcps
    crs = points_crs if points else mask.crs
    on_earth = is_placed(mask) and crs is not None and (crs.is_geographic or crs.is_projected)
    by_points = GCPTransformer(points) if points else None
    for geometry, value in shapes(rasterio.band(mask, 1), connectivity=8):  # where the mask lies
        index, covered = int(value), _area(geometry["coordinates"])
        if index not in chosen or round(covered / pixel) < min_area:
            continue
        properties = {"class": classes.names[index], "class_index": index, "area": round(covered / pixel)}
        if in_meters:
            properties["square_meters"] = round(covered, 2)
        if by_points:
            rings = [_moved(ring, by_points) for ring in geometry["coordinates"]]
            geometry = {"type": geometry["type"], "coordinates": rings}
        placed = transform_geom(crs, "EPSG:4326", geometry) if on_earth else geometry
        yield {
            "type": "Feature",
            "geometry": {name: placed[name] for name in ("type", "coordinates")},
            "properties": properties,
        }


def is_placed(mask: Any) -> bool:
    """Return whether a mask, an open rasterio data set, has a transform or ground control points."""
    return bool(mask.gcps[0]) or not mask.transform.is_identity


def _moved(ring: Ring, transformer: Any) -> list[tuple[float, float]]:
    """Transform a ring of pixel corners (x, y) by ground control points."""
    columns, rows = zip(*ring, strict=True)
    x, y = transformer.xy(rows, columns, offset="ul")
    return list(zip(map(float, x), map(float, y), strict=True))


def _area(rings: Sequence[Ring]) -> float:
    """Return the area inside the first ring, the outer one, and outside the others."""
    outer, *holes = (
        abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(ring))) / 2 for ring in rings
    )
    return outer - sum(holes)
