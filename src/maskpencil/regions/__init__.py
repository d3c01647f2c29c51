"""Find regions in label maps and write them to files.

- `find`: the connected components of each class, with box, area, centroid and confidence
- `find.outlines`: the polygons of regions, with holes, along the edges of pixels
- `write`: files in JSON, GeoJSON and COCO
"""

from maskpencil.regions.find import Region, find_regions
from maskpencil.regions.write import ImageRegions, RegionFormat, region_facts, regions_file, write_regions

__all__ = ["ImageRegions", "Region", "RegionFormat", "find_regions", "region_facts", "regions_file", "write_regions"]
