/** Files that are dropped anywhere on the page, pasted, or chosen. */

import { parts, showProblem } from "./page.js";

/**
 * Call a function with the files of every drop, paste and choice.
 * @param {(files: File[]) => void} open
 */
export function takeFiles(open) {
  parts.choose.addEventListener("click", () => parts.file.click());
  parts.file.addEventListener("change", () => {
    open([...(parts.file.files ?? [])]);
    parts.file.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData);
    if (files.length > 0) open(files);
    else if (event.clipboardData?.types.length && !(event.target instanceof HTMLInputElement)) {
      showProblem("The clipboard holds no image. Copy an image, then paste it.");
    }
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
}

/** @param {DataTransfer | null} data */
function filesOf(data) {
  return data ? [...data.files] : [];
}
