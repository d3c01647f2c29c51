/** Images of the camera, one after the other. */

import { parts, Refusal } from "./page.js";

/** @import {Labels, Size} from "./types.js" */

/** What to do about the errors of getUserMedia. @type {Record<string, string>} */
const REMEDIES = {
  NotAllowedError: "The camera is blocked. Allow it for this page in the address bar, then choose it again.",
  NotFoundError: "No camera was found. Connect one, then choose it again.",
  NotReadableError: "The camera is in use by another program. Close that program, then choose it again.",
};

/** Whether the button ends the camera rather than beginning it. */
export function isOn() {
  return parts.cameraText.textContent === "Stop the camera";
}

/**
 * Segment images of the camera until the signal ends it.
 * @param {AbortSignal} signal
 * @param {(frame: ImageBitmap, size: Size) => Promise<Labels>} compute
 * @param {(frame: ImageBitmap, size: Size, result: Labels, rate: string) => void} show Gets each image with its labels
 *     and the rate in words; it closes the image.
 */
export async function watchCamera(signal, compute, show) {
  parts.cameraText.textContent = "Stop the camera";
  /** @type {MediaStream | null} */
  let stream = null;
  const video = document.createElement("video");
  try {
    stream = await opened();
    let isOver = false;
    stream.getVideoTracks()[0].addEventListener("ended", () => (isOver = true));
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    await video.play();
    const size = /** @type {Size} */ ([video.videoHeight, video.videoWidth]);
    let begun = performance.now();
    while (!signal.aborted && !isOver) {
      const frame = await createImageBitmap(video);
      const result = await compute(frame, size);
      const now = performance.now();
      const rate = `${(1000 / (now - begun)).toFixed(1)} frames a second`;
      begun = now;
      if (signal.aborted) frame.close();
      else show(frame, size, result, rate);
    }
    if (isOver && !signal.aborted) throw new Refusal("The camera ended. Connect it again, then choose it again.");
  } finally {
    for (const track of stream?.getTracks() ?? []) track.stop();
    video.srcObject = null;
    parts.cameraText.textContent = "Use the camera";
  }
}

async function opened() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Refusal(
      location.protocol === "file:"
        ? "This browser gives no camera to pages opened from a file. Use Chrome or Edge, or drop images."
        : "Browsers give the camera only to https addresses and to 127.0.0.1. Open the page there, or drop images.",
    );
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
