/** The worker from the page's side: start it, hand it images, and start another one if the graphics card fails. */

import { fromBase64, gunzipped } from "./bytes.js";

/** @import {Facts, Labels, Processor, Reply, Size, Start} from "./types.js" */

/**
 * @typedef {object} Job
 * @property {() => Promise<ImageBitmap>} source Makes the image anew, since a worker takes it along when it ends.
 * @property {Size} size
 * @property {boolean} isFrame
 * @property {(result: Labels) => void} resolve
 * @property {(error: Error) => void} reject
 */

/**
 * Return the text of a block of the page.
 * @param {string} id
 */
function block(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** Hands images to the worker one after the other; says what it does through `onchange`. */
export class Engine {
  /** @type {Worker | null} */
  #worker = null;
  /** @type {Map<number, Job>} */
  #jobs = new Map();
  #next = 0;
  /** @type {ArrayBuffer[]} */
  #spares = [];
  /** @type {{resolve: (processor: Processor) => void, reject: (error: Error) => void}[]} */
  #waiting = [];
  /** @type {string} */
  #workerAddress = "";
  /** @type {Facts} */
  #facts;

  /** @type {Processor | null} */
  processor = null;
  /** What the worker does before it is ready. */
  stage = "opening the page";
  /** Why nothing can be computed; empty if it can. */
  failure = "";
  /** The last time of an image, in milliseconds, and its size. @type {{ms: number, size: Size} | null} */
  last = null;
  /** Called after every change of the above. */
  onchange = () => {};
  /** Called when the network can compute. */
  onready = () => {};

  /** @param {Facts} facts */
  constructor(facts) {
    this.#facts = facts;
  }

  /**
   * Start the worker.
   * @param {"auto" | "wasm" | "webgpu"} processor
   * @param {string} [note] What to add to the name of the processor.
   */
  async start(processor, note = "") {
    this.#worker?.terminate();
    this.processor = null;
    const { files } = this.#facts;
    if (!files && !this.#workerAddress) {
      const script = await gunzipped(fromBase64(block("worker")));
      this.#workerAddress = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    }
    const worker = files ? new Worker(files.worker, { type: "module" }) : new Worker(this.#workerAddress);
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#hear(data, note);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || "the browser did not start the worker");
    };
    const address = (/** @type {string} */ name) => new URL(name, location.href).href;
    /** @type {Start} */
    const first = {
      kind: "start",
      wasm: files ? address(files.wasm) : block("wasm"),
      model: files ? address(files.model) : block("model"),
      embedded: !files,
      processor,
    };
    worker.postMessage(first);
  }

  /**
   * Wait until the network can compute.
   * @returns {Promise<Processor>}
   */
  ready() {
    if (this.processor) return Promise.resolve(this.processor);
    if (this.failure) return Promise.reject(new Error(this.failure));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /**
   * Take the memory of a result back that nobody needs, for a later one: what comes from a worker is otherwise kept by
   * browsers until it is a gigabyte.
   * @param {Labels} result
   */
  recycle({ labels, confidence }) {
    for (const array of [labels, confidence]) if (array?.buffer instanceof ArrayBuffer) this.#spares.push(array.buffer);
  }

  /**
   * Segment an image at a size.
   * @param {() => Promise<ImageBitmap>} source
   * @param {Size} size
   * @param {boolean} [isFrame] Whether it is one of many: an image of the camera or of a video.
   * @returns {Promise<Labels>}
   */
  run(source, size, isFrame = false) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#jobs.set(id, { source, size, isFrame, resolve, reject });
      if (this.failure) this.#fail(this.failure);
      else if (this.processor) void this.#send(id);
    });
  }

  /** @param {number} id */
  async #send(id) {
    const job = this.#jobs.get(id);
    const worker = this.#worker;
    if (!job || !worker) return;
    try {
      const bitmap = await job.source();
      const { size, isFrame } = job;
      const spares = this.#spares.splice(0);
      if (worker === this.#worker) {
        worker.postMessage({ kind: "run", id, bitmap, size, isFrame, spares }, [bitmap, ...spares]);
      } else {
        bitmap.close();
      }
    } catch (error) {
      this.#jobs.delete(id);
      job.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /**
   * @param {Reply} reply
   * @param {string} note
   */
  #hear(reply, note) {
    if (reply.kind === "stage") {
      this.stage = reply.text;
    } else if (reply.kind === "ready") {
      this.processor = { ...reply.processor, note: note || reply.processor.note };
      for (const { resolve } of this.#waiting.splice(0)) resolve(this.processor);
      for (const id of this.#jobs.keys()) void this.#send(id);
      this.onready();
    } else if (reply.kind === "result") {
      const job = this.#jobs.get(reply.id);
      this.#jobs.delete(reply.id);
      const { ms, size } = reply.result;
      this.last = { ms, size };
      if (this.processor) this.processor.nsPerPixel = (ms * 1e6) / (size[0] * size[1]);
      job?.resolve(reply.result);
    } else if (reply.kind === "failed") {
      this.#fail(reply.message);
    } else if (this.processor?.kind === "webgpu") {
      void this.start("wasm", `WebGPU failed (${reply.message})`);
    } else if (reply.kind === "error") {
      const job = this.#jobs.get(reply.id);
      this.#jobs.delete(reply.id);
      job?.reject(new Error(reply.message));
    }
    this.onchange();
  }

  /** @param {string} message */
  #fail(message) {
    if (this.processor?.kind === "webgpu") {
      void this.start("wasm", `WebGPU failed (${message})`);
    } else {
      this.failure = message;
      for (const each of [...this.#jobs.values(), ...this.#waiting.splice(0)]) each.reject(new Error(message));
      this.#jobs.clear();
    }
    this.onchange();
  }
}
