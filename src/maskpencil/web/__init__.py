"""The scripts and skeletons of pages in the browser: that of `maskpencil page`, and that of `maskpencil serve`."""
