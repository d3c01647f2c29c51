/** Run the network in a worker, so that the page answers meanwhile. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/webgpu";

import { free, fromBase64, gunzipped } from "./bytes.js";
import { scaledRGB } from "./resize.js";

/** @import {Labels, Processor, Reply, Run, Size, Start} from "./types.js" */

/** Width and height of the image with which the processors are compared. */
const TRIAL_SIDE = 128;

const VENDORS = new Map([
  ["nvidia", "NVIDIA"],
  ["amd", "AMD"],
  ["intel", "Intel"],
  ["apple", "Apple"],
  ["arm", "Arm"],
  ["qualcomm", "Qualcomm"],
]);

const page = /** @type {{
    postMessage(message: Reply, transfer?: Transferable[]): void,
    onmessage: ((event: MessageEvent<Start | Run>) => void) | null,
}} */ (/** @type {unknown} */ (self));

/** @type {InferenceSession | null} */
let session = null;

/** @type {OffscreenCanvas | null} */
let canvas = null;

/** The pixels of the last frame. */
let frameBytes = new Uint8ClampedArray();

/** The last of the runs, which wait for each other. */
let queue = Promise.resolve();

page.onmessage = ({ data }) => {
  if (data.kind === "start") {
    start(data).catch((error) => page.postMessage({ kind: "failed", message: reason(error) }));
  } else {
    queue = queue.then(() => answer(data));
  }
};

/** @param {unknown} error */
function reason(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {Start} message */
async function start(message) {
  page.postMessage({ kind: "stage", text: "unpacking the network" });
  env.logLevel = "error";
  env.wasm.proxy = false;
  env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  const [wasm, model] = await Promise.all([
    message.embedded ? fromBase64(message.wasm) : loaded(message.wasm),
    message.embedded ? fromBase64(message.model) : loaded(message.model),
  ]);
  env.wasm.wasmBinary = await gunzipped(wasm);
  const adapter = message.processor === "wasm" ? "" : await usableAdapter(message.processor === "webgpu");
  page.postMessage({ kind: "stage", text: "preparing the network" });
  const onCPU = await InferenceSession.create(model, { executionProviders: ["wasm"], enableCpuMemArena: false });
  session = onCPU;
  const threads = env.wasm.numThreads === 1 ? "one thread" : `${env.wasm.numThreads} threads`;
  /** @type {Processor} */
  let processor = { kind: "wasm", name: `processor, ${threads}`, note: "", nsPerPixel: await speed(onCPU) };
  if (adapter instanceof GraphicsCard) {
    page.postMessage({ kind: "stage", text: "measuring the graphics card" });
    const name = `WebGPU (${adapter.name})`;
    try {
      const onGPU = await InferenceSession.create(model, { executionProviders: ["webgpu"] });
      const nsPerPixel = await speed(onGPU);
      if (nsPerPixel < processor.nsPerPixel || message.processor === "webgpu") {
        session = onGPU;
        await onCPU.release();
        processor = { kind: "webgpu", name, note: "", nsPerPixel };
        watch(await env.webgpu.device);
      } else {
        await onGPU.release();
        processor.note = `${name} is slower here`;
      }
    } catch (error) {
      session = onCPU;
      processor.note = `${name} failed: ${reason(error)}`;
    }
  } else {
    processor.note = adapter;
  }
  page.postMessage({ kind: "ready", processor });
}

/** @param {string} address */
async function loaded(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

class GraphicsCard {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }
}

/**
 * Find a graphics card; return why there is none as text.
 * @param {boolean} evenSoftware Whether an adapter that is a program is accepted.
 * @returns {Promise<GraphicsCard | string>}
 */
async function usableAdapter(evenSoftware) {
  if (!("gpu" in navigator)) return "";
  try {
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) return "";
    const { vendor, isFallbackAdapter } = adapter.info;
    if (isFallbackAdapter && !evenSoftware) return "WebGPU is only software here";
    return new GraphicsCard(VENDORS.get(vendor) ?? (vendor || "graphics card"));
  } catch (error) {
    return `WebGPU failed: ${reason(error)}`;
  }
}

/**
 * Report the loss of the graphics card to the page, which starts another worker.
 * @param {GPUDevice} device
 */
