/** Videos, which the server segments as jobs; their ids are kept in the tab, so that a reload loses none. */

import { pause, ServerRefusal } from "./client.js";
import { Refusal } from "./page.js";
import { Entry } from "./queue.js";

/** @import {Client} from "./client.js" */
/** @import {VideoState} from "./types.js" */

/** The name of the videos in the storage of the tab. */
const STORED = "maskpencil-videos";

/** The number of times a video is sent to servers that lose it, as they do when they are stopped. */
const MAX_SENT = 3;

/** Seconds until the events of a video are asked for again, if they ended early. */
const EVENTS_SECONDS = 1;

export class Videos {
  #client;
  #onchange;

  /**
   * @param {Client} client
   * @param {(entry: Entry) => void} onchange Called when an entry has made progress.
   */
  constructor(client, onchange) {
    this.#client = client;
    this.#onchange = onchange;
  }

  /** Return the videos of earlier visits that the server still has. */
  async kept() {
    const entries = [];
    for (const { id, name } of stored()) {
      const video = await this.#client.ask(path(id), jsonOf).catch((error) => {
        if (!isGone(error)) throw error;
        return null;
      });
      const entry = Object.assign(new Entry(name, null), { kind: "video", video });
      if (!video || video.state === "canceled") {
        store(stored().filter((kept) => kept.id !== id));
        continue;
      }
      if (video.state === "done") Object.assign(entry, { state: "done", note: told(video) });
      entries.push(entry);
    }
    return entries;
  }

  /**
   * Send a video unless the server has it, and wait until it is done; a server that lost it gets it again.
   * @param {Entry} entry
   */
  async process(entry) {
    for (let sent = 0; !(entry.video && (await this.#follow(entry))); sent++) {
      if (!entry.file || sent === MAX_SENT) throw gone();
      this.#drop(entry);
      await this.#send(entry);
    }
    if (entry.video.state === "failed") throw new Refusal(entry.video.error ?? "The video cannot be segmented.");
    entry.note = told(entry.video);
  }

  /**
   * Check that the server still has a video, which it keeps for some time only.
   * @param {VideoState} video
   */
  async check({ id }) {
    try {
      await this.#client.ask(path(id), jsonOf);
    } catch (error) {
      throw isGone(error) ? gone() : error;
    }
  }

  /**
   * Have the server delete a video.
   * @param {Entry} entry
   */
  async remove(entry) {
    const id = this.#drop(entry);
    if (!id) return;
    await this.#client.ask(path(id), async () => null, { method: "DELETE" }).catch((error) => {
      if (!(error instanceof Refusal)) throw error; // it is gone already
    });
  }

  /**
   * Do not show a video again after a reload of the page; its results stay on the server.
   * @param {Entry} entry
   */
  forget(entry) {
    const id = entry.video?.id;
    if (id) store(stored().filter((kept) => kept.id !== id));
  }

  /** @param {Entry} entry */
  async #send(entry) {
    const { signal } = entry.controller;
    this.#show(entry, "sending", 0);
    const video = await this.#client.ask(`/v1/videos?${new URLSearchParams({ model: entry.model?.name ?? "" })}`, jsonOf, {
      method: "POST",
      body: entry.file ?? undefined,
      signal,
      onsent: (share) => this.#show(entry, share < 1 ? `sending, ${Math.round(share * 100)} %` : "sent", share),
      onwait: (reason) => this.#show(entry, `waits: ${reason}`, null),
    });
    entry.video = video;
    store([...stored(), { id: video.id, name: entry.name }]);
  }

  /**
   * Wait for the end of a video; return false if the server has lost it, or has canceled it in order to stop.
   * @param {Entry} entry
   */
  async #follow(entry) {
    const { signal } = entry.controller;
    const show = (/** @type {VideoState} */ video) => {
      entry.video = video;
      const { frames, total, state } = video;
      if (state === "waiting") this.#show(entry, "waits for its turn", null);
      else this.#show(entry, `frame ${frames}${total === null ? "" : ` of ${total}`}`, total ? Math.min(1, frames / total) : null);
    };
    try {
      while (entry.video && !isOver(entry.video)) {
        await this.#client.ask(`${path(entry.video.id)}/events`, (answer) => readEvents(answer, show), { signal });
        if (!isOver(entry.video)) await pause(EVENTS_SECONDS, signal);
      }
      return entry.video?.state !== "canceled";
    } catch (error) {
      if (!isGone(error)) throw error;
      return false;
    }
  }

  /**
   * @param {Entry} entry
   * @param {string} note
   * @param {number | null} share
   */
  #show(entry, note, share) {
    if (entry.isOver) return;
    Object.assign(entry, { note, share });
    this.#onchange(entry);
  }

  /** @param {Entry} entry */
  #drop(entry) {
    const id = entry.video?.id;
    this.forget(entry);
    entry.video = null;
    return id;
  }
}

/**
 * Return the path of a video.
 * @param {string} id
 */
export function path(id) {
  return `/v1/videos/${encodeURIComponent(id)}`;
}

/**
 * @param {Response} answer
 * @returns {Promise<VideoState>}
 */
function jsonOf(answer) {
  return answer.json();
}

/**
 * Read server-sent events until they end.
 * @param {Response} answer
 * @param {(video: VideoState) => void} show
 */
async function readEvents(answer, show) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const lines = (rest + part.value).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data:")) show(JSON.parse(line.slice(5)));
  }
}

/** @param {VideoState} video */
function isOver({ state }) {
  return state !== "waiting" && state !== "running";
}

/** @param {unknown} error */
function isGone(error) {
  return error instanceof ServerRefusal && error.status === 404;
}

function gone() {
  return new Refusal("The server no longer has this video; it keeps results for some time only. Choose the file again.");
}

/** @param {VideoState} video */
function told({ frames, warnings }) {
  return [frames === 1 ? "1 frame" : `${frames} frames`, ...warnings].join("; ");
}

/** @returns {{id: string, name: string}[]} */
function stored() {
  return JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
}

/** @param {{id: string, name: string}[]} videos */
function store(videos) {
  sessionStorage.setItem(STORED, JSON.stringify(videos));
}
