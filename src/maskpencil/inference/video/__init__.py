"""Videos, streams and cameras: read, segmented and written frame by frame."""
