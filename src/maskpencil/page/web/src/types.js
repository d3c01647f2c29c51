/**
 * The types that several modules share. Sizes are always [height, width].
 *
 * @typedef {[number, number]} Size
 *
 * @typedef {object} Facts What Python writes into the page about the model.
 * @property {string} title
 * @property {string} network The usual name of the network.
 * @property {string[]} names The names of the classes.
 * @property {[number, number, number][]} palette Their colors, 0-255.
 * @property {number | Size | null} imageSize The size to which images are scaled, see Preprocessing.image_size.
 * @property {boolean} webgpu Whether WebGPU may be used.
 * @property {string} version
 * @property {{wasm: string, model: string, worker: string} | null} files Names of files beside the page, or null if
 *     the page holds them.
 *
 * @typedef {object} Labels What the network says about an image.
 * @property {Uint8Array} labels Class numbers (height, width), row by row.
 * @property {Uint8Array} confidence Probabilities of these classes, in percent.
 * @property {Size} size
 * @property {number} ms Milliseconds that the network took.
 *
 * @typedef {object} Processor What computes.
 * @property {"wasm" | "webgpu"} kind
 * @property {string} name As the page shows it: "processor, one thread" or "WebGPU (NVIDIA)".
 * @property {string} note Why it is this one, if that is not evident.
 * @property {number} nsPerPixel Nanoseconds per pixel of a warm run.
 *
 * @typedef {object} Start The first message to the worker: the bytes as base64, or addresses of files.
 * @property {"start"} kind
 * @property {string} wasm
 * @property {string} model
 * @property {boolean} embedded
 * @property {"auto" | "wasm" | "webgpu"} processor
 *
 * @typedef {object} Run
 * @property {"run"} kind
 * @property {number} id
 * @property {ImageBitmap} bitmap
 * @property {Size} size The size at which the network sees the image.
 * @property {boolean} isFrame Whether it is one of many: an image of the camera or of a video.
 * @property {ArrayBuffer[]} spares Memory of earlier results, for the result of a frame.
 *
 * @typedef {{kind: "stage", text: string}
 *     | {kind: "ready", processor: Processor}
 *     | {kind: "result", id: number, result: Labels}
 *     | {kind: "error", id: number, message: string}
 *     | {kind: "lost", message: string}
 *     | {kind: "failed", message: string}} Reply
 */

export {};
