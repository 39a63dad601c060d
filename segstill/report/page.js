// Enlarge a picture; left and right go to the same row of the next run, up and down between prediction and errors.
const dialog = document.querySelector("dialog");
const picture = dialog.querySelector("img");
const caption = dialog.querySelector("output");
let current = null;

function show(button) {
  if (!button) return;
  current = button;
  const image = button.querySelector("img");
  picture.src = image.src;
  picture.alt = image.alt;
  caption.textContent = image.alt;
  if (!dialog.open) dialog.showModal();
}

function neighbour(across, down) {
  const strip = current.closest(".strip");
  if (!strip) return null;
  const cells = [...strip.children];
  const rows = (cell) => [...cell.querySelectorAll(".zoom")];
  const cell = current.closest("figure");
  const row = rows(cell).indexOf(current);
  const target = rows(cells[(cells.indexOf(cell) + across + cells.length) % cells.length]);
  return target[Math.min(Math.max(row + down, 0), target.length - 1)];
}

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
for (const button of document.querySelectorAll(".zoom")) button.addEventListener("click", () => show(button));
picture.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => current.focus());
dialog.addEventListener("keydown", (event) => {
  if (!(event.key in moves)) return;
  event.preventDefault();
  show(neighbour(...moves[event.key]));
});
