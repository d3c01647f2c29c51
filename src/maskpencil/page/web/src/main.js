/** What the page does when something is chosen, pressed or dropped. */

import { watchCamera } from "./camera.js";
import { Engine } from "./engine.js";
import { accepted, decoded, Refusal, sizeOf } from "./images.js";
import { clearProblems, parts, readFacts, save, say, showBusy, showProblem, shownTime } from "./page.js";
import { drawOverlay, paintLabels, shares } from "./paint.js";
import { maskPNG } from "./png.js";
import { scaledLabels } from "./resize.js";
import { shownSize, workingSize } from "./sizes.js";
import { openVideo, segmentVideo, videoSizes } from "./video.js";
import { View } from "./view.js";

/** @import {Finished} from "./video.js" */
/** @import {Labels, Size} from "./types.js" */

/**
 * What is on the screen, and can be saved.
 * @typedef {object} Shown
 * @property {string} name
 * @property {Size} size
 * @property {Labels} result
 * @property {() => Promise<ImageBitmap>} image
 */

const THUMB = 144;
/** The number of images that stay at hand. */
const MAX_STRIP = 100;
const LARGEST_CANVAS = 16_384;

const facts = readFacts();
const view = new View(facts);
const engine = new Engine(facts);
view.onreplaced = (result) => engine.recycle(result);

/** @type {Shown | null} */
let shown = null;
/** Ends what runs now: images in a row, the camera or a video. */
let running = new AbortController();
/** Resolves when what ran before has ended. @type {Promise<void>} */
let before = Promise.resolve();
/** @type {{file: Finished, name: string} | null} */
let finished = null;

/**
 * End what runs, then run something else.
 * @param {(signal: AbortSignal) => Promise<void>} task
 */
function begin(task) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  before = before.then(async () => {
    if (signal.aborted) return;
    parts.work.hidden = false;
    document.body.classList.add("working");
    resetControls();
    try {
      await task(signal);
    } catch (error) {
      refuse(error);
    } finally {
      showBusy();
      parts.stop.hidden = true;
      parts.cameraText.textContent = "Use the camera";
      if (!shown) {
        parts.work.hidden = true;
        document.body.classList.remove("working");
      }
    }
  });
}

function resetControls() {
  parts.saveMask.hidden = parts.saveOverlay.hidden = false;
  for (const control of [parts.stop, parts.again, parts.saveVideo, parts.progress, parts.detailRow]) control.hidden = true;
  finished = null;
}

/** @param {unknown} error */
function refuse(error) {
  const text = error instanceof Error ? error.message : String(error);
  showProblem(error instanceof Refusal ? text : `The network failed (${text}). Reload the page, or try a smaller image.`);
}

/** @param {boolean} can */
function allowSaving(can) {
  parts.saveMask.disabled = parts.saveOverlay.disabled = !can;
}

// Files

/** @param {File[]} files */
function open(files) {
  if (files.length === 0) return;
  clearProblems();
  begin(async (signal) => {
    for (const [number, file] of files.entries()) {
      if (signal.aborted) return;
      try {
        if ((await accepted(file)) === "video") await openAndSegmentVideo(file, signal);
        else await openImage(file, signal, files.length > 1 ? ` (${number + 1} of ${files.length})` : "");
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refuse(error); // the next file may be sound
      }
    }
  });
}

/**
 * @param {File} file
 * @param {AbortSignal} signal
 * @param {string} position
 */
async function openImage(file, signal, position) {
  const size = await sizeOf(file);
  const bitmap = await decoded(file);
  const working = workingSize(size, facts.imageSize);
  parts.name.textContent = file.name;
  parts.facts.textContent = `${shownSize(size)} pixels`;
  allowSaving(false);
  view.showImage(bitmap, size);
  showBusy(engine.processor ? `Segmenting${position}` : `Starting: ${engine.stage}`);
  let first = /** @type {ImageBitmap | null} */ (bitmap);
  const source = async () => {
    const image = first ?? (await decoded(file)); // anew only if the graphics card was lost
    first = null;
    return image;
  };
  engine.onready = () => showBusy(`Segmenting${position}`);
  const result = await engine.run(source, working);
  engine.onready = () => {};
  if (signal.aborted) return;
  const image = { name: file.name, size, result, image: () => decoded(file) };
  addToStrip(image);
  await showImage(image, false);
}

