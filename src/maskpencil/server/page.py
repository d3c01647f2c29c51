"""Make the server's HTML page, whose content security policy allows its own script and style and this server only."""

import html
from importlib.metadata import version

from starlette.responses import HTMLResponse, Response

from maskpencil.web.assets import BUILT, are_built
from maskpencil.web.document import asset, digest, document

POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src blob: data: 'self'; "
    "media-src blob: 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

NOT_BUILT = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>MaskPencil</title>
<p>The scripts of this page are not built. Type <code>make page-assets</code> in the folder of the sources, and start
the server again. Programs need no scripts: <a href="/openapi.json">/openapi.json</a> lists their addresses.</p></html>
"""
"""The page that a checkout shows instead while the scripts are not built."""


def page() -> Response:
    """Return the HTTP response with the page, or with `NOT_BUILT` if its scripts are not built."""
    if not are_built():
        return HTMLResponse(NOT_BUILT)
    style = asset(BUILT, "style.css") + asset(BUILT, "server.css")
    script = asset(BUILT, "server.js")
    values = {"style": style, "script": script, "version": html.escape(version("maskpencil"))}
    policy = POLICY.format(script=digest(script), style=digest(style))
    return HTMLResponse(document(BUILT, "server.html", values), headers={"Content-Security-Policy": policy})
