"""Make the page that the server shows: one document, whose policy allows its own script and style and this server."""

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
"""What is shown in place of the page in a checkout where npm was never run."""


def page() -> Response:
    """Return the answer that holds the page, or a sentence that says how to build its scripts."""
    if not are_built():
        return HTMLResponse(NOT_BUILT)
    style = asset(BUILT, "style.css") + asset(BUILT, "server.css")
    script = asset(BUILT, "server.js")
    values = {"style": style, "script": script, "version": html.escape(version("maskpencil"))}
    policy = POLICY.format(script=digest(script), style=digest(style))
    return HTMLResponse(document(BUILT, "server.html", values), headers={"Content-Security-Policy": policy})
