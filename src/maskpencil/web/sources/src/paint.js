/** Draw labels as colors. */

/** @import {Size} from "./types.js" */

/** The longer side of a thumbnail. */
const THUMB = 144;

/** The pixels that were last put on a canvas, which are used again. @type {WeakMap<object, ImageData>} */
const drawn = new WeakMap();

/**
 * Draw labels on a canvas, which gets their size; hidden classes stay transparent.
 * @param {HTMLCanvasElement | OffscreenCanvas} canvas
 * @param {{labels: Uint8Array, size: Size}} result
 * @param {[number, number, number][]} palette
 * @param {ReadonlySet<number>} hidden The numbers of the classes that are off.
 */
export function paintLabels(canvas, { labels, size: [height, width] }, palette, hidden) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null} */ (
    canvas.getContext("2d")
  );
  if (!context) return;
  let image = drawn.get(canvas);
  if (image?.width !== width || image.height !== height) {
    image = context.createImageData(width, height);
    drawn.set(canvas, image);
  }
  const colors = colorWords(palette, hidden);
  const words = new Uint32Array(image.data.buffer);
  for (let at = 0; at < labels.length; at++) words[at] = colors[labels[at]];
  context.putImageData(image, 0, 0);
}

/**
 * Return each class's color as the 32 bits of a pixel.
 * @param {[number, number, number][]} palette
 * @param {ReadonlySet<number>} hidden
 */
function colorWords(palette, hidden) {
  const bytes = new Uint8ClampedArray(256 * 4);
  for (const [number, color] of palette.entries()) {
    if (!hidden.has(number)) bytes.set([...color, 255], number * 4);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * Draw an image and its labels over each other.
 * @param {HTMLCanvasElement | OffscreenCanvas} canvas Its size is that of the result.
 * @param {CanvasImageSource} image
 * @param {CanvasImageSource} colors The painted labels.
 * @param {number} opacity 0 to 1
 */
export function drawOverlay(canvas, image, colors, opacity) {
  const context = /** @type {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null} */ (
    canvas.getContext("2d")
  );
  if (!context) throw new Error("the browser gives no memory for an image of this size");
  context.globalAlpha = 1;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = false;
  context.drawImage(colors, 0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
}

/**
 * Return the address of a small copy of an image.
 * @param {CanvasImageSource} image
 * @param {Size} size
 * @param {{canvas: CanvasImageSource, opacity: number}} [colors] The painted labels, to be drawn over it.
 */
export function thumbnail(image, [height, width], colors) {
  const scale = Math.min(1, THUMB / Math.max(height, width));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  if (colors) drawOverlay(canvas, image, colors.canvas, colors.opacity);
  else canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}
