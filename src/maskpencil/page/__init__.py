"""Write a model as an HTML page that segments images, the camera and videos in any browser, without a server."""

from maskpencil.page.write import PageSize, write_page, write_site

__all__ = ["PageSize", "write_page", "write_site"]
