/** Requests to the server: with the token, and again after it was busy or away. */

import { Refusal } from "./page.js";

/** The name of the token in the storage of the tab. */
const TOKEN = "maskpencil-token";

/** Seconds between two attempts to reach a server that is away. */
const AWAY_SECONDS = 1;

/** Seconds to wait for a busy server that does not name them, and the most that are waited at once. */
const BUSY_SECONDS = 2;
const MAX_BUSY_SECONDS = 30;

/** The milliseconds after which a request to a server that is busy all the time fails. */
const MAX_BUSY_MS = 600_000;

/** The number of broken connections after which a request is not sent again: it may be what breaks them. */
const MAX_BROKEN = 3;

/** Answers that say "later", those of proxies before a server that is away included. */
const LATER = [502, 503, 504];

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {Blob} [body]
 * @property {AbortSignal} [signal]
 * @property {(reason: string) => void} [onwait] Called with what the server says when it is busy.
 * @property {(share: number) => void} [onsent] Called while the body is sent, with the share that is sent.
 */

/** An answer of the server that is no result. */
export class ServerRefusal extends Refusal {
  /**
   * @param {number} status
   * @param {string} text
   */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class Client {
  #token = sessionStorage.getItem(TOKEN) ?? "";
  /** Resolves when the server is back. @type {Promise<void> | null} */
  #away = null;
  /** Resolves when the user has given a token, or none. @type {Promise<string | null> | null} */
  #asking = null;
  /** Called when the connection is lost, and when it is back. @type {(isAway: boolean) => void} */
  onaway = () => {};
  /** Asks the user for the token; null if there is none. @type {(wasWrong: boolean) => Promise<string | null>} */
  asktoken = async () => null;

  /**
   * Send a request, and return what `read` makes of the answer; after a broken connection both are done again.
   * @template T
   * @param {string} path
   * @param {(answer: Response) => Promise<T>} read
   * @param {Options} [options]
   * @returns {Promise<T>}
   */
  async ask(path, read, options = {}) {
    const { signal, body, onwait } = options;
    const begun = performance.now();
    for (let broken = 0; ; ) {
      if (this.#away) await unlessAborted(this.#away, signal);
      const token = this.#token;
      try {
        const answer = await this.#send(path, options);
        if (answer.ok) {
          if (!body) broken = 0; // the events of a long video may break many times, hours apart
          return await read(answer);
        }
        if (answer.status === 401) {
          await unlessAborted(this.#askForToken(token), signal);
          continue;
        }
        const refusal = new ServerRefusal(answer.status, await sentence(answer));
        if (!LATER.includes(answer.status) || performance.now() - begun > MAX_BUSY_MS) throw refusal;
        onwait?.(refusal.message);
        const seconds = Number(answer.headers.get("Retry-After")) || BUSY_SECONDS;
        await pause(Math.min(seconds, MAX_BUSY_SECONDS), signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Refusal) throw error;
        if (body) await refuseUnreadable(body);
        this.#away ??= this.#untilBack();
        if (++broken === MAX_BROKEN) {
          throw new Refusal(`The connection to the server broke ${broken} times while it had this file.`);
        }
      }
    }
  }

  /**
   * Return an address of a file on the server that elements of the page can load.
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async address(path, signal) {
    if (!this.#token) return path;
    return URL.createObjectURL(await this.ask(path, (answer) => answer.blob(), { signal })); // elements send no token
  }

  /**
   * @param {string} path
   * @param {Options} options
   * @returns {Promise<Response>}
   */
  #send(path, { method = "GET", body, signal, onsent }) {
    /** @type {Record<string, string>} */
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    return onsent ? sentByParts(path, { method, body, signal, onsent, headers }) : fetch(path, { method, body, signal, headers });
  }

  async #untilBack() {
    this.onaway(true);
    for (let isAway = true; isAway; ) {
      await pause(AWAY_SECONDS);
      try {
        isAway = !(await fetch("/healthz", { signal: AbortSignal.timeout(5000) })).ok;
      } catch {
        // still away
      }
    }
    this.#away = null;
    this.onaway(false);
  }

  /** @param {string} used The token that the server refused. */
  async #askForToken(used) {
    if (used !== this.#token) return; // another request has asked meanwhile
    this.#asking ??= this.asktoken(used !== "");
    const given = await this.#asking;
    this.#asking = null;
    if (given === null) throw new Refusal("The server needs its token.");
    this.#token = given;
    sessionStorage.setItem(TOKEN, given);
  }
}

/**
 * Wait, unless the signal ends it.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return unlessAborted(new Promise((resolve) => setTimeout(resolve, seconds * 1000)), signal);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}

/** @param {Response} answer */
async function sentence(answer) {
  const text = await answer.text();
  try {
    return String(JSON.parse(text).error);
  } catch {
    return `The server answered with status ${answer.status}.`;
  }
}

/**
 * Refuse a file that was moved or changed since it was chosen, which looks like a broken connection.
 * @param {Blob} file
 */
async function refuseUnreadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Refusal("The file cannot be read any more: it was moved or changed. Choose it again.");
  }
}

/**
 * Send a request as fetch does, and say how much of its body is sent, which fetch does not.
 * @param {string} path
 * @param {{method: string, body?: Blob, signal?: AbortSignal, headers: Record<string, string>,
 *     onsent: (share: number) => void}} options
 * @returns {Promise<Response>}
 */
function sentByParts(path, { method, body, signal, headers, onsent }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const end = () => request.abort();
    signal?.addEventListener("abort", end, { once: true });
    request.open(method, path);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onsent(total > 0 ? loaded / total : 0);
    request.onerror = request.onabort = () => reject(signal?.reason ?? new TypeError("the connection broke"));
    request.onload = () => {
      const headers = { "Retry-After": request.getResponseHeader("Retry-After") ?? "" };
      resolve(new Response(request.response, { status: request.status, headers }));
    };
    request.onloadend = () => signal?.removeEventListener("abort", end);
    request.send(body ?? null);
  });
}
