"""SECURITY.md names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_proof_on_the_security_page_is_a_test_that_exists():
    page = (ROOT / "SECURITY.md").read_text()
    proofs = re.findall(r"`(tests/[^`]*)`", page)
    assert len(proofs) > 30
    for proof in proofs:
        path, _, test = proof.partition("::")
        assert (ROOT / path).exists(), f"{path} does not exist"
        if test:
            names = {
                node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
            }
            assert test in names, f"{path} has no {test}"


def test_every_line_of_the_security_page_has_a_proof():
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.startswith(("| What holds", "|---"))]
    assert len(claims) > 15
    assert all("`tests/" in claim.split(" | ")[1] for claim in claims)
