"""Speed tables: methods side by side in one run."""
