/** Ask the user for the token of the server. */

import { part } from "./page.js";

const dialog = part("token-dialog", HTMLDialogElement);
const input = part("token", HTMLInputElement);
const problem = part("token-problem", HTMLParagraphElement);

/**
 * Return the token that the user types; null if there is none.
 * @param {boolean} wasWrong Whether the server refused another.
 * @returns {Promise<string | null>}
 */
export function askForToken(wasWrong) {
  showTokenProblem(wasWrong ? "The server does not accept this token." : "");
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const finish = (/** @type {string | null} */ token) => {
      dialog.oncancel = null;
      dialog.close();
      resolve(token);
    };
    dialog.oncancel = () => finish(null);
    part("token-cancel", HTMLButtonElement).onclick = () => finish(null);
    part("token-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      const token = input.value.trim();
      if (/^[!-~]+$/.test(token)) finish(token);
      else showTokenProblem("A token has letters, digits and signs, and no spaces.");
    };
  });
}

/** @param {string} text */
function showTokenProblem(text) {
  problem.textContent = text;
  problem.hidden = text === "";
}
