"""From pictures and films to masks and overlays."""
