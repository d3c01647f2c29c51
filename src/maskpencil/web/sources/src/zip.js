/** Put files into one ZIP archive without compressing them again. */

import { checksum } from "./bytes.js";
import { Refusal } from "./page.js";

/** The largest size and number of files that archives of this form hold. */
const MAX_BYTES = 0xffff_ffff;
const MAX_FILES = 0xffff;

/** Version 2.0, names in UTF-8, stored, and the first day that archives can name. */
const COMMON = [20, 0x0800, 0, 0, 0x21];

/**
 * Return an archive of files.
 * @param {{name: string, content: Blob}[]} files Of several with one name all but the first get a number.
 */
export async function zipped(files) {
  const total = files.reduce((sum, { name, content }) => sum + content.size + 6 * name.length + 200, 100);
  if (total > MAX_BYTES || files.length > MAX_FILES) {
    throw new Refusal("These are too many masks for one archive. Save some of them one by one, or use maskpencil predict.");
  }
  const names = new Set();
  /** @type {(Blob | Uint8Array<ArrayBuffer>)[]} */
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, content } of files) {
    const encoded = new TextEncoder().encode(unused(name, names));
    const crc = checksum(new Uint8Array(await content.arrayBuffer()));
    const facts = { crc, size: content.size, name: encoded.length };
    const local = record(0x04034b50, facts);
    parts.push(local, encoded, content);
    directory.push(record(0x02014b50, facts, at), encoded);
    at += local.length + encoded.length + content.size;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/**
 * Return a name that no earlier file has.
 * @param {string} name
 * @param {Set<string>} names
 */
function unused(name, names) {
  const dot = name.lastIndexOf(".");
  let own = name;
  for (let number = 2; names.has(own.toLowerCase()); number++) own = `${name.slice(0, dot)} (${number})${name.slice(dot)}`;
  names.add(own.toLowerCase());
  return own;
}

/**
 * Return the record of a file: that before its content, or, with the place of the former, that in the directory.
 * @param {number} signature
 * @param {{crc: number, size: number, name: number}} facts
 * @param {number} [place]
 */
function record(signature, { crc, size, name }, place) {
  const isEntry = place !== undefined;
  const bytes = new Uint8Array(isEntry ? 46 : 30);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const two = (/** @type {number} */ value) => (view.setUint16(at, value, true), (at += 2));
  const four = (/** @type {number} */ value) => (view.setUint32(at, value, true), (at += 4));
  four(signature);
  if (isEntry) two(COMMON[0]);
  for (const value of COMMON) two(value);
  for (const value of [crc, size, size]) four(value);
  two(name);
  if (isEntry) view.setUint32(bytes.length - 4, place, true);
  return bytes;
}
