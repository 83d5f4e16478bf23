// Numbers that the server is computing again: looks for them a few times, and shows them once they are there.
import { announce } from "./announce.js";

const PAUSES_MS = [1_000, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000];

export async function startRenewed() {
  for (const pause of PAUSES_MS) {
    const part = document.querySelector("[data-renewed]");
    if (!part) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    await look(part);
  }
}

async function look(part) {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => undefined);
  if (!response?.ok) {
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const next = page.getElementById(part.id);
  // A person who reads a value by keyboard keeps it until they leave the part.
  if (next && next.dataset.renewed === undefined && !part.contains(document.activeElement)) {
    part.replaceWith(document.adoptNode(next));
    announce("The numbers are new");
  }
}