/**
 * Put an image and its labels on the screen.
 * @param {Shown} image
 * @param {boolean} [draw] Whether the image is not yet on the screen.
 */
async function showImage(image, draw = true) {
  if (draw) {
    resetControls();
    const bitmap = await image.image();
    view.showImage(bitmap, image.size);
    bitmap.close();
  }
  showBusy();
  shown = image;
  parts.name.textContent = image.name;
  view.showLabels(image.result);
  allowSaving(true);
  const text = `${sizes(image)}; ${shownTime(image.result.ms)}`;
  parts.facts.textContent = text;
  for (const button of parts.strip.querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button === stripButtons.get(image)));
  }
  say(`${image.name} is segmented: ${summary(image.result)}. ${text}.`);
}

/**
 * Say at which size an image was computed.
 * @param {{size: Size, result: Labels}} image
 */
function sizes({ size, result }) {
  const computed = result.size;
  const same = size[0] === computed[0] && size[1] === computed[1];
  return same
    ? `${shownSize(size)} pixels, computed at this size`
    : `${shownSize(size)} pixels, computed at ${shownSize(computed)} and scaled back`;
}

/**
 * Name the classes that fill most of an image.
 * @param {Labels} result
 */
function summary(result) {
  const found = [...shares(result.labels, facts.names.length).entries()].filter(([, share]) => share >= 0.005);
  found.sort((one, other) => other[1] - one[1]);
  return found
    .slice(0, 3)
    .map(([number, share]) => `${facts.names[number]} ${Math.round(share * 100)} %`)
    .join(", ");
}

/** @type {Map<Shown, HTMLButtonElement>} */
const stripButtons = new Map();

/** @param {Shown} image */
function addToStrip(image) {
  const canvas = document.createElement("canvas");
  const scale = THUMB / Math.max(view.image.width, view.image.height);
  canvas.width = Math.max(1, Math.round(view.image.width * scale));
  canvas.height = Math.max(1, Math.round(view.image.height * scale));
  canvas.getContext("2d")?.drawImage(view.image, 0, 0, canvas.width, canvas.height);
  const button = document.createElement("button");
  const thumb = document.createElement("img");
  thumb.alt = image.name;
  thumb.src = canvas.toDataURL("image/jpeg", 0.8);
  button.type = "button";
  button.title = image.name;
  button.append(thumb);
  button.addEventListener("click", () => begin(() => showImage(image)));
  const item = document.createElement("li");
  item.append(button);
  parts.strip.append(item);
  parts.strip.hidden = parts.strip.children.length < 2;
  stripButtons.set(image, button);
  const [oldest] = stripButtons.keys();
  if (stripButtons.size > MAX_STRIP) {
    stripButtons.get(oldest)?.parentElement?.remove();
    stripButtons.delete(oldest);
  }
}

// Camera

function toggleCamera() {
  if (parts.cameraText.textContent === "Stop the camera") {
    running.abort();
    return;
  }
  clearProblems();
  begin(async (signal) => {
    showBusy(engine.processor ? "Opening the camera" : `Starting: ${engine.stage}`);
    parts.cameraText.textContent = "Stop the camera";
    parts.name.textContent = "Camera";
    allowSaving(false);
    let begun = performance.now();
    let announced = "";
    await engine.ready();
    await watchCamera(engine, signal, (frame, size, result) => {
      showBusy();
      view.showImage(frame, size, true);
      frame.close();
      view.showLabels(result, true);
      shown = { name: "camera", size, result, image: () => createImageBitmap(view.image) };
      allowSaving(true);
      const now = performance.now();
      const computed = shownSize(result.size);
      parts.facts.textContent =
        `${shownSize(size)} pixels, computed at ${computed} so that it keeps up; ` +
        `${shownTime(result.ms)} a frame, ${(1000 / (now - begun)).toFixed(1)} frames a second`;
      begun = now;
      if (announced !== computed) say(`The camera runs, computed at ${computed}.`);
      announced = computed;
    });
    say("The camera is off.");
  });
}

