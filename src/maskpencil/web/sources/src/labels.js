/** What labels say about an image. */

/** @import {Labels} from "./types.js" */

/** The least share of pixels that a summary names. */
const LEAST = 0.005;

/**
 * Return the share of pixels of each class, 0 to 1.
 * @param {Uint8Array} labels
 * @param {number} classes
 */
export function shares(labels, classes) {
  const counts = new Float64Array(256);
  for (const label of labels) counts[label]++;
  return counts.subarray(0, classes).map((count) => count / labels.length);
}

/**
 * Name the classes that fill most of an image.
 * @param {Labels} result
 * @param {string[]} names
 */
export function summary({ labels }, names) {
  const found = [...shares(labels, names.length).entries()].filter(([, share]) => share >= LEAST);
  found.sort((one, other) => other[1] - one[1]);
  return found
    .slice(0, 3)
    .map(([number, share]) => `${names[number]} ${Math.round(share * 100)} %`)
    .join(", ");
}
