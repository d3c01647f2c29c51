/** Bytes: as text, compressed, and their checksum. */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/**
 * Return the CRC-32 of bytes, as PNG and ZIP files hold it.
 * @param {Uint8Array} bytes
 */
export function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * Decode base64.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  const native = /** @type {{fromBase64?: (text: string) => Uint8Array<ArrayBuffer>}} */ (
    /** @type {unknown} */ (Uint8Array)
  );
  if (native.fromBase64) return native.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/**
 * Give the memory of an array back at once; else browsers keep up to a gigabyte of it before they look for it.
 * @param {ArrayBufferView} array It is empty afterwards.
 */
export function free({ buffer }) {
  if (buffer instanceof ArrayBuffer && "transfer" in buffer) buffer.transfer(0);
}

/**
 * Compress or decompress bytes with the browser's own streams.
 * @param {Uint8Array<ArrayBuffer>[]} parts
 * @param {CompressionStream | DecompressionStream} stream
 */
async function piped(parts, stream) {
  const through = new Blob(parts).stream().pipeThrough(
    /** @type {ReadableWritablePair<Uint8Array, Uint8Array<ArrayBuffer>>} */ (/** @type {unknown} */ (stream)),
  );
  return new Uint8Array(await new Response(through).arrayBuffer());
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
export function gunzipped(bytes) {
  return piped([bytes], new DecompressionStream("gzip"));
}

/** @param {Uint8Array<ArrayBuffer>[]} parts */
export function inflated(parts) {
  return piped(parts, new DecompressionStream("deflate"));
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
export function deflated(bytes) {
  return piped([bytes], new CompressionStream("deflate"));
}
