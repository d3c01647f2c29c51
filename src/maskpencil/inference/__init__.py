"""From images and videos to masks and overlays."""