function watch(device) {
  device.lost.then(({ message }) => {
    page.postMessage({ kind: "lost", message: message || "the graphics card was lost" });
  });
}

/**
 * Measure a warm run, in nanoseconds per pixel.
 * @param {InferenceSession} measured
 */
async function speed(measured) {
  const pixels = new Uint8Array(TRIAL_SIDE * TRIAL_SIDE * 3).fill(127);
  await labeled(measured, pixels, [TRIAL_SIDE, TRIAL_SIDE]);
  const { ms } = await labeled(measured, pixels, [TRIAL_SIDE, TRIAL_SIDE]);
  return (ms * 1e6) / TRIAL_SIDE ** 2;
}

/**
 * @param {InferenceSession} computing
 * @param {Uint8Array} pixels RGB, row by row.
 * @param {Size} size
 * @returns {Promise<Labels & {confidence: Uint8Array}>}
 */
async function labeled(computing, pixels, size) {
  const begun = performance.now();
  const { labels, confidence } = await computing.run({ pixels: new Tensor("uint8", pixels, [1, ...size, 3]) });
  const ms = performance.now() - begun;
  if (labels.size !== size[0] * size[1]) throw new Error(`the network gave ${labels.dims.join(" x ")} labels`);
  return {
    labels: /** @type {Uint8Array} */ (labels.data),
    confidence: percent(/** @type {Float32Array} */ (confidence.data)),
    size,
    ms,
  };
}

/** @param {Float32Array} probabilities */
function percent(probabilities) {
  const rounded = new Uint8Array(probabilities.length);
  for (let at = 0; at < rounded.length; at++) rounded[at] = probabilities[at] * 100 + 0.5;
  return rounded;
}

/** @param {Run} job */
async function answer({ id, bitmap, size, isFrame, spares }) {
  try {
    const rgba = (isFrame && (await framePixels(bitmap))) || imagePixels(bitmap);
    const pixels = scaledRGB(rgba, [bitmap.height, bitmap.width], size);
    bitmap.close();
    if (!session) throw new Error("the network is not ready");
    let result = await labeled(session, pixels, size);
    free(pixels);
    if (isFrame) {
      const { labels, confidence } = result;
      result = {
        ...result,
        labels: filled(labels, spares),
        confidence: filled(confidence, spares),
      };
    }
    page.postMessage({ kind: "result", id, result }, [result.labels.buffer, result.confidence.buffer]);
  } catch (error) {
    page.postMessage({ kind: "error", id, message: reason(error) });
  }
}

/**
 * Copy an array into spare memory of its size, or into new memory.
 * @param {Uint8Array} array
 * @param {ArrayBuffer[]} spares Those that are used are removed.
 */
function filled(array, spares) {
  const at = spares.findIndex(({ byteLength }) => byteLength === array.byteLength);
  const copy = new Uint8Array(at < 0 ? new ArrayBuffer(array.byteLength) : spares.splice(at, 1)[0]);
  copy.set(array);
  return copy;
}

/**
 * Return the RGBA pixels of an image, blended over white.
 * @param {ImageBitmap} bitmap
 */
function imagePixels(bitmap) {
  const { width, height } = bitmap;
  if (!canvas || canvas.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("the browser gives no memory for an image of this size");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  if (width * height > 4_000_000) canvas = null; // a large canvas is not kept
  return data;
}

/**
 * Return the RGBA pixels of an opaque image in an array that is used again, since browsers keep the memory of
 * getImageData for long; null if this browser cannot do that.
 * @param {ImageBitmap} bitmap
 */
async function framePixels(bitmap) {
  if (!("VideoFrame" in self)) return null;
  const { width, height } = bitmap;
  const frame = new VideoFrame(bitmap, { timestamp: 0, alpha: "discard" });
  try {
    if (frameBytes.length !== width * height * 4) frameBytes = new Uint8ClampedArray(width * height * 4);
    await frame.copyTo(frameBytes, { format: "RGBA", layout: [{ offset: 0, stride: width * 4 }] });
    return frameBytes;
  } catch {
    return null; // some browsers copy frames only as they are stored
  } finally {
    frame.close();
  }
}
