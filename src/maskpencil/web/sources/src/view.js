/** The image with its colors over it, side by side with the plain image, the legend, and the opacity. */

import { shares } from "./labels.js";
import { paintLabels } from "./paint.js";
import { part } from "./page.js";
import { limited } from "./sizes.js";

/** @import {Classes, Labels, Size} from "./types.js" */

/** The largest number of pixels of the image on the screen. */
const MAX_SHOWN_PIXELS = 4_000_000;

/** The width below which an image is enlarged to the width of the page. */
const AMPLE = 640;

/** The width of the thumb of a slider; its middle lies on the edge between image and overlay. */
const SLIDER_THUMB = 16;

/**
 * Write a share of pixels; what is there is never 0.
 * @param {number} share 0 to 1
 */
function shownShare(share) {
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
}

export class View {
  #base = part("base", HTMLCanvasElement);
  #colors = part("colors", HTMLCanvasElement);
  #readout = part("readout", HTMLParagraphElement);
  #chips = part("chips", HTMLUListElement);
  #legend = part("legend", HTMLUListElement);
  #slider = part("opacity", HTMLInputElement);
  #edge = part("edge", HTMLSpanElement);
  #split = part("split", HTMLInputElement);
  #splitRow = part("split-row", HTMLParagraphElement);
  #buttons = [part("all", HTMLButtonElement), part("none", HTMLButtonElement)];
  /** @type {Classes} */
  #classes = { names: [], palette: [] };
  #isFixed = false;
  /** @type {Labels | null} */
  #result = null;
  #isFrame = false;
  /** @type {{item: HTMLLIElement, box: HTMLInputElement, share: HTMLElement, bar: HTMLElement}[]} */
  #entries = [];

  /** Called with the labels of a frame after those of the next are shown. @type {(result: Labels) => void} */
  onreplaced = () => {};
  player = part("player", HTMLVideoElement);
  /** The numbers of the classes that are off. @type {Set<number>} */
  hidden = new Set();

