"""Segment images, rasters and videos, and write masks and overlays."""
