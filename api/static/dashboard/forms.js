// Forms that name their API call: <form data-call="POST /api/…" data-then="reload | go:/… | reveal:name">.
import { Problem, asSentence, call } from "./call.js";
import { announce } from "./announce.js";
import { offerCandidates, withdrawCandidates } from "./candidates.js";
import { confirmed } from "./confirm.js";
import { signedInAgain } from "./session.js";

export function startForms() {
  document.addEventListener("input", (event) => {
    if (event.target.form && event.target.name === "email") {
      withdrawCandidates(event.target.form); // they were another address'
    }
  });
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.call) {
      event.preventDefault();
      if (event.target.ariaBusy !== "true") {
        submit(event.target, event.submitter);
      }
    }
  });
}

async function submit(form, button) {
  if (form.dataset.confirm && !(await confirmed(form.dataset.confirm, button.textContent))) {
    return;
  }
  const [method, path] = form.dataset.call.split(" ");
  clearProblem(form);
  if (lacksChoice(form)) {
    return;
  }
  form.ariaBusy = "true"; // a disabled button would lose the focus
  try {
    const answer = await callSignedIn(method, path, method === "DELETE" ? undefined : valuesOf(form));
    await proceed(form, answer);
  } catch (error) {
    if (!(error instanceof Problem)) {
      throw error;
    }
    showProblem(form, error);
  } finally {
    form.ariaBusy = "false";
  }
}

// If the session has ended and the person signs in again, sends the call once more.
async function callSignedIn(method, path, body) {
  try {
    return await call(method, path, body);
  } catch (error) {
    if (error.status === 401 && (await signedInAgain())) {
      return call(method, path, body);
    }
    throw error;
  }
}

// A fieldset with data-need requires one of its boxes; data-need is the message.
function lacksChoice(form) {
  const lacking = form.querySelector("fieldset[data-need]:not(:has(:checked))");
  if (lacking) {
    showSentence(form, lacking.dataset.need);
    lacking.querySelector("input").focus();
  }
  return lacking !== null;
}

// Leaves empty fields out. Boxes of one name with data-list become a list.
export function valuesOf(form) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled) {
      continue;
    }
    if (field.dataset.list !== undefined) {
      values[field.name] ??= [];
      if (field.checked) {
        values[field.name].push(field.value);
      }
    } else if (field.type === "datetime-local" || field.type === "date") {
      if (field.value) {
        values[field.name] = field.value;
      }
    } else if (field.type === "radio") {
      if (field.checked) {
        values[field.name] = field.value;
      }
    } else if (field.value.trim() !== "") {
      values[field.name] = field.type === "password" ? field.value : field.value.trim();
    }
  }
  return values;
}

async function proceed(form, answer) {
  const [step, argument] = split(form.dataset.then ?? "reload");
  if (step === "go") {
    location.assign(filled(argument, answer));
  } else if (step === "reveal") {
    reveal(form, argument, answer);
  } else if (step === "refresh") {
    form.closest("dialog")?.close();
    document.dispatchEvent(new CustomEvent("billstack:refresh"));
  } else {
    location.reload();
  }
  if (answer.message) {
    announce(answer.message);
  }
}

// `/teams/{team.id}/stripe`: inserts values from the answer, escaped for an address.
function filled(address, answer) {
  return address.replace(/\{([\w.]+)\}/g, (_, path) =>
    encodeURIComponent(path.split(".").reduce((value, key) => value[key], answer)));
}

function split(text) {
  const at = text.indexOf(":");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

// Replaces the form with a value that is shown once.
function reveal(form, name, answer) {
  const shown = document.getElementById(form.dataset.revealIn);
  const field = shown.querySelector("input");
  field.value = answer[name];
  for (const place of shown.querySelectorAll("[data-from]")) {
    fill(place, answer[place.dataset.from]);
  }
  form.hidden = true;
  shown.hidden = false;
  // Runs however the dialog closes: the page shows the new object, and the value that was shown once is gone.
  const dialog = form.closest("dialog");
  if (!dialog.open) {
    dialog.showModal(); // it was left before the answer came
  }
  dialog.addEventListener("close", () => location.reload(), { once: true });
  field.focus();
  field.select();
}

// Hides fields without a value. Each item of a list becomes a line.
function fill(place, value) {
  const text = [value ?? []].flat().join("\n");
  if (place instanceof HTMLInputElement) {
    place.value = text;
  } else {
    place.textContent = text;
    place.hidden = text === "";
  }
}

export function forgetProblem(form) {
  clearProblem(form);
  withdrawCandidates(form);
}

function clearProblem(form) {
  const shown = form.querySelector(".problem");
  if (shown) {
    shown.hidden = true;
    shown.textContent = "";
  }
  fillDetails(form, {});
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
  }
}

function showProblem(form, problem) {
  if (offerCandidates(form, problem.details)) {
    return;
  }
  const [name, complaints] = Object.entries(problem.details.fields ?? {})[0] ?? [];
  const found = name ? form.elements.namedItem(name) : null;
  const field = found instanceof RadioNodeList ? found[0] : found; // of several boxes the first
  const complaint = field && [complaints].flat()[0];
  showSentence(form, complaint ? asSentence(`${labelOf(field)} ${complaint}`) : problem.message);
  fillDetails(form, problem.details);
  if (field) {
    field.closest("details")?.setAttribute("open", "");
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

function showSentence(form, sentence) {
  const shown = form.querySelector(".problem");
  shown.textContent = sentence;
  shown.hidden = false;
}

function fillDetails(form, details) {
  for (const place of form.querySelectorAll("[data-problem]")) {
    fill(place, details[place.dataset.problem]);
  }
}

// A field's name for a person: the legend for boxes, the label's own words for others.
function labelOf(field) {
  const title = field.closest("fieldset")?.querySelector("legend") ?? field.labels?.[0];
  const texts = [...(title?.childNodes ?? [])].filter((node) => node.nodeType === Node.TEXT_NODE);
  return texts.map((node) => node.data.trim()).join(" ").trim() || field.getAttribute("aria-label") || field.name;
}
