/** Open image files, and say in a sentence what to do about those that cannot be opened. */

import { Refusal } from "./page.js";
import { MAX_IMAGE_PIXELS } from "./sizes.js";

/** @import {Size} from "./types.js" */

const MEGAPIXEL = 1_000_000;

/**
 * Return what a file is, by its first bytes rather than by its name.
 * @param {File} file
 * @returns {Promise<"empty" | "heic" | "audio" | "video" | "pdf" | "tiff" | "image" | "unknown">}
 */
export async function kindOf(file) {
  if (file.size === 0) return "empty";
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (text.slice(4, 8) === "ftyp") {
    const brand = text.slice(8, 12);
    if (["heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"].includes(brand)) return "heic";
    if (["avif", "avis"].includes(brand)) return "image";
    return brand.startsWith("M4A") || brand.startsWith("M4B") ? "audio" : "video";
  }
  if (text.startsWith("\x1aE\xdf\xa3")) return "video"; // Matroska and WebM
  if (["moov", "mdat", "wide", "free"].includes(text.slice(4, 8))) return "video"; // old QuickTime
  if (text.startsWith("RIFF")) return { WEBP: /** @type {const} */ ("image"), "AVI ": /** @type {const} */ ("video") }[text.slice(8, 12)] ?? "audio";
  if (text.startsWith("ID3") || text.startsWith("OggS") || text.startsWith("fLaC")) return "audio";
  if (head[0] === 0xff && (head[1] & 0xe0) === 0xe0 && head[1] !== 0xd8 && head[1] < 0xff) return "audio"; // MP3, AAC
  if (text.startsWith("%PDF")) return "pdf";
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "tiff";
  const isImage = ["\x89PNG", "\xff\xd8\xff", "GIF8", "BM"].some((start) => text.startsWith(start));
  if (isImage) return "image";
  if (file.type.startsWith("video/")) return "video";
  if (file.type.startsWith("audio/")) return "audio";
  return file.type.startsWith("image/") ? "image" : "unknown";
}

/** What to do about kinds of files that the page cannot open. @type {Record<string, string>} */
const REMEDIES = {
  empty: "is empty: the file has 0 bytes. Copy or download it again.",
  heic: "is a HEIC image, which browsers do not open. Save it as JPEG: on an iPhone choose Settings > Camera > Formats > Most Compatible, or export it from the photos program.",
  audio: "holds sound and no image. Choose an image (JPEG, PNG, WebP, AVIF) or a video (MP4, WebM, MOV).",
  pdf: "is a PDF document. Save its pages as PNG or JPEG, and choose these.",
  tiff: "is a TIFF image, which browsers do not open. Save it as PNG, or segment it with maskpencil predict.",
  unknown: "is neither an image nor a video. Choose a JPEG, PNG, WebP or AVIF image, or an MP4, WebM or MOV video.",
};

/**
 * Refuse a file that is neither an image nor a video which browsers open.
 * @param {File} file
 * @returns {Promise<"image" | "video">}
 */
export async function accepted(file) {
  const kind = await kindOf(file);
  if (kind === "image" || kind === "video") return kind;
  throw new Refusal(`${file.name} ${REMEDIES[kind]}`);
}

/**
 * Return the size of an image as it is shown, upright, without decoding all of it.
 * @param {File} file
 * @returns {Promise<Size>}
 */
export async function sizeOf(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(damaged(file));
      image.src = address;
    });
    const size = /** @type {Size} */ ([image.naturalHeight, image.naturalWidth]);
    const pixels = size[0] * size[1];
    if (pixels === 0) throw damaged(file);
    if (pixels > MAX_IMAGE_PIXELS) {
      throw new Refusal(
        `${file.name} has ${Math.round(pixels / MEGAPIXEL)} megapixels; this page opens up to ` +
          `${MAX_IMAGE_PIXELS / MEGAPIXEL}. Save it smaller, or segment it with maskpencil predict.`,
      );
    }
    return size;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** @param {File} file */
function damaged(file) {
  return new Refusal(`${file.name} is damaged or cut off: the browser cannot decode it. Copy or download it again.`);
}

/**
 * Decode an image, upright by EXIF and with the stored numbers.
 * @param {File} file
 * @returns {Promise<ImageBitmap>}
 */
export async function decoded(file) {
  try {
    return await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw damaged(file);
  }
}
