/** At which size the network sees an image. */

/** @import {Size} from "./types.js" */

/** The largest number of pixels that the network sees at once; larger images are scaled down for it. */
export const MAX_NETWORK_PIXELS = 1_048_576;

/** The largest number of pixels of an image that the page opens. */
export const MAX_IMAGE_PIXELS = 50_000_000;

/** The milliseconds that a frame of the camera may take. */
export const FRAME_MS = 300;

const STEP = 8;
const LEAST_SIDE = 64;

/**
 * Scale a size down so that it has at most `pixels` pixels.
 * @param {Size} size
 * @param {number} pixels
 * @returns {Size}
 */
export function limited([height, width], pixels) {
  const scale = Math.min(1, Math.sqrt(pixels / (height * width)));
  return [Math.max(1, Math.floor(height * scale)), Math.max(1, Math.floor(width * scale))];
}

/**
 * Return the size at which the network sees an image: the model's own rule, then the limit of the page.
 * @param {Size} size
 * @param {number | Size | null} rule
 * @returns {Size}
 */
export function workingSize(size, rule) {
  if (Array.isArray(rule)) return limited(rule, MAX_NETWORK_PIXELS);
  if (rule === null) return limited(size, MAX_NETWORK_PIXELS);
  const scale = Math.min(1, rule / Math.max(...size));
  const [height, width] = size.map((side) => Math.max(1, halfToEven(side * scale)));
  return limited([height, width], MAX_NETWORK_PIXELS);
}

/**
 * Round as Python does: a half to the even neighbor.
 * @param {number} value
 */
function halfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Return a size for moving images at which a frame takes at most about `FRAME_MS`.
 * @param {Size} size The size of an image, which is the largest answer.
 * @param {number} nsPerPixel What the processor needs.
 * @returns {Size}
 */
export function frameSize(size, nsPerPixel) {
  const pixels = (FRAME_MS * 1e6 * 0.85) / Math.max(nsPerPixel, 1);
  if (size[0] * size[1] <= pixels) return size;
  const [height, width] = limited(size, pixels);
  return [stepped(height, size[0]), stepped(width, size[1])];
}

/**
 * @param {number} side
 * @param {number} most
 */
function stepped(side, most) {
  return Math.min(most, Math.max(LEAST_SIDE, Math.floor(side / STEP) * STEP));
}

/**
 * Write a size as people do: width, then height.
 * @param {Size} size
 */
export function shownSize([height, width]) {
  return `${width} × ${height}`;
}
