// When the session has ended, asks for the password in a dialog, so that nothing typed on the page is lost.
import { Problem, call } from "./call.js";

let asking = null;

// Resolves to whether the person signed in again. Several failed calls share one question.
export function signedInAgain() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const email = document.querySelector("[data-user]")?.dataset.user;
  if (!email) {
    return Promise.resolve(false);
  }
  const { dialog, form, password, problem } = build(email);
  document.body.append(dialog);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      await call("POST", "/api/auth/sign-in", { email, password: password.value });
      dialog.close("signed-in");
    } catch (error) {
      if (!(error instanceof Problem)) {
        throw error;
      }
      problem.textContent = error.message;
      problem.hidden = false;
      password.select();
    }
  });
  dialog.showModal();
  password.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "signed-in");
    });
  });
}

function build(email) {
  const dialog = element("dialog", { className: "confirm" });
  const heading = element("h2", { id: "sign-in-again", textContent: "Your session has ended" });
  dialog.setAttribute("aria-labelledby", heading.id);
  const said = element("p", { textContent: `Sign in again as ${email}. What you typed is kept.` });
  const form = element("form", { className: "stack" });
  const user = element("input", { type: "email", autocomplete: "username", value: email, hidden: true });
  const label = element("label", { textContent: "Password " });
  const password = element("input", { type: "password", autocomplete: "current-password", required: true });
  const problem = element("p", { className: "problem", hidden: true, role: "alert" });
  const actions = element("div", { className: "actions" });
  const later = element("button", { type: "button", textContent: "Not now" });
  later.addEventListener("click", () => dialog.close());
  label.append(password);
  actions.append(later, element("button", { className: "primary", textContent: "Sign in" }));
  form.append(user, label, problem, actions);
  dialog.append(heading, said, form);
  return { dialog, form, password, problem };
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
