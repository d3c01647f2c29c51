"""Read, segment and write rasters of any size window by window, with their georeference."""
