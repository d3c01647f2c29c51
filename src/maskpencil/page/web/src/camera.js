/** Images of the camera, one after the other, at a size at which they keep up. */

import { Refusal } from "./images.js";
import { frameSize } from "./sizes.js";

/** @import {Engine} from "./engine.js" */
/** @import {Labels, Size} from "./types.js" */

/** The share of change in size from which on another size is worth the preparation that it costs. */
const WORTHWHILE = 0.2;

/** What to do about the errors of getUserMedia. @type {Record<string, string>} */
const REMEDIES = {
  NotAllowedError: "The camera is blocked. Allow it for this page in the address bar, then choose it again.",
  NotFoundError: "No camera was found. Connect one, then choose it again.",
  NotReadableError: "The camera is in use by another program. Close that program, then choose it again.",
};

/**
 * Segment images of the camera until the signal ends it.
 * @param {Engine} engine
 * @param {AbortSignal} signal
 * @param {(frame: ImageBitmap, size: Size, result: Labels) => void} show Gets each image with its labels; it closes
 *     the image.
 */
export async function watchCamera(engine, signal, show) {
  const stream = await opened();
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  try {
    await video.play();
    const size = /** @type {Size} */ ([video.videoHeight, video.videoWidth]);
    const ended = new Promise((resolve) => stream.getVideoTracks()[0].addEventListener("ended", resolve));
    let isOver = false;
    void ended.then(() => (isOver = true));
    /** @type {Size | null} */
    let working = null;
    while (!signal.aborted && !isOver) {
      const fitting = frameSize(size, engine.processor?.nsPerPixel ?? Infinity);
      if (!working || Math.abs(fitting[0] * fitting[1] - working[0] * working[1]) > WORTHWHILE * working[0] * working[1]) {
        working = fitting;
      }
      const frame = await createImageBitmap(video);
      const result = await engine.run(() => createImageBitmap(frame), working, true);
      if (signal.aborted) frame.close();
      else show(frame, size, result);
    }
    if (isOver && !signal.aborted) throw new Refusal("The camera ended. Connect it again, then choose it again.");
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

async function opened() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Refusal("This browser gives no camera to pages opened from a file. Use Chrome or Edge, or drop images.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" },
      audio: false,
    });
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    throw new Refusal(REMEDIES[name] ?? `The camera cannot be opened (${String(error)}). Connect it again.`);
  }
}
