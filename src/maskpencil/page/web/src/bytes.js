/** Bytes that are stored in the page as text. */

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
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {CompressionStream | DecompressionStream} stream
 */
async function piped(bytes, stream) {
  const through = new Blob([bytes]).stream().pipeThrough(
    /** @type {ReadableWritablePair<Uint8Array, Uint8Array<ArrayBuffer>>} */ (/** @type {unknown} */ (stream)),
  );
  return new Uint8Array(await new Response(through).arrayBuffer());
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
export function gunzipped(bytes) {
  return piped(bytes, new DecompressionStream("gzip"));
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
export function deflated(bytes) {
  return piped(bytes, new CompressionStream("deflate"));
}
