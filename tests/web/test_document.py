"""Documents from skeletons: their parts, their values, and data that ends no element."""

import base64
import hashlib
import json

from maskpencil.web.document import data_block, digest, document, json_data


def test_parts_and_values_are_filled_in_and_braces_in_a_value_stay(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "view.html").write_text("<p>{{name}}</p>\n")
    (tmp_path / "index.html").write_text("<main>\n{{>view}}\n</main>{{name}}{{other}}")
    made = document(tmp_path, "index.html", {"name": "{{other}} {{>view}}\n", "other": "\\1"})
    assert made == "<main>\n<p>{{other}} {{>view}}\n</p>\n</main>{{other}} {{>view}}\n\\1"


def test_data_ends_no_element():
    block = data_block("facts", json_data({"name": "</script><!--"}))
    assert block.count("<") == 2
    assert json.loads(block.partition(">")[2].rpartition("<")[0]) == {"name": "</script><!--"}


def test_the_digest_is_that_of_policies():
    assert digest("a") == f"'sha256-{base64.b64encode(hashlib.sha256(b'a').digest()).decode()}'"