// Videos

/**
 * @param {File} file
 * @param {AbortSignal} signal
 * @param {"fast" | "full" | null} [chosen]
 */
async function openAndSegmentVideo(file, signal, chosen = null) {
  showBusy(engine.processor ? "Opening the video" : `Starting: ${engine.stage}`);
  parts.name.textContent = file.name;
  parts.facts.textContent = "";
  allowSaving(false);
  const video = await openVideo(file);
  try {
    const { nsPerPixel } = await engine.ready();
    if (signal.aborted) return;
    const { fast, full, isFull } = videoSizes(video, facts.imageSize, nsPerPixel);
    const detail = chosen ?? (isFull ? "full" : "fast");
    const working = detail === "full" ? full : fast;
    offerDetail(file, { fast, full }, detail);
    parts.stop.hidden = parts.progress.hidden = false;
    parts.progress.value = 0;
    say(`${file.name} is running.`);
    const begun = performance.now();
    const done = await segmentVideo(video, engine, facts, {
      working,
      signal,
      look: () => ({ opacity: view.opacity, hidden: view.hidden }),
      show: (frame, result, count) => {
        showBusy();
        view.showImage(frame, video.size, true);
        view.showLabels(result, true);
        shown = { name: file.name, size: video.size, result, image: () => createImageBitmap(view.image) };
        allowSaving(true);
        showProgress(video.frames, count, performance.now() - begun, { size: video.size, result });
      },
    });
    finish(file, done, video, signal);
  } finally {
    video.close();
  }
}

/**
 * @param {number | null} frames
 * @param {number} done
 * @param {number} ms
 * @param {{size: Size, result: Labels}} image
 */
function showProgress(frames, done, ms, image) {
  const rate = `${((done / ms) * 1000).toFixed(1)} frames a second`;
  const left = frames === null ? "" : `, about ${shownTime((ms / done) * (frames - done))} left`;
  parts.facts.textContent = `Frame ${done}${frames === null ? "" : ` of ${frames}`}; ${rate}${left}. ${sizes(image)}.`;
  if (frames === null) parts.progress.removeAttribute("value");
  else parts.progress.value = done / frames;
}

/**
 * @param {File} file
 * @param {Finished} done
 * @param {{frames: number | null, size: Size}} video
 * @param {AbortSignal} signal
 */
function finish(file, done, video, signal) {
  parts.progress.hidden = true;
  parts.again.hidden = false;
  parts.again.onclick = () => restart(file, null);
  if (!done.file) {
    if (done.frames === 0) throw new Refusal(`${file.name} holds no frames that can be decoded. Choose another file.`);
    showProblem("This browser cannot encode videos, so there is no MP4 to save. Open the page in Chrome or Edge.");
    return;
  }
  finished = { file: done, name: file.name };
  parts.saveVideo.hidden = false;
  const cut = signal.aborted && done.frames !== video.frames ? ", as far as it ran" : "";
  parts.facts.textContent = `${done.frames} frames${cut}, ${shown ? sizes(shown) : ""}. The MP4 has no sound; for other colors or another opacity, change them and run it again.`;
  if (!signal.aborted) {
    view.showPlayer(URL.createObjectURL(done.file));
    parts.saveMask.hidden = parts.saveOverlay.hidden = true;
  }
  say(`${file.name} is done: ${done.frames} frames${cut}. Save MP4 is ready.`);
}

/**
 * @param {File} file
 * @param {{fast: Size, full: Size}} offered
 * @param {"fast" | "full"} chosen
 */
