"""Scripts and HTML templates of the two browser pages: the page of `maskpencil page` and that of `maskpencil serve`."""
