"""Put the built scripts of the page into wheels and source archives."""

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


class PageAssets(BuildHookInterface):  # type: ignore[type-arg]
    """Build the scripts before they are packed; an editable installation builds them when they are first used."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the scripts if they are missing or old; without node and npm, warn and leave them out."""
        if version == "editable":
            return
        sys.path.insert(0, str(ROOT / "src"))
        from maskpencil.errors import MaskPencilError

        # by its path, since the package of the page needs libraries that are not installed when a wheel is built
        assets = runpy.run_path(str(ROOT / "src" / "maskpencil" / "web" / "assets.py"))
        try:
            assets["page_assets"]()
        except MaskPencilError as error:
            self.app.display_warning(f"without maskpencil page: {error}")
        else:
            build_data["artifacts"].append("/src/maskpencil/web/built/")
