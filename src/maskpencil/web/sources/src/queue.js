/** The files that wait for the server, of which a few are sent at a time. */

import { kindOf } from "./images.js";
import { Refusal } from "./page.js";

/** @import {Model, VideoState} from "./types.js" */

/** The number of videos that are sent or followed at a time: each takes one of the six connections of a tab. */
const VIDEOS_AT_ONCE = 2;

/** Why files of some kinds are not sent. @type {Record<string, string>} */
const REFUSED = {
  empty: "The file is empty: it has 0 bytes. Copy or download it again.",
  audio: "The file holds sound and no image. Choose an image or a video.",
  pdf: "This is a PDF document. Save its pages as PNG or JPEG, and choose these.",
};

/** A file, or a video whose file an earlier visit has sent. */
export class Entry {
  /** @type {"waiting" | "running" | "done" | "failed" | "canceled"} */
  state = "waiting";
  /** What to say about the state. */
  note = "";
  /** How much of it is done, 0 to 1; null if that is not known. @type {number | null} */
  share = null;
  /** @type {"image" | "video" | null} */
  kind = null;
  /** The model that was chosen for it. @type {Model | null} */
  model = null;
  /** The mask as the server sent it. @type {Blob | null} */
  mask = null;
  /** The address of a small image. */
  thumbnail = "";
  /** The last state of the video on the server. @type {VideoState | null} */
  video = null;
  /** The milliseconds that the server took. */
  ms = 0;
  /** Cancels what runs. */
  controller = new AbortController();

  /**
   * @param {string} name
   * @param {File | null} file
   */
  constructor(name, file) {
    this.name = name;
    this.file = file;
  }

  get isOver() {
    return this.state !== "waiting" && this.state !== "running";
  }
}

export class Queue {
  /** @type {Entry[]} */
  entries = [];
  /** The number of images that are sent at a time. */
  imagesAtOnce = 2;
  /** Called after an entry was added or has changed. @type {(entry: Entry) => void} */
  onchange = () => {};
  #process;

  /** @param {(entry: Entry) => Promise<void>} process Segments an entry; its signal ends it early. */
  constructor(process) {
    this.#process = process;
  }

  /**
   * Add entries, and begin with them as soon as there is room.
   * @param {Entry[]} entries
   */
  async add(entries) {
    this.entries.push(...entries);
    for (const entry of entries) this.onchange(entry);
    for (const entry of entries) {
      if (entry.file && entry.state === "waiting") {
        const kind = await kindOf(entry.file).catch(() => "unreadable");
        if (kind === "unreadable") this.#fail(entry, "This cannot be read. Choose files rather than a folder.");
        else if (REFUSED[kind]) this.#fail(entry, REFUSED[kind]);
        else entry.kind = kind === "video" ? "video" : "image"; // of unknown files the server says what is wrong
      }
      this.#next();
    }
  }

  /** @param {Entry} entry */
  cancel(entry) {
    entry.controller.abort();
    this.#end(entry, "canceled", "canceled");
  }

  /** @param {Entry} entry */
  retry(entry) {
    Object.assign(entry, { state: "waiting", note: "", share: null, video: null, controller: new AbortController() });
    this.onchange(entry);
    this.#next();
  }

  /** Forget the entries that are over, and return them. */
  clear() {
    const over = this.entries.filter((entry) => entry.isOver);
    this.entries = this.entries.filter((entry) => !entry.isOver);
    return over;
  }

  /** @param {(entry: Entry) => boolean} condition */
  count(condition) {
    return this.entries.filter(condition).length;
  }

  #next() {
    const room = { image: this.imagesAtOnce, video: VIDEOS_AT_ONCE };
    for (const { state, kind } of this.entries) if (state === "running" && kind) room[kind]--;
    for (const entry of this.entries) {
      if (entry.state === "waiting" && entry.kind && room[entry.kind]-- > 0) void this.#run(entry);
    }
  }

  /** @param {Entry} entry */
  async #run(entry) {
    const { signal } = entry.controller;
    entry.state = "running";
    this.onchange(entry);
    try {
      await this.#process(entry);
      if (!signal.aborted) this.#end(entry, "done", entry.note);
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(entry, error instanceof Refusal ? error.message : `The page failed (${String(error)}). Reload it.`);
    }
  }

  /**
   * @param {Entry} entry
   * @param {string} reason
   */
  #fail(entry, reason) {
    this.#end(entry, "failed", reason);
  }

  /**
   * @param {Entry} entry
   * @param {"done" | "failed" | "canceled"} state
   * @param {string} note
   */
  #end(entry, state, note) {
    Object.assign(entry, { state, note, share: null });
    this.onchange(entry);
    this.#next();
  }
}
