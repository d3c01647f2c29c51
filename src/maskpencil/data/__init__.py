"""Find, read, check and convert data sets of images and masks."""
