/** Write and read label maps as palette PNG files whose values are the class numbers. */

import { checksum, deflated, inflated } from "./bytes.js";

/** @import {Size} from "./types.js" */

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const BITS = 8;
const INDEXED = 3;

/**
 * Write a mask.
 * @param {Uint8Array} labels Class numbers, row by row.
 * @param {Size} size
 * @param {[number, number, number][]} palette
 * @returns {Promise<Blob>}
 */
export async function maskPNG(labels, [height, width], palette) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([BITS, INDEXED], 8);
  const rows = new Uint8Array(height * (width + 1)); // each row begins with the number of its filter, 0
  for (let row = 0; row < height; row++) {
    rows.set(labels.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  }
  const parts = [
    SIGNATURE,
    chunk("IHDR", header),
    chunk("PLTE", Uint8Array.from(palette.flat())),
    chunk("IDAT", await deflated(rows)),
    chunk("IEND", new Uint8Array()),
  ];
  return new Blob(parts, { type: "image/png" });
}

/**
 * @param {string} name
 * @param {Uint8Array} content
 */
function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let at = 0; at < 4; at++) bytes[4 + at] = name.charCodeAt(at);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, checksum(bytes.subarray(4, content.length + 8)));
  return bytes;
}

/**
 * Read the class numbers of a mask from the server, which writes rows without a filter.
 * @param {Blob} file
 * @returns {Promise<{labels: Uint8Array, size: Size}>}
 */
export async function readMask(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const [width, height, bits, kind] = [view.getUint32(16), view.getUint32(20), bytes[24], bytes[25]];
  const packed = [];
  for (let at = SIGNATURE.length; at < bytes.length; ) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT") packed.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const rows = await inflated(packed);
  if (bits !== BITS || kind !== INDEXED || rows.length !== height * (width + 1)) throw new Error("the mask is no palette PNG");
  const labels = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const begin = row * (width + 1);
    if (rows[begin] !== 0) throw new Error("the rows of the mask have a filter");
    labels.set(rows.subarray(begin + 1, begin + 1 + width), row * width);
  }
  return { labels, size: [height, width] };
}
