// The live status on the page: bars, counts and words follow it, and where something begins or ends the page is read again.
import { Problem, asSentence } from "./call.js";
import { announce } from "./announce.js";
import { StatusSource } from "./status_source.js";
import { duration } from "./times.js";

const ANNOUNCE_EVERY_MS = 15_000;

const WORDS = { pending: "Waiting", syncing: "Syncing", ready: "Ready", error: "Failed" };
const KINDS = { pending: "", syncing: "busy", ready: "good", error: "bad" };
const numbers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

let view;
let announcedAt = 0;

export function startLiveStatus() {
  view = document.querySelector("[data-status]");
  if (!view) {
    return;
  }
  const source = new StatusSource(view.dataset.status, { take, complain });
  const follow = () => (document.hidden ? source.stop() : source.start());
  document.addEventListener("visibilitychange", follow);
  document.addEventListener("billstack:refresh", follow);
  follow();
}

// Says whether more is to be expected soon.
async function take(status) {
  const phase = phaseOf(status);
  if (phase !== view.dataset.phase) {
    await refresh(phase);
  } else {
    show(status);
  }
  return isBusy(phase);
}

function complain(problem) {
  if (problem.status === 401 || problem.status === 404) {
    location.reload(); // signed out, or out of the team: the server says which
    return;
  }
  setText(view, "eta", "BillStack does not answer; trying again");
}

function phaseOf(status) {
  const { backfill, lastReconcile } = status;
  const parts = [status.syncStatus, backfill?.id ?? "", lastReconcile?.id ?? "", lastReconcile?.status ?? ""];
  const events = [status.webhook?.state ?? "", status.webhook?.endpointId ?? ""];
  return [...parts, status.connected ? "True" : "False", status.keyValid ? "True" : "False", ...events].join(" ");
}

function isBusy(phase) {
  return phase.startsWith("syncing") || phase.includes(" running ");
}

// Something began or ended: the server's own page takes the place of what it changes.
async function refresh(phase) {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => undefined);
  if (!response?.ok) {
    throw new Problem("", { status: response?.status });
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement;
  if (refreshedIds(page) !== refreshedIds(document)) {
    location.reload(); // a part came or went
    return;
  }
  for (const part of document.querySelectorAll("[data-refreshed]")) {
    part.replaceWith(document.adoptNode(page.getElementById(part.id)));
  }
  keepFocus(focused);
  view.dataset.phase = phase;
  const badge = document.querySelector("#sync .badge");
  announce(badge ? `Data: ${badge.textContent}` : "");
}

function refreshedIds(page) {
  return [...page.querySelectorAll("[data-refreshed]")].map((part) => part.id).join(" ");
}

function keepFocus(focused) {
  if (focused === document.body || document.contains(focused)) {
    return;
  }
  const fallback = document.querySelector("#main-actions button") ?? document.getElementById("content");
  (document.getElementById(focused.id) ?? fallback).focus({ preventScroll: true });
}

function show(status) {
  let total = 0;
  for (const [name, ofType] of Object.entries(status.result)) {
    total += ofType.synced;
    const row = view.querySelector(`tr[data-type="${name}"]`);
    if (row) {
      showType(row, ofType);
    }
  }
  showErrors(status.result);
  showDelivery(status.webhook?.lastDeliveryAt);
  if (status.syncStatus === "syncing") {
    setText(view, "total", numbers.format(total));
    setText(view, "rate", numbers.format(status.backfill.objectsPerSecond));
    setText(view, "eta", remaining(status));
    sayProgress(status, total);
  }
}

function showType(row, ofType) {
  const bar = row.querySelector("progress");
  bar.value = ofType.progress;
  bar.className = ofType.status;
  setText(row, "synced", numbers.format(ofType.synced));
  const badge = row.querySelector(".badge");
  badge.textContent = WORDS[ofType.status];
  badge.className = `badge ${KINDS[ofType.status]}`;
}

function showDelivery(lastAt) {
  const time = document.querySelector("#webhook time");
  if (time && lastAt && Date.parse(time.dateTime) !== Date.parse(lastAt)) {
    time.dateTime = lastAt;
    time.textContent = "a moment ago";
  }
}

function showErrors(result) {
  const place = view.querySelector('[data-field="errors"]');
  const failed = Object.entries(result).filter(([, ofType]) => ofType.error);
  if (!place || place.childElementCount === failed.length) {
    return;
  }
  place.replaceChildren(
    ...failed.map(([name, ofType]) => {
      const paragraph = document.createElement("p");
      paragraph.className = "problem";
      const title = document.createElement("strong");
      title.textContent = `${view.querySelector(`tr[data-type="${name}"] th`).textContent}:`;
      paragraph.append(title, ` ${asSentence(ofType.error)}`);
      return paragraph;
    }),
  );
}

function remaining(status) {
  const types = Object.values(status.result);
  if (types.every((ofType) => ofType.status === "error" || ofType.progress >= 1)) {
    return "checking what changed meanwhile";
  }
  const seconds = status.backfill.etaSeconds;
  return seconds === null ? "estimating" : `about ${duration(seconds)} left`;
}

function sayProgress(status, total) {
  if (Date.now() - announcedAt > ANNOUNCE_EVERY_MS) {
    announcedAt = Date.now();
    announce(`Syncing: ${numbers.format(total)} objects, ${remaining(status)}`);
  }
}

function setText(within, field, text) {
  const place = within.querySelector(`[data-field="${field}"]`);
  if (place && place.textContent !== text) {
    place.textContent = text;
  }
}
