"use strict";

// Sort a table by the column whose heading is pressed; cells hold their number in data-value.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const column = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const up = heading.getAttribute("aria-sort") === "descending";
    const value = (row) => row.cells[column].dataset.value ?? "";
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const numeric = Number(a) - Number(b);
      return (up ? 1 : -1) * (Number.isNaN(numeric) ? b.localeCompare(a) : numeric);
    };
    body.append(...[...body.rows].sort(compare));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
}

// Show only the images of the chosen group and class.
for (const tools of document.querySelectorAll(".tools[data-list]")) {
  const list = document.getElementById(tools.dataset.list);
  const note = tools.querySelector("output");
  const choices = [...tools.querySelectorAll("select")];
  const update = () => {
    let seen = 0;
    for (const item of list.children) {
      const fits = choices.every((choice) => {
        return choice.value === "" || item.dataset[choice.dataset.by].split(" ").includes(choice.value);
      });
      item.hidden = !fits;
      seen += fits;
    }
    note.textContent = `${seen} shown`;
  };
  for (const choice of choices) choice.addEventListener("change", update);
  update();
}

// Copy the name of a file.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.name);
      button.textContent = "copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("bdi"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}

// Enlarge a panel; the arrow keys go on to the other panels.
const viewer = document.querySelector("dialog");
const panels = [...document.querySelectorAll(".panels button")];
let current = 0;
const show = (index) => {
  const shown = panels.filter((panel) => !panel.closest("[hidden]"));
  current = (index + shown.length) % shown.length;
  const image = shown[current].querySelector("img");
  viewer.querySelector("img").src = image.src;
  viewer.querySelector("img").alt = image.alt;
  viewer.querySelector("p").textContent = image.alt;
  if (!viewer.open) viewer.showModal();
};
for (const panel of panels) {
  panel.addEventListener("click", () => {
    show(panels.filter((other) => !other.closest("[hidden]")).indexOf(panel));
  });
}
if (viewer) {
  const [back, next, close] = viewer.querySelectorAll("button");
  back.addEventListener("click", () => show(current - 1));
  next.addEventListener("click", () => show(current + 1));
  close.addEventListener("click", () => viewer.close());
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(current - 1);
    if (event.key === "ArrowRight") show(current + 1);
  });
}
