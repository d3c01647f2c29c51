/** The elements that both pages have, and what is said to the user. */

/** A problem that is shown to the user as it is. */
export class Refusal extends Error {}

/**
 * Return an element of the page.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

export const parts = {
  choose: part("choose", HTMLButtonElement),
  file: part("file", HTMLInputElement),
  camera: part("camera", HTMLButtonElement),
  cameraText: part("camera-text", HTMLElement),
  problems: part("problems", HTMLUListElement),
  work: part("work", HTMLElement),
  name: part("name", HTMLElement),
  facts: part("facts", HTMLParagraphElement),
  busy: part("busy", HTMLParagraphElement),
  saveMask: part("save-mask", HTMLButtonElement),
  saveOverlay: part("save-overlay", HTMLButtonElement),
  live: part("live", HTMLParagraphElement),
};

/**
 * Say something to users of screen readers.
 * @param {string} text
 */
export function say(text) {
  parts.live.textContent = text;
}

/**
 * Show what went wrong, until it is closed or the next input is chosen.
 * @param {string} text
 */
export function showProblem(text) {
  const item = document.createElement("li");
  item.className = "problem";
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  close.setAttribute("aria-label", `Close: ${text}`);
  close.addEventListener("click", () => {
    item.remove();
    parts.choose.focus();
  });
  item.append(words, close);
  parts.problems.append(item);
}

export function clearProblems() {
  parts.problems.replaceChildren();
}

/**
 * Show what the page is doing; nothing hides it.
 * @param {string} [text]
 */
export function showBusy(text = "") {
  parts.busy.textContent = text;
  parts.busy.hidden = text === "";
}

/**
 * Write a time as people do: 23 ms, 1.1 s, 2 min.
 * @param {number} ms
 */
export function shownTime(ms) {
  if (ms < 950) return `${Math.max(1, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/**
 * Save a file through the browser's own download.
 * @param {Blob} content
 * @param {string} name
 */
export function save(content, name) {
  saveFrom(URL.createObjectURL(content), name);
}

/**
 * Save the file at an address.
 * @param {string} address
 * @param {string} name
 */
export function saveFrom(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Return the name of a file without its ending.
 * @param {string} name
 */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}
