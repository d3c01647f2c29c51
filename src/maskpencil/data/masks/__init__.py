"""Find and apply the encoding of mask files."""
