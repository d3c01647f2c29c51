"""What a file is that is no readable image, seen from its first bytes, and what to do about it."""

import re

HEAD = 4096
"""The bytes at the start of a file that are looked at."""

_CONVERT = "convert it to JPEG or PNG"

_BRANDS = {
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
    "raw photo (CR3)": (b"crx ",),
}

_MAGICS = (  # how files begin, what they are, what to do; {name} is the file
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself", "fetch the image with: git lfs pull"),
    (b"\xff\x0a", "JPEG XL", _CONVERT),
    (b"\0\0\0\x0cJXL ", "JPEG XL", _CONVERT),
    (b"%PDF", "a PDF", "save its pages as PNG, for example: pdftoppm -png {name} page"),
    (b"%!PS", "PostScript (EPS), a program that draws", "save it as PNG in the program it is from"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS), a program that draws", "save it as PNG in the program it is from"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF), commands that draw", "save it as PNG in the program it is from"),
    (b"8BPS", "a Photoshop document (PSD)", "save it as PNG or TIFF in Photoshop or GIMP"),
    (b"gimp xcf", "a GIMP document (XCF)", "export it as PNG in GIMP"),
    (b"PK\x03\x04", "a zip archive", "unpack it, or give it its right name, ending in .zip"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", "give it its right name, ending in .mkv or .webm"),
    (b"RIFF....AVI ", "a video (AVI)", "give it its right name, ending in .avi"),
    (b"\x89HDF", "HDF5 data", "export the image from it as TIFF or PNG"),
    (b"SIMPLE  =", "astronomical data (FITS)", "export the image from it as TIFF or PNG"),
    (b"\x93NUMPY", "a NumPy array", "write it as PNG or TIFF with Pillow"),
    (b"\0\0\1\0", "an icon (ICO)", _CONVERT),
    (b"qoif", "QOI", _CONVERT),
    (b"DDS ", "a texture (DDS)", _CONVERT),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)", "develop it to JPEG or TIFF in the camera maker's program"),
)

_IMAGES = (  # those that are read
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF....WEBP", "WebP"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)

AGAIN = "copy or download it again, or remove it"


def what_it_is(head: bytes) -> tuple[str, str]:
    """Say what a file that is no readable image is, and what to do: both as parts of a sentence.

    Args:
        head: its first bytes, at most `HEAD`; fewer where it is shorter.
    """
    if not head:
        return "is empty (0 bytes)", AGAIN
    if not head.strip(b"\0"):
        return f"begins with {len(head)} zero bytes, as copies that failed do", AGAIN
    if head[4:8] == b"ftyp":
        brands = {head[place : place + 4] for place in (8, *range(16, 48, 4))}
        for kind, own in _BRANDS.items():
            if brands & set(own):
                return f"is {kind}, whatever its name says, which cannot be read", _CONVERT
        return "is a video (MP4 or MOV)", "give it its right name, ending in .mp4"
    for magic, kind, remedy in _MAGICS:
        if re.match(re.escape(magic).replace(rb"\.\.\.\.", b"(?s:....)"), head):
            return f"is {kind}", remedy
    if head[:4] == b"\1\0\0\0" and head[40:44] == b" EMF":
        return "is a Windows metafile (EMF), commands that draw", "save it as PNG in the program it is from"
    for magic, kind in _IMAGES:
        if re.match(re.escape(magic).replace(rb"\.\.\.\.", b"(?s:....)"), head):
            return f"is {kind}, but damaged or cut short, or of a kind that cannot be read", f"{AGAIN}; or {_CONVERT}"
    if _is_text(head):
        return _text_kind(head)
    return (
        "is not an image in a known format (JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, PPM)",
        f"{_CONVERT}, or remove it",
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head[: len(head) - 3 if len(head) == HEAD else len(head)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)


def _text_kind(head: bytes) -> tuple[str, str]:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "is a web page (HTML), not an image: a download that failed", "download the image itself again"
    if b"<svg" in start:
        return "is SVG, a drawing in words", "export it as PNG"
    if start.startswith(b"<"):
        return "is text (XML), not an image", AGAIN
    return "is text, not an image", AGAIN
