/** Save what is on the screen. */

import { paintLabels, drawOverlay } from "./paint.js";
import { Refusal, save, stem } from "./page.js";

/** @import {Classes, Shown} from "./types.js" */
/** @import {View} from "./view.js" */

const LARGEST_CANVAS = 16_384;

/**
 * Save an image with its colors over it as it looks, in the size of the image.
 * @param {Shown} shown
 * @param {Classes} classes
 * @param {View} view
 */
export async function saveOverlay({ name, size, result, image }, classes, view) {
  if (Math.max(...size) > LARGEST_CANVAS) {
    throw new Refusal(`${name} is wider than ${LARGEST_CANVAS} pixels, too wide for an overlay; the mask can be saved.`);
  }
  const colors = new OffscreenCanvas(1, 1);
  paintLabels(colors, result, classes.palette, view.hidden);
  const canvas = new OffscreenCanvas(size[1], size[0]);
  const bitmap = await image();
  drawOverlay(canvas, bitmap, colors, view.opacity);
  bitmap.close();
  save(await canvas.convertToBlob({ type: "image/png" }), `${stem(name)}_overlay.png`);
}
