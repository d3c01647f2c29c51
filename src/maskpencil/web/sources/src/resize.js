/** Scale images as the training did: bilinear with anti-aliasing, columns first, rounded to bytes after each pass. */

import { free } from "./bytes.js";

/** @import {Size} from "./types.js" */

/**
 * For every position of the result: the first source position and the weights of it and its successors.
 * @typedef {{starts: Int32Array, weights: Float64Array, span: number}} Taps
 */

/**
 * Take the red, green and blue of RGBA pixels and scale them.
 * @param {Uint8ClampedArray} rgba
 * @param {Size} from
 * @param {Size} to
 * @returns {Uint8Array} RGB, row by row.
 */
export function scaledRGB(rgba, from, to) {
  const rows = from[1] === to[1] ? withoutAlpha(rgba, from) : scaledColumns(rgba, from, to[1]);
  if (from[0] === to[0]) return rows;
  const scaled = scaledRows(rows, from[0], to);
  free(rows);
  return scaled;
}

/**
 * @param {Uint8ClampedArray} rgba
 * @param {Size} size
 */
function withoutAlpha(rgba, [height, width]) {
  const rgb = new Uint8Array(height * width * 3);
  for (let at = 0, to = 0; to < rgb.length; at += 4, to += 3) {
    rgb[to] = rgba[at];
    rgb[to + 1] = rgba[at + 1];
    rgb[to + 2] = rgba[at + 2];
  }
  return rgb;
}

/**
 * @param {number} from
 * @param {number} to
 * @returns {Taps}
 */
function taps(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1); // a wider triangle where the image shrinks, so that every pixel counts
  const span = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(to);
  const weights = new Float64Array(to * span);
  for (let position = 0; position < to; position++) {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach + 0.5));
    const end = Math.min(from, Math.floor(center + reach + 0.5));
    let sum = 0;
    for (let at = first; at < end; at++) {
      const weight = Math.max(0, 1 - Math.abs(at + 0.5 - center) / reach);
      weights[position * span + at - first] = weight;
      sum += weight;
    }
    for (let at = 0; at < span; at++) weights[position * span + at] /= sum;
    starts[position] = first;
  }
  return { starts, weights, span };
}

/**
 * @param {Uint8ClampedArray} rgba
 * @param {Size} from
 * @param {number} width
 */
function scaledColumns(rgba, [height, oldWidth], width) {
  const { starts, weights, span } = taps(oldWidth, width);
  const rgb = new Uint8Array(height * width * 3);
  let to = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++, to += 3) {
      let [red, green, blue] = [0.5, 0.5, 0.5]; // bytes are cut off, so this rounds
      const count = Math.min(span, oldWidth - starts[column]);
      let at = (row * oldWidth + starts[column]) * 4;
      for (let tap = 0; tap < count; tap++, at += 4) {
        const weight = weights[column * span + tap];
        red += weight * rgba[at];
        green += weight * rgba[at + 1];
        blue += weight * rgba[at + 2];
      }
      rgb[to] = red;
      rgb[to + 1] = green;
      rgb[to + 2] = blue;
    }
  }
  return rgb;
}

/**
 * @param {Uint8Array} rgb
 * @param {number} oldHeight
 * @param {Size} to
 */
function scaledRows(rgb, oldHeight, [height, width]) {
  const { starts, weights, span } = taps(oldHeight, height);
  const line = width * 3;
  const scaled = new Uint8Array(height * line);
  const sums = new Float64Array(line);
  for (let row = 0; row < height; row++) {
    sums.fill(0.5);
    const count = Math.min(span, oldHeight - starts[row]);
    for (let tap = 0; tap < count; tap++) {
      const weight = weights[row * span + tap];
      const at = (starts[row] + tap) * line;
      if (weight > 0) for (let column = 0; column < line; column++) sums[column] += weight * rgb[at + column];
    }
    scaled.set(sums, row * line);
  }
  return scaled;
}

/**
 * Scale labels by nearest neighbor.
 * @param {Uint8Array} labels
 * @param {Size} from
 * @param {Size} to
 */
export function scaledLabels(labels, [oldHeight, oldWidth], [height, width]) {
  if (oldHeight === height && oldWidth === width) return labels;
  const scaled = new Uint8Array(height * width);
  const columns = Int32Array.from({ length: width }, (_, column) => nearest(column, width, oldWidth));
  for (let row = 0; row < height; row++) {
    const start = nearest(row, height, oldHeight) * oldWidth;
    for (let column = 0; column < width; column++) scaled[row * width + column] = labels[start + columns[column]];
  }
  return scaled;
}

/**
 * Return the source position under the center of a position.
 * @param {number} position
 * @param {number} size
 * @param {number} oldSize
 */
function nearest(position, size, oldSize) {
  return Math.min(oldSize - 1, Math.floor(((position + 0.5) * oldSize) / size));
}
