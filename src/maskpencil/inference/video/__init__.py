"""Read, segment and write videos, streams and cameras frame by frame."""
