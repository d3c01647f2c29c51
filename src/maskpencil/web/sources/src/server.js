/** The page of `maskpencil serve`: files go to the server, their results come back. */

import { isOn, watchCamera } from "./camera.js";
import { Client } from "./client.js";
import { decoded } from "./images.js";
import { takeFiles } from "./input.js";
import { summary } from "./labels.js";
import { clearProblems, part, parts as common, Refusal, save, saveFrom, say, showBusy, showProblem, shownTime, stem } from "./page.js";
import { paintLabels, thumbnail } from "./paint.js";
import { readMask } from "./png.js";
import { Entry, Queue } from "./queue.js";
import { Rows } from "./rows.js";
import { saveOverlay } from "./saving.js";
import { shownSize } from "./sizes.js";
import { askForToken } from "./token.js";
import { path, Videos } from "./videos.js";
import { View } from "./view.js";
import { zipped } from "./zip.js";

/** @import {Labels, Limits, Model, VideoState} from "./types.js" */

/** The largest number of images that are sent at a time: with two videos, a tab's six connections leave one. */
const MAX_AT_ONCE = 3;

const MEGABYTE = 1_000_000;
const JPEG_QUALITY = 0.92;

/** The files of a video on the server: the button of each, and what its name ends with. */
const VIDEO_FILES = /** @type {const} */ ([
  ["overlay.mp4", "save-video", "_overlay.mp4"],
  ["masks.mkv", "save-masks", "_masks.mkv"],
  ["regions.jsonl", "save-regions", "_regions.jsonl"],
]);

const parts = {
  ...common,
  away: part("away", HTMLParagraphElement),
  title: part("title", HTMLElement),
  lead: part("lead", HTMLElement),
  runs: part("runs", HTMLParagraphElement),
  modelRow: part("model-row", HTMLLabelElement),
  model: part("model", HTMLSelectElement),
  queue: part("queue", HTMLElement),
};

const client = new Client();
const view = new View();
const queue = new Queue(process);
const rows = new Rows(queue);
const videos = new Videos(client, (entry) => rows.show(entry));

/** Resolves to what the server offers. @type {Promise<{models: Model[], limits: Limits}> | null} */
let offer = null;
/** Whose result is on the screen. @type {Entry | null} */
let opened = null;
/** What the buttons save. @type {{name: string, mask: Blob, overlay: () => Promise<void>} | null} */
let saved = null;
/** Ends the camera. */
let camera = new AbortController();

// What the server offers

/** Return the models and limits of the server. */
function offered() {
  offer ??= client.ask("/v1/models", (answer) => answer.json()).then(
    (facts) => {
      const models = /** @type {Model[]} */ (
        facts.models.map((/** @type {any} */ { name, runs, classes }) => ({ name, runs, classes: classesOf(classes) }))
      );
      queue.imagesAtOnce = Math.min(MAX_AT_ONCE, facts.at_once + 1);
      showModels(models);
      return { models, limits: facts };
    },
    (error) => {
      offer = null;
      throw error;
    },
  );
  return offer;
}

/** @param {{name: string, color: [number, number, number]}[]} classes */
function classesOf(classes) {
  return { names: classes.map(({ name }) => name), palette: classes.map(({ color }) => color) };
}

/** @param {Model[]} models */
function showModels(models) {
  const chosen = parts.model.value;
  parts.model.replaceChildren(...models.map(({ name }) => new Option(name, name, false, name === chosen)));
  parts.modelRow.hidden = models.length < 2;
  showModel(models.find(({ name }) => name === parts.model.value) ?? models[0]);
}

/** @param {Model} model */
function showModel({ name, runs, classes }) {
  const many = classes.names.length === 1 ? "1 class" : `${classes.names.length} classes`;
  parts.title.textContent = name;
  document.title = `${name} - MaskPencil`;
  parts.lead.textContent = `Finds ${many} in images and videos, pixel by pixel.`;
  parts.runs.textContent = `Computed on ${runs}`;
  if (!opened) view.use(classes);
}

/** The model that is chosen now. */
async function chosenModel() {
  const { models } = await offered();
  return models.find(({ name }) => name === parts.model.value) ?? models[0];
}

// Files

/** @param {File[]} files */
async function take(files) {
  if (files.length === 0) return;
  clearProblems();
  const model = await chosenModel();
  const entries = files.map((file) => new Entry(file.name, file));
  for (const entry of entries) entry.model = model;
  await add(entries);
}

/** @param {Entry[]} entries */
async function add(entries) {
  if (entries.length === 0) return;
  startWork();
  parts.queue.hidden = false;
  await queue.add(entries);
}

/** Show the videos that earlier visits have sent. */
async function addKept() {
  const { models } = await offered();
  const entries = await videos.kept();
  for (const entry of entries) entry.model = models.find(({ name }) => name === entry.video?.model) ?? null;
  await add(entries);
}

