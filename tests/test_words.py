"""The words of the project: American spelling and the field's standard terms, in code, tests and documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

REPLACED = {
    "picture": "image",
    "film": "video",
    "colour": "color",
    "grey": "gray",
    "neighbour": "neighbor",
    "centre": "center",
    "labelled": "labeled",
    "labelling": "labeling",
    "licence": "license",
    "normalis": "normaliz",
    "recognis": "recogniz",
    "behaviour": "behavior",
}
"""Words, in any form, with what is written instead."""

PHRASES = (
    "so many",
    "is told",
    "are told",
    "told of",
    "for it is",
    "hears",
    "knows",
    "as it were",
    "such as are",
    "in the mean",
    "goes on",
    "breaks? off",
    "broke off",
    "may not be read",
    "once set",
    "where there is none",
    "what is asked for",
    "lines for the user",
    "at fault",
    "the most pixels",
    "taken for",
    "looked at",
    "none where",
    "where (?:it|they) ha(?:s|ve) (?:none|no)",
    "(?:hidden|existing|damaged|usual|unused|unlisted|larger|better|missing|ignored) ones",
    "(?:the|an?) (?:main|missing|damaged|existing|nearest|largest|smallest|newest|usual|hidden|invalid|ambiguous) one",
    "too deep",
    "both need",
    "no archive",
    "which is none",
    "what is to be",
    "must be missing",
    "random views",
    "displayed size",
)
"""Phrases, as regular expressions, that readers of two papers stumbled over, such as private words and pronouns."""

OF_OTHERS = {
    "src/maskpencil/data/packed/__init__.py": {"licence"},  # a file name
    "src/maskpencil/cli/failures.py": {"colour"},  # what people type
    "src/maskpencil/data/packed/hugging_face.py": {"picture", "colour"},  # the names of other people's columns
}
"""Words that files quote."""

FILES = [
    path
    for pattern in ("src/**/*.py", "tests/**/*.py", "benchmarks/*.py", "docs/**/*.md", "*.md", "Makefile", "*.toml")
    for path in sorted(ROOT.glob(pattern))
    if path != Path(__file__)
]


def test_files_use_the_words_of_the_project() -> None:
    phrases = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b")
    found = []
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        words = [word for word in REPLACED if word not in OF_OTHERS.get(name, ())]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            plain = line.lower().replace("fujifilm", "")
            found += [f"{name}:{number}: {word}, write {REPLACED[word]}" for word in words if word in plain]
            found += [f"{name}:{number}: {phrase}" for phrase in phrases.findall(plain)]
    assert len(FILES) > 400
    assert not found
