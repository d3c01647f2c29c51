/** The list of files: a row each with its state, and what can be done about it. */

import { part, say } from "./page.js";

/** @import {Entry, Queue} from "./queue.js" */

/** The least milliseconds between two messages to users of screen readers. */
const SAY_MS = 3000;

export class Rows {
  #list = part("rows", HTMLUListElement);
  #count = part("count", HTMLElement);
  #total = part("total", HTMLProgressElement);
  #cancelAll = part("cancel-all", HTMLButtonElement);
  #saveAll = part("save-all", HTMLButtonElement);
  #clear = part("clear", HTMLButtonElement);
  #queue;
  /** @type {Map<Entry, {item: HTMLLIElement, open: HTMLButtonElement, image: HTMLImageElement, note: HTMLElement,
   *     bar: HTMLProgressElement, act: HTMLButtonElement}>} */
  #rows = new Map();
  #said = 0;

  /** Called with the entry whose result the user wants to see. @type {(entry: Entry) => void} */
  onopen = () => {};
  /** Called with the entry that the user cancels, or tries again. @type {(entry: Entry) => void} */
  onact = () => {};

  /** @param {Queue} queue */
  constructor(queue) {
    this.#queue = queue;
    this.#list.addEventListener("keydown", (event) => this.#move(event));
  }

  /**
   * Show the present state of an entry, and of all.
   * @param {Entry} entry
   */
  show(entry) {
    const row = this.#rows.get(entry) ?? this.#add(entry);
    const { state, note, share, thumbnail } = entry;
    row.item.dataset.state = state;
    row.item.dataset.kind = entry.kind ?? "";
    row.open.disabled = state !== "done";
    row.note.textContent = note || { waiting: "waiting", running: "running", done: "done", failed: "", canceled: "" }[state];
    row.bar.hidden = state !== "running" || entry.kind !== "video";
    if (share === null) row.bar.removeAttribute("value");
    else row.bar.value = share;
    if (thumbnail && row.image.src !== thumbnail) row.image.src = thumbnail;
    row.image.hidden = !thumbnail;
    const word = entry.isOver ? "Try again" : "Cancel";
    row.act.hidden = state === "done" || (entry.isOver && (!entry.kind || !entry.file));
    row.act.textContent = word;
    row.act.setAttribute("aria-label", `${word}: ${entry.name}`);
    this.#showTotal(entry);
  }

  /**
   * Mark the row whose result is on the screen.
   * @param {Entry | null} shown
   */
  mark(shown) {
    for (const [entry, { open }] of this.#rows) open.setAttribute("aria-current", String(entry === shown));
  }

  /** @param {Entry[]} entries */
  remove(entries) {
    for (const entry of entries) {
      this.#rows.get(entry)?.item.remove();
      this.#rows.delete(entry);
    }
    this.#showTotal(null);
  }

  /** @param {Entry | null} changed */
  #showTotal(changed) {
    const { entries } = this.#queue;
    const [done, failed, canceled] = ["done", "failed", "canceled"].map((each) =>
      this.#queue.count(({ state }) => state === each),
    );
    const over = done + failed + canceled;
    const parts = [`${done} of ${entries.length} done`];
    if (failed) parts.push(`${failed} failed`);
    if (canceled) parts.push(`${canceled} canceled`);
    const text = parts.join(", ");
    this.#count.textContent = text;
    this.#total.max = Math.max(1, entries.length);
    this.#total.value = over;
    this.#total.hidden = over === entries.length;
    this.#cancelAll.hidden = over === entries.length;
    this.#clear.hidden = over === 0;
    this.#saveAll.hidden = this.#queue.count(({ mask }) => mask !== null) < 2;
    if (!changed?.isOver) return;
    const now = performance.now();
    if (over < entries.length && now - this.#said < SAY_MS) return;
    this.#said = now;
    say(`${text}. ${changed.name}: ${changed.note}`);
  }

  /** @param {Entry} entry */
  #add(entry) {
    const item = document.createElement("li");
    const open = document.createElement("button");
    open.type = "button";
    open.className = "open";
    const thumb = document.createElement("span");
    thumb.className = "thumb";
    const image = document.createElement("img");
    image.alt = "";
    thumb.append(image);
    const lines = document.createElement("span");
    lines.className = "lines";
    const name = document.createElement("bdi");
    name.textContent = name.title = entry.name;
    const note = document.createElement("span");
    note.className = "note";
    lines.append(name, note);
    open.append(thumb, lines);
    open.addEventListener("click", () => this.onopen(entry));
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", `Progress: ${entry.name}`);
    const act = document.createElement("button");
    act.type = "button";
    act.className = "quiet";
    act.addEventListener("click", () => this.onact(entry));
    item.append(open, act, bar);
    this.#list.append(item);
    const row = { item, open, image, note, bar, act };
    this.#rows.set(entry, row);
    return row;
  }

  /**
   * Go up and down by the arrow keys.
   * @param {KeyboardEvent} event
   */
  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const rows = [...this.#rows.values()].map(({ open }) => open).filter((open) => !open.disabled);
    const at = rows.findIndex((open) => open === document.activeElement);
    rows[at + step]?.focus();
    event.preventDefault();
  }
}
