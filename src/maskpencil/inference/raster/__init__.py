"""Rasters of any size: read, segmented and written window by window, with their georeference."""
