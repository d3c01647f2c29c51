/**
 * The types that several modules share. Sizes are always [height, width].
 *
 * @typedef {[number, number]} Size
 *
 * @typedef {object} Classes
 * @property {string[]} names
 * @property {[number, number, number][]} palette Their colors, 0-255.
 *
 * @typedef {object} ModelFacts What Python writes into the page about the model.
 * @property {string} title
 * @property {string} network The usual name of the network.
 * @property {number | Size | null} imageSize The size to which images are scaled, see Preprocessing.image_size.
 * @property {boolean} webgpu Whether WebGPU may be used.
 * @property {string} version
 * @property {{wasm: string, model: string, worker: string} | null} files Names of files beside the page, or null if
 *     the page holds them.
 *
 * @typedef {Classes & ModelFacts} Facts
 *
 * @typedef {object} Labels The result of an image.
 * @property {Uint8Array} labels Class numbers (height, width), row by row; 255 is no class.
 * @property {Uint8Array | null} confidence Probabilities of these classes in percent, if they are known.
 * @property {Size} size
 * @property {number} ms Milliseconds that it took.
 *
 * @typedef {object} Model A model of the server.
 * @property {string} name
 * @property {string} runs What it is, and what it runs on.
 * @property {Classes} classes
 *
 * @typedef {object} Limits What the server takes.
 * @property {number} at_once The number of images that it computes at the same time.
 * @property {number} max_body The largest size of an image file in bytes.
 * @property {number} max_video The largest size of a video file in bytes.
 *
 * @typedef {object} VideoState A video on the server.
 * @property {string} id
 * @property {"waiting" | "running" | "done" | "failed" | "canceled"} state
 * @property {string} model
 * @property {number} frames The number of frames that are done.
 * @property {number | null} total The number of all frames, which may be an estimate.
 * @property {string | null} error
 * @property {string[]} warnings Damage and other losses.
 * @property {string[]} files The names of the files that are ready.
 *
 * @typedef {object} Shown What is on the screen, and can be saved.
 * @property {string} name The name of its file.
 * @property {Size} size
 * @property {Labels} result
 * @property {() => Promise<ImageBitmap>} image Decodes it.
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
