// Asks for confirmation, in a dialog that looks like the page, before an action that cannot be undone.
export function confirmed(question, action) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  text.textContent = question;
  text.id = "confirm-question";
  dialog.setAttribute("aria-labelledby", text.id);
  dialog.className = "confirm";
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(choice("Keep", "keep"), choice(action, "go"));
  dialog.append(text, actions);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target.value) {
      dialog.close(event.target.value);
    }
  });
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "go");
    });
  });
}

function choice(words, value) {
  const button = document.createElement("button");
  button.type = "button";
  button.value = value;
  button.textContent = words;
  button.className = value === "go" ? "danger" : "";
  return button;
}
