// Menus that close by themselves, the phone's navigation, dialogs and copy buttons.
import { announce } from "./announce.js";
import { openDialog } from "./dialogs.js";

export function startMenus() {
  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    const button = event.target.closest("button, a");
    if (!button) {
      return;
    }
    if (button.dataset.toggle !== undefined) {
      toggle(button);
    } else if (button.dataset.open) {
      openDialog(document.getElementById(button.dataset.open));
    } else if (button.dataset.close !== undefined) {
      button.closest("dialog").close();
    } else if (button.dataset.copy) {
      copy(button);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leaveMenu();
    }
  });
}

function closeMenus(clicked) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(clicked)) {
      menu.open = false;
    }
  }
}

function leaveMenu() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
}

function toggle(button) {
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
}

async function copy(button) {
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    document.execCommand("copy"); // plain http on another host than localhost has no clipboard
  }
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2000);
}
