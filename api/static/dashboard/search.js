// The search by keyboard: `/` leads to its field from anywhere, arrow keys through what was found.
const FIELDS = "input, textarea, select, [contenteditable]";

export function startSearch() {
  const field = document.querySelector("[data-search]");
  if (!field) {
    return;
  }
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest(FIELDS) || document.querySelector("dialog[open]");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      move(event, field);
    }
  });
}

function move(event, field) {
  const places = [field, ...document.querySelectorAll("#hits a")];
  const at = places.indexOf(event.target);
  const next = places[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (at >= 0 && next && places.length > 1) {
    event.preventDefault();
    next.focus();
  }
}