  constructor() {
    for (const [at, button] of this.#buttons.entries()) button.addEventListener("click", () => this.#setAll(at === 0));
    const value = part("opacity-value", HTMLOutputElement);
    const change = () => {
      value.textContent = `${this.#slider.value} %`;
      this.#colors.style.opacity = String(this.opacity);
    };
    this.#slider.addEventListener("input", change);
    change();
    this.#split.addEventListener("input", () => this.#divide());
    this.#base.addEventListener("pointermove", (event) => this.#read(event));
    this.#base.addEventListener("pointerleave", () => (this.#readout.hidden = true));
    new ResizeObserver(() => this.#align()).observe(this.#base);
  }

  /**
   * Show the legend of classes; all of them are on, unless they are those that are shown already.
   * @param {Classes} classes
   */
  use(classes) {
    if (JSON.stringify(classes) === JSON.stringify(this.#classes)) return;
    this.#classes = classes;
    this.#result = null;
    this.#entries = [];
    this.hidden.clear();
    this.#chips.replaceChildren();
    this.#legend.replaceChildren();
    for (const [number, name] of classes.names.entries()) this.#addEntry(number, name);
  }

  get opacity() {
    return Number(this.#slider.value) / 100;
  }

  /** The image on the screen. */
  get image() {
    return this.#base;
  }

  /**
   * Show an image; the colors of the one before are removed unless they will be replaced at once.
   * @param {CanvasImageSource} image
   * @param {Size} size
   * @param {boolean} [keepColors]
   */
  showImage(image, size, keepColors = false) {
    const [height, width] = limited(size, MAX_SHOWN_PIXELS);
    if (this.#base.width !== width) this.#base.width = width;
    if (this.#base.height !== height) this.#base.height = height;
    this.#base.classList.toggle("ample", width < AMPLE);
    this.#base.getContext("2d")?.drawImage(image, 0, 0, width, height);
    this.#colors.hidden = !keepColors;
    this.#showFixed(false);
    this.showPlayer(null);
    this.#align();
  }

  /**
   * Show the labels of the image on the screen, and the shares of the classes.
   * @param {Labels} result
   * @param {boolean} [isFrame] Whether nobody needs the labels after those of the next frame are shown.
   */
  showLabels(result, isFrame = false) {
    if (this.#isFrame && this.#result && this.#result !== result) {
      this.onreplaced(this.#result);
    }
    this.#result = result;
    this.#isFrame = isFrame;
    this.#colors.hidden = false;
    this.#repaint();
    this.#showShares(result);
    this.#align();
  }

  /**
   * Show an image over which its colors are drawn already, and the shares of the classes.
   * @param {CanvasImageSource} image
   * @param {Labels} result
   */
  showDrawn(image, result) {
    this.showImage(image, result.size);
    this.#showFixed(true);
    this.#result = null;
    this.#showShares(result);
  }

  /**
   * Show a video over which its colors are drawn already.
   * @param {string} address
   */
  showVideo(address) {
    this.#showFixed(true);
    this.#result = null;
    this.#showShares(null);
    this.showPlayer(address);
  }

  /** Show neither an image nor a video. */
  showNothing() {
    this.showImage(new OffscreenCanvas(1, 1), [1, 1]);
    this.#base.hidden = true;
    this.#result = null;
    this.#showFixed(true);
    this.#showShares(null);
  }

  /**
   * Let colors be changed, unless they are drawn already.
   * @param {boolean} isFixed
   */
  #showFixed(isFixed) {
    this.#isFixed = isFixed;
    this.#splitRow.hidden = isFixed;
    this.#divide();
    for (const control of [this.#slider, ...this.#buttons, ...this.#entries.map(({ box }) => box)]) {
      control.disabled = isFixed;
    }
  }

  /** @param {Labels | null} result */
  #showShares(result) {
    const found = shares(result?.labels ?? new Uint8Array(1).fill(255), this.#classes.names.length);
    for (const [number, { item, share, bar }] of this.#entries.entries()) {
      share.textContent = result ? shownShare(found[number]) : "";
      bar.style.width = `${(found[number] * 100).toFixed(2)}%`;
      item.classList.toggle("absent", result !== null && found[number] === 0);
    }
  }

  /**
   * Show a finished video in place of its last frame, or the frame again.
   * @param {string | null} address
   */
  showPlayer(address) {
    this.player.hidden = address === null;
    this.#base.hidden = address !== null;
    if (this.player.src) URL.revokeObjectURL(this.player.src);
    if (address === null) {
      this.player.removeAttribute("src");
    } else {
      this.#colors.hidden = this.#edge.hidden = this.#splitRow.hidden = true;
      this.player.src = address;
    }
  }

  /** Leave a part of the image without colors, at its left. */
  #divide() {
    const share = this.#split.value;
    this.#split.setAttribute("aria-valuetext", `${share} % of the width without colors`);
    this.#colors.style.clipPath = share === "0" ? "" : `inset(0 0 0 ${share}%)`;
    this.#edge.hidden = this.#isFixed || this.#colors.hidden || share === "0" || share === "100";
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.#colors;
    this.#edge.style.left = `${offsetLeft + (offsetWidth * Number(share)) / 100}px`;
    this.#edge.style.top = `${offsetTop}px`;
    this.#edge.style.height = `${offsetHeight}px`;
    this.#split.style.left = `${offsetLeft - SLIDER_THUMB / 2}px`;
    this.#split.style.width = `${offsetWidth + SLIDER_THUMB}px`;
  }

  #repaint() {
    if (this.#result) paintLabels(this.#colors, this.#result, this.#classes.palette, this.hidden);
  }

  /** Lay the colors exactly over the image. */
  #align() {
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.#base;
    const { style } = this.#colors;
    const ratio = this.#base.width / this.#base.height;
    const width = Math.min(offsetWidth, offsetHeight * ratio); // where the image is contained in a wider element
    const height = Math.min(offsetHeight, offsetWidth / ratio);
    style.left = `${offsetLeft + (offsetWidth - width) / 2}px`;
    style.top = `${offsetTop + (offsetHeight - height) / 2}px`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    this.#divide();
  }

  /**
   * @param {number} number
   * @param {string} name
   */
  #addEntry(number, name) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    const text = document.createElement("bdi");
    text.textContent = name;
    const share = document.createElement("span");
    share.className = "share";
    const track = document.createElement("span");
    track.className = "track";
    const bar = document.createElement("span");
    track.append(bar);
    const chip = document.createElement("li");
    chip.append(document.createElement("span"), text.cloneNode(true));
    this.#chips.append(chip);
    for (const colored of [swatch, chip.firstElementChild]) {
      if (colored instanceof HTMLElement) colored.style.backgroundColor = `rgb(${this.#classes.palette[number].join(" ")})`;
    }
    label.append(box, swatch, text, share, track);
    item.append(label);
    this.#legend.append(item);
    this.#entries.push({ item, box, share, bar });
    box.addEventListener("change", () => {
      this.hidden[box.checked ? "delete" : "add"](number);
      this.#repaint();
    });
  }

  /** @param {boolean} on */
  #setAll(on) {
    for (const [number, { box }] of this.#entries.entries()) {
      box.checked = on;
      this.hidden[on ? "delete" : "add"](number);
    }
    this.#repaint();
  }

  /** @param {PointerEvent} event */
  #read(event) {
    if (!this.#result || this.#colors.hidden) return;
    const box = this.#colors.getBoundingClientRect();
    const [height, width] = this.#result.size;
    const column = Math.floor(((event.clientX - box.left) / box.width) * width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * height);
    const at = row * width + column;
    this.#readout.hidden = column < 0 || column >= width || row < 0 || row >= height;
    if (this.#readout.hidden) return;
    const name = this.#classes.names[this.#result.labels[at]] ?? "no class";
    const { confidence } = this.#result;
    this.#readout.textContent = confidence ? `${name}, ${confidence[at]} % sure` : name;
  }
}
