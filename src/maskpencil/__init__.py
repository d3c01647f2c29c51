"""From a folder of pictures and masks to a network that colours every pixel."""
