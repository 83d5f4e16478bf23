// Updates bars, counts and words from the live status, and loads the page again when something begins or ends.
import { Problem, asSentence } from "./call.js";
import { announce } from "./announce.js";
import { setText } from "./place.js";
import { StatusSource } from "./status_source.js";
import { showMirror } from "./live_mirror.js";
import { duration } from "./times.js";

const ANNOUNCE_EVERY_MS = 15_000;
const ACTIVITY_SOON_MS = 1_000;
const ACTIVITY_EVERY_MS = 20_000;

const WORDS = { pending: "Waiting", syncing: "Syncing", ready: "Done", error: "Failed" };
const KINDS = { pending: "", syncing: "busy", ready: "good", error: "bad" };
const numbers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

let view;
let announcedAt = 0;
let activity;
let activityTimer;
let drawnAt = 0;

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

// Returns whether to expect a change soon.
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
  const { lastRun, lastReconcile } = status;
  const ended = [lastRun?.id ?? "", lastRun?.status ?? "", lastReconcile?.id ?? "", lastReconcile?.status ?? ""];
  const complete = Object.values(status.mirror).filter((ofType) => ofType.complete).length;
  const flags = [status.connected, status.keyValid, status.lastEventAt !== null];
  const events = [status.webhook?.state ?? "", status.webhook?.endpointId ?? ""];
  const words = flags.map((flag) => (flag ? "yes" : "no"));
  return [status.syncStatus, ...ended, complete, ...words, ...events].join(" ");
}

function isBusy(phase) {
  return phase.startsWith("syncing") || phase.includes(" running ");
}

// Something began or ended: replaces the changed parts with the server's own page.
async function refresh(phase) {
  const page = await readPage();
  const focused = document.activeElement;
  if (refreshedIds(page) !== refreshedIds(document)) {
    location.reload(); // a part came or went
    return;
  }
  for (const part of document.querySelectorAll("[data-refreshed]")) {
    replacePart(part, page);
  }
  keepFocus(focused);
  view.dataset.phase = phase;
  const badge = document.querySelector("#sync .badge");
  announce(badge ? `Last run: ${badge.textContent}` : "");
}

async function readPage() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => undefined);
  if (!response?.ok) {
    throw new Problem("", { status: response?.status });
  }
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// Keeps open what the person has opened.
function replacePart(part, page) {
  const next = document.adoptNode(page.getElementById(part.id));
  const details = next.querySelectorAll("details");
  part.querySelectorAll("details").forEach((each, at) => details[at]?.toggleAttribute("open", each.open));
  part.replaceWith(next);
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
  showMirror(view, status);
  showDelivery(status.webhook?.lastDeliveryAt);
  followActivity(status);
  if (status.syncStatus === "syncing") {
    showRun(status);
  }
}

function showRun(status) {
  let total = 0;
  for (const [name, ofType] of Object.entries(status.result)) {
    total += ofType.synced;
    const row = view.querySelector(`tr[data-type="${name}"]`);
    if (row) {
      showType(row, ofType);
    }
  }
  showErrors(status.result);
  setText(view, "total", numbers.format(total));
  setText(view, "written", numbers.format(status.backfill.written));
  const speed = status.backfill.objectsPerSecond;
  setText(view, "speed", speed ? `${numbers.format(speed)}/s` : "");
  setText(view, "eta", remaining(status));
  showNotice(status.backfill.notice);
  sayProgress(status, total);
}

function showNotice(notice) {
  const place = view.querySelector('[data-field="notice"]');
  if (place) {
    place.hidden = !notice;
    setText(view, "notice", notice ?? "");
  }
}

// Events and syncs change the charts. The server draws them, so they are not reloaded at every change.
function followActivity(status) {
  const came = `${status.lastEventAt} ${status.backfill?.written}`;
  const isFirst = activity === undefined;
  if (came === activity || activityTimer) {
    return;
  }
  activity = came;
  if (!isFirst) {
    const wait = Math.max(ACTIVITY_SOON_MS, drawnAt + ACTIVITY_EVERY_MS - Date.now());
    activityTimer = setTimeout(drawActivity, wait);
  }
}

async function drawActivity() {
  activityTimer = undefined;
  drawnAt = Date.now();
  const page = await readPage().catch(() => undefined);
  const part = document.getElementById("activity");
  if (part && page?.getElementById("activity") && !part.contains(document.activeElement)) {
    replacePart(part, page);
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
  const { etaSeconds, notice } = status.backfill;
  if (etaSeconds === null) {
    return notice ? "" : "estimating";
  }
  return `about ${duration(etaSeconds)} left`;
}

function sayProgress(status, total) {
  if (Date.now() - announcedAt > ANNOUNCE_EVERY_MS) {
    announcedAt = Date.now();
    announce(`Syncing: ${numbers.format(total)} objects, ${remaining(status) || status.backfill.notice}`);
  }
}

