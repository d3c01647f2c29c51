/** What the page does when something is chosen, pressed or dropped. */

import { isOn, watchCamera } from "./camera.js";
import { Engine } from "./engine.js";
import { accepted, decoded, sizeOf } from "./images.js";
import { takeFiles } from "./input.js";
import { summary } from "./labels.js";
import { clearProblems, part, parts as common, Refusal, save, say, showBusy, showProblem, shownTime, stem } from "./page.js";
import { thumbnail } from "./paint.js";
import { maskPNG } from "./png.js";
import { scaledLabels } from "./resize.js";
import { saveOverlay } from "./saving.js";
import { frameSize, shownSize, workingSize } from "./sizes.js";
import { openVideo, segmentVideo, videoSizes } from "./video.js";
import { View } from "./view.js";

/** @import {Finished} from "./video.js" */
/** @import {Facts, Labels, Shown, Size} from "./types.js" */

/** The number of images that stay at hand. */
const MAX_STRIP = 100;

/** The share of change in size from which on another size is worth the preparation that it costs. */
const WORTHWHILE = 0.2;

const parts = {
  ...common,
  processor: part("processor", HTMLParagraphElement),
  stop: part("stop", HTMLButtonElement),
  again: part("again", HTMLButtonElement),
  saveVideo: part("save-video", HTMLButtonElement),
  progress: part("progress", HTMLProgressElement),
  detailRow: part("detail-row", HTMLParagraphElement),
  detail: part("detail", HTMLSelectElement),
  strip: part("strip", HTMLUListElement),
};

/** @type {Facts} */
const facts = JSON.parse(part("model-facts", HTMLScriptElement).textContent ?? "");
const view = new View();
view.use(facts);
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
  say(`${image.name} is segmented: ${summary(image.result, facts.names)}. ${text}.`);
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

/** @type {Map<Shown, HTMLButtonElement>} */
const stripButtons = new Map();

/** @param {Shown} image */
function addToStrip(image) {
  const button = document.createElement("button");
  const thumb = document.createElement("img");
  thumb.alt = image.name;
  thumb.src = thumbnail(view.image, [view.image.height, view.image.width]);
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
  if (isOn()) {
    running.abort();
    return;
  }
  clearProblems();
  begin(async (signal) => {
    showBusy(engine.processor ? "Opening the camera" : `Starting: ${engine.stage}`);
    parts.name.textContent = "Camera";
    allowSaving(false);
    let announced = "";
    await watchCamera(signal, keepingUp(), (frame, size, result, rate) => {
      showBusy();
      view.showImage(frame, size, true);
      frame.close();
      view.showLabels(result, true);
      shown = { name: "camera", size, result, image: () => createImageBitmap(view.image) };
      allowSaving(true);
      const computed = shownSize(result.size);
      parts.facts.textContent =
        `${shownSize(size)} pixels, computed at ${computed} so that it keeps up; ${shownTime(result.ms)} a frame, ${rate}`;
      if (announced !== computed) say(`The camera runs, computed at ${computed}.`);
      announced = computed;
    });
    say("The camera is off.");
  });
}

/** Return what computes frames at a size at which they keep up. */
function keepingUp() {
  /** @type {Size | null} */
  let working = null;
  return async (/** @type {ImageBitmap} */ frame, /** @type {Size} */ size) => {
    const { nsPerPixel } = await engine.ready();
    const fitting = frameSize(size, nsPerPixel);
    if (!working || Math.abs(fitting[0] * fitting[1] - working[0] * working[1]) > WORTHWHILE * working[0] * working[1]) {
      working = fitting;
    }
    return engine.run(() => createImageBitmap(frame), working, true);
  };
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

async function saveMask() {
  if (!shown) return;
  const { name, size, result } = shown;
  save(await maskPNG(scaledLabels(result.labels, result.size, size), size, facts.palette), `${stem(name)}_mask.png`);
}

// What the user does

takeFiles(open);
parts.camera.addEventListener("click", toggleCamera);
parts.stop.addEventListener("click", () => running.abort());
parts.saveMask.addEventListener("click", () => saveMask().catch(refuse));
parts.saveOverlay.addEventListener("click", () => {
  if (shown) saveOverlay(shown, facts, view).catch(refuse);
});
parts.saveVideo.addEventListener("click", () => {
  if (finished?.file.file) save(finished.file.file, `${stem(finished.name)}_overlay.mp4`);
});

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