function offerDetail(file, { fast, full }, chosen) {
  const isChoice = fast[0] !== full[0] || fast[1] !== full[1];
  parts.detailRow.hidden = !isChoice;
  if (!isChoice) return;
  parts.detail.replaceChildren(
    new Option(`full, computed at ${shownSize(full)}`, "full", false, chosen === "full"),
    new Option(`fast, computed at ${shownSize(fast)}`, "fast", false, chosen === "fast"),
  );
  parts.detail.onchange = () => restart(file, parts.detail.value === "full" ? "full" : "fast");
}

/**
 * @param {File} file
 * @param {"fast" | "full" | null} detail
 */
function restart(file, detail) {
  clearProblems();
  begin((signal) => openAndSegmentVideo(file, signal, detail));
}

// Saving

/** @param {string} name */
function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}

async function saveMask() {
  if (!shown) return;
  const { name, size, result } = shown;
  save(await maskPNG(scaledLabels(result.labels, result.size, size), size, facts.palette), `${stem(name)}_mask.png`);
}

async function saveOverlay() {
  if (!shown) return;
  const { name, size, result } = shown;
  if (Math.max(...size) > LARGEST_CANVAS) {
    throw new Refusal(`${name} is wider than ${LARGEST_CANVAS} pixels, too wide for an overlay; the mask can be saved.`);
  }
  const colors = new OffscreenCanvas(1, 1);
  paintLabels(colors, result, facts.palette, view.hidden);
  const canvas = new OffscreenCanvas(size[1], size[0]);
  const image = await shown.image();
  drawOverlay(canvas, image, colors, view.opacity);
  image.close();
  save(await canvas.convertToBlob({ type: "image/png" }), `${stem(name)}_overlay.png`);
}

// What the user does

/** @param {DataTransfer | null} data */
function filesOf(data) {
  return data ? [...data.files] : [];
}

parts.choose.addEventListener("click", () => parts.file.click());
parts.file.addEventListener("change", () => {
  open([...(parts.file.files ?? [])]);
  parts.file.value = "";
});
parts.camera.addEventListener("click", toggleCamera);
parts.stop.addEventListener("click", () => running.abort());
parts.saveMask.addEventListener("click", () => saveMask().catch(refuse));
parts.saveOverlay.addEventListener("click", () => saveOverlay().catch(refuse));
parts.saveVideo.addEventListener("click", () => {
  if (finished?.file.file) save(finished.file.file, `${stem(finished.name)}_overlay.mp4`);
});
document.addEventListener("paste", (event) => {
  const files = filesOf(event.clipboardData);
  if (files.length > 0) open(files);
  else if (event.clipboardData?.types.length) showProblem("The clipboard holds no image. Copy an image, then paste it.");
});
for (const kind of /** @type {const} */ (["dragenter", "dragover"])) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
}
for (const kind of /** @type {const} */ (["dragleave", "drop"])) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind === "drop" || event.relatedTarget === null) document.body.classList.remove("dragging");
    if (kind === "drop") open(filesOf(event.dataTransfer));
  });
}

// What computes

function showProcessor() {
  const { processor, failure, last } = engine;
  if (failure) {
    parts.processor.textContent = `The network cannot run here: ${failure}. Open the page in a newer Chrome, Edge, Firefox or Safari.`;
  } else if (!processor) {
    parts.processor.textContent = `Starting: ${engine.stage} …`;
  } else {
    const speed = last ? `${shownTime(last.ms)} an image of ${shownSize(last.size)}` : "ready";
    parts.processor.textContent = `${processor.name}: ${speed}${processor.note ? `. ${processor.note}` : ""}`;
  }
}

engine.onchange = showProcessor;
showProcessor();
const asked = /#processor=(wasm|webgpu)\b/.exec(location.hash)?.[1];
void engine.start(facts.webgpu ? /** @type {"wasm" | "webgpu" | undefined} */ (asked) ?? "auto" : "wasm");
