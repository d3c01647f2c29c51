/** Videos: decode every frame, segment it, and encode it with its colors and its own time. */

import {
  BlobSource,
  BufferTarget,
  CanvasSource,
  getFirstEncodableVideoCodec,
  Input,
  MATROSKA,
  MP4,
  Mp4OutputFormat,
  MPEG_TS,
  Output,
  QTFF,
  QUALITY_HIGH,
  VideoSampleSink,
  WEBM,
} from "mediabunny";

import { Refusal } from "./page.js";
import { drawOverlay, paintLabels } from "./paint.js";
import { frameSize, limited, workingSize } from "./sizes.js";

/** @import {InputVideoTrack} from "mediabunny" */
/** @import {Engine} from "./engine.js" */
/** @import {Facts, Labels, Size} from "./types.js" */

/** Videos whose full detail takes at most this long are computed in full detail unless the user chooses. */
const PATIENCE_MS = 90_000;

/** The longest time in which the frames are counted before the video begins. */
const COUNT_MS = 3_000;

const FORMATS = [MP4, QTFF, WEBM, MATROSKA, MPEG_TS];

/**
 * @typedef {object} Video
 * @property {InputVideoTrack} track
 * @property {Size} size The size as it is shown.
 * @property {number | null} frames The number of frames, if it was counted in time.
 * @property {() => void} close
 *
 * @typedef {object} Finished
 * @property {Blob | null} file The MP4 file; null if this browser cannot encode videos.
 * @property {number} frames
 */

/**
 * Open a video.
 * @param {File} file
 * @returns {Promise<Video>}
 */
export async function openVideo(file) {
  if (!("VideoDecoder" in globalThis)) {
    throw new Refusal(`${file.name} needs WebCodecs, which this browser lacks. Open the page in a newer browser.`);
  }
  const input = new Input({ formats: FORMATS, source: new BlobSource(file) });
  try {
    const track = await input.getPrimaryVideoTrack().catch(() => {
      throw new Refusal(`${file.name} is damaged or not an MP4, WebM, MOV, MKV or TS video. Copy or download it again.`);
    });
    if (!track) throw new Refusal(`${file.name} holds no video that can be read: it is cut off, or holds only sound. Copy it again, or choose another file.`);
    if (!(await track.canDecode())) {
      const codec = (await track.getCodec()) ?? "an unknown form";
      throw new Refusal(`${file.name} is encoded as ${codec}, which this browser cannot decode. Convert it to H.264 in MP4.`);
    }
    const counted = track.computePacketStats().then(
      ({ packetCount }) => packetCount,
      () => null,
    );
    const tooLate = new Promise((/** @type {(none: null) => void} */ resolve) => setTimeout(resolve, COUNT_MS, null));
    return {
      track,
      size: [await track.getDisplayHeight(), await track.getDisplayWidth()],
      frames: await Promise.race([counted, tooLate]),
      close: () => input.dispose(),
    };
  } catch (error) {
    input.dispose();
    throw error;
  }
}

/**
 * Return the sizes at which a video can be computed: one that keeps up, and the full one; and which to begin with.
 * @param {Video} video
 * @param {number | Size | null} rule
 * @param {number} nsPerPixel
 * @returns {{fast: Size, full: Size, isFull: boolean}}
 */
export function videoSizes({ size, frames }, rule, nsPerPixel) {
  const full = workingSize(size, rule);
  const ms = (full[0] * full[1] * nsPerPixel) / 1e6;
  return { fast: frameSize(full, nsPerPixel), full, isFull: frames !== null && ms * frames <= PATIENCE_MS };
}

/**
 * Segment a video.
 * @param {Video} video
 * @param {Engine} engine
 * @param {Facts} facts
 * @param {object} options
 * @param {Size} options.working The size at which the network sees the frames.
 * @param {AbortSignal} options.signal Ends the video early; the frames so far are kept.
 * @param {() => {opacity: number, hidden: ReadonlySet<number>}} options.look How to draw the next frame.
 * @param {(frame: OffscreenCanvas, result: Labels, done: number) => void} options.show
 * @returns {Promise<Finished>}
 */
export async function segmentVideo({ track, size }, engine, facts, { working, signal, look, show }) {
  const [height, width] = limited(size, 3840 * 2160);
  const frame = new OffscreenCanvas(width, height);
  const context = frame.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Refusal("The browser gives no memory for frames of this size. Close other pages, and retry.");
  const colors = new OffscreenCanvas(working[1], working[0]);
  const encoder = await openEncoder([height, width]);
  let frames = 0;
  try {
    for await (const sample of new VideoSampleSink(track).samples()) {
      try {
        sample.draw(context, 0, 0, width, height);
        const result = await engine.run(() => createImageBitmap(frame), working, true);
        const { opacity, hidden } = look();
        if (encoder) {
          paintLabels(colors, result, facts.palette, hidden);
          drawOverlay(encoder.canvas, frame, colors, opacity);
          await encoder.source.add(Math.max(0, sample.timestamp), sample.duration);
        }
        frames++;
        show(frame, result, frames);
      } finally {
        sample.close();
      }
      if (signal.aborted) break;
    }
    if (!encoder || frames === 0) return { file: null, frames };
    await encoder.output.finalize();
    return { file: new Blob([encoder.target.buffer ?? ""], { type: "video/mp4" }), frames };
  } catch (error) {
    if (encoder && encoder.output.state === "started") await encoder.output.cancel();
    throw error;
  }
}

/**
 * Begin an MP4 file; null if this browser cannot encode videos of this size.
 * @param {Size} size
 */
async function openEncoder([height, width]) {
  const even = { width: width + (width % 2), height: height + (height % 2) }; // H.264 halves the sides for colors
  if (!("VideoEncoder" in globalThis)) return null;
  const codec = await getFirstEncodableVideoCodec(["avc", "vp9", "av1", "hevc"], { ...even, quality: QUALITY_HIGH });
  if (!codec) return null;
  const canvas = new OffscreenCanvas(even.width, even.height);
  const target = new BufferTarget();
  const output = new Output({ format: new Mp4OutputFormat({ fastStart: "in-memory" }), target });
  const source = new CanvasSource(canvas, { codec, quality: QUALITY_HIGH });
  output.addVideoTrack(source);
  await output.start();
  return { canvas, target, output, source };
}