function startWork() {
  parts.work.hidden = false;
  document.body.classList.add("working");
}

/** Go back to the start if there is neither a file nor a result. */
function endWork() {
  if (saved || opened || queue.entries.length > 0 || isOn()) return;
  parts.work.hidden = true;
  document.body.classList.remove("working");
}

/** @param {Entry} entry */
async function process(entry) {
  const { limits } = await offered();
  const most = entry.kind === "video" ? limits.max_video : limits.max_body;
  if (entry.file && entry.file.size > most) {
    throw new Refusal(`The file has ${megabytes(entry.file.size)}; this server takes ${megabytes(most)}.`);
  }
  if (entry.kind === "video") await videos.process(entry);
  else await segment(entry);
  if (!opened && !isOn() && !entry.controller.signal.aborted) void show(entry);
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / MEGABYTE).toFixed(1)} MB`;
}

/** @param {Entry} entry */
async function segment(entry) {
  const { file, model, controller } = entry;
  if (!file || !model) return;
  const begun = performance.now();
  const mask = await maskOf(file, model.name, "png", controller.signal, (reason) => {
    entry.note = `waits: ${reason}`;
    rows.show(entry);
  });
  entry.ms = performance.now() - begun;
  const result = { ...(await readMask(mask)), confidence: null, ms: entry.ms };
  const small = await smallOverlay(file, result, model);
  controller.signal.throwIfAborted();
  entry.thumbnail = small;
  entry.mask = mask;
  entry.note = summary(result, model.classes.names) || "no class";
}

/**
 * @param {Blob} image
 * @param {string} model
 * @param {"png" | "overlay"} out
 * @param {AbortSignal} [signal]
 * @param {(reason: string) => void} [onwait]
 * @returns {Promise<Blob>}
 */
function maskOf(image, model, out, signal, onwait) {
  const options = { method: "POST", body: image, signal, onwait };
  return client.ask(`/v1/mask?${new URLSearchParams({ out, model })}`, (answer) => answer.blob(), options);
}

/**
 * @param {File} file
 * @param {Labels} result
 * @param {Model} model
 */
async function smallOverlay(file, result, model) {
  const colors = new OffscreenCanvas(1, 1);
  paintLabels(colors, result, model.classes.palette, new Set());
  const image = await decoded(file).catch(() => null);
  if (!image) return thumbnail(colors, result.size);
  const address = thumbnail(image, result.size, { canvas: colors, opacity: view.opacity });
  image.close();
  return address;
}

// Results

/**
 * Put the result of an entry on the screen.
 * @param {Entry} entry
 */
async function show(entry) {
  camera.abort();
  open(entry, entry.name);
  if (entry.model) view.use(entry.model.classes);
  try {
    if (entry.kind === "video") await showVideo(entry);
    else await showImage(entry);
  } catch (error) {
    refuse(error);
    if (opened !== entry) return;
    open(null, "No result");
    view.showNothing();
  }
}

/**
 * Begin to show something, of which nothing can be saved yet.
 * @param {Entry | null} entry
 * @param {string} name
 */
function open(entry, name) {
  opened = entry;
  rows.mark(entry);
  showSaving(null);
  parts.name.textContent = name;
  parts.facts.textContent = "";
}

/** @param {Entry} entry */
async function showImage(entry) {
  const { name, file, mask, model, ms } = entry;
  if (!file || !mask || !model) return;
  const result = { ...(await readMask(mask)), confidence: null, ms };
  const { size } = result;
  const image = await decoded(file).catch(() => null);
  const drawn = image ? null : await maskOf(file, model.name, "overlay");
  const shownImage = image ?? (await createImageBitmap(/** @type {Blob} */ (drawn)));
  if (opened !== entry) return;
  const facts = `${shownSize(size)} pixels, segmented in ${shownTime(ms)}`;
  if (drawn) {
    view.showDrawn(shownImage, result);
    parts.facts.textContent = `${facts}. This browser cannot show the file, so this is the overlay of the server.`;
    showSaving({ name, mask, overlay: async () => save(drawn, `${stem(name)}_overlay.jpg`) });
  } else {
    view.showImage(shownImage, size);
    view.showLabels(result);
    parts.facts.textContent = facts;
    const shown = { name, size, result, image: () => decoded(file) };
    showSaving({ name, mask, overlay: () => saveOverlay(shown, model.classes, view) });
  }
  shownImage.close();
}

/** @param {Entry} entry */
async function showVideo(entry) {
  const { video, name } = entry;
  if (!video) return;
  await videos.check(video);
  const address = await client.address(`${path(video.id)}/${VIDEO_FILES[0][0]}`);
  if (opened !== entry) {
    URL.revokeObjectURL(address);
    return;
  }
  view.showVideo(address);
  parts.facts.textContent = `${entry.note}; the server has drawn the colors`;
  for (const [file, button, ending] of VIDEO_FILES) {
    const control = part(button, HTMLButtonElement);
    control.hidden = !video.files.includes(file);
    control.onclick = () => saveVideo(video, file, `${stem(name)}${ending}`).catch(refuse);
  }
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) await view.player.play().catch(() => {});
}

/**
 * @param {VideoState} video
 * @param {string} file The name of the file on the server.
 * @param {string} name
 */
async function saveVideo(video, file, name) {
  await videos.check(video);
  saveFrom(await client.address(`${path(video.id)}/${file}`), name);
}

/** @param {typeof saved} what */
function showSaving(what) {
  saved = what;
  parts.saveMask.hidden = parts.saveOverlay.hidden = what === null;
  if (what === null) for (const [, button] of VIDEO_FILES) part(button, HTMLButtonElement).hidden = true;
}

// Camera

async function toggleCamera() {
  if (isOn()) {
    camera.abort();
    return;
  }
  clearProblems();
  const model = await chosenModel();
  startWork();
  camera.abort();
  camera = new AbortController();
  const { signal } = camera;
  open(null, "Camera");
  view.use(model.classes);
  showBusy("Opening the camera");
  let isAnnounced = false;
  /** @type {Blob} */
  let mask;
  try {
    await watchCamera(
      signal,
      async (frame) => {
        const begun = performance.now();
        mask = await maskOf(await encoded(frame), model.name, "png", signal);
        return { ...(await readMask(mask)), confidence: null, ms: performance.now() - begun };
      },
      (frame, size, result, rate) => {
        showBusy();
        view.showImage(frame, size, true);
        frame.close();
        view.showLabels(result, true);
        parts.facts.textContent = `${shownSize(size)} pixels; ${shownTime(result.ms)} a frame, ${rate}`;
        const shown = { name: "camera", size, result, image: () => createImageBitmap(view.image) };
        showSaving({ name: "camera", mask, overlay: () => saveOverlay(shown, model.classes, view) });
        if (!isAnnounced) say("The camera runs.");
        isAnnounced = true;
      },
    );
    say("The camera is off.");
  } catch (error) {
    if (!signal.aborted) refuse(error);
    else say("The camera is off.");
  } finally {
    showBusy();
    endWork();
  }
}

/** @param {ImageBitmap} frame */
async function encoded(frame) {
  const canvas = new OffscreenCanvas(frame.width, frame.height);
  canvas.getContext("2d")?.drawImage(frame, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

// What the user does

/** @param {unknown} error */
function refuse(error) {
  showProblem(error instanceof Refusal ? error.message : `The page failed (${String(error)}). Reload it.`);
}

/**
 * Let an element do something, and show what goes wrong.
 * @param {string} id
 * @param {() => unknown} act
 */
function onPress(id, act) {
  part(id, HTMLButtonElement).addEventListener("click", async () => {
    try {
      await act();
    } catch (error) {
      refuse(error);
    }
  });
}

/** @param {Entry} entry */
function retry(entry) {
  void videos.remove(entry); // what the server has of it
  queue.retry(entry);
}

/** @param {Entry} entry */
function cancel(entry) {
  if (entry.isOver) return;
  queue.cancel(entry);
  void videos.remove(entry);
}

function clear() {
  const over = queue.clear();
  for (const entry of over) videos.forget(entry); // the server keeps their results for a time
  rows.remove(over);
  parts.queue.hidden = queue.entries.length === 0;
  parts.choose.focus();
  endWork();
}

async function saveAll() {
  const files = queue.entries.flatMap(({ name, mask }) => (mask ? [{ name: `${stem(name)}.png`, content: mask }] : []));
  save(await zipped(files), "masks.zip");
}

view.player.addEventListener("error", () => {
  if (view.player.src) showProblem("This browser cannot play the video. Save it, and open it in another program.");
});
queue.onchange = (entry) => rows.show(entry);
rows.onopen = show;
rows.onact = (entry) => (entry.isOver ? retry(entry) : cancel(entry));
takeFiles((files) => take(files).catch(refuse));
onPress("camera", toggleCamera);
onPress("save-mask", () => saved && save(saved.mask, `${stem(saved.name)}_mask.png`));
onPress("save-overlay", () => saved?.overlay());
onPress("save-all", saveAll);
onPress("cancel-all", () => queue.entries.forEach(cancel));
onPress("clear", clear);
parts.model.addEventListener("change", () => chosenModel().then(showModel, refuse));
window.addEventListener("beforeunload", (event) => {
  if (queue.count((entry) => !entry.isOver && !entry.video) > 0) event.preventDefault();
});

client.asktoken = askForToken;
client.onaway = (isAway) => {
  parts.away.hidden = !isAway;
  if (isAway) return;
  say("The server answers again.");
  offer = null; // it may have other models now
  offered().catch(refuse);
};
addKept().catch(refuse);
