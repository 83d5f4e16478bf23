// If several Stripe customers share an e-mail address, offers them in the form that asked.
const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

// Returns whether there was anything to choose.
export function offerCandidates(form, details) {
  const place = form.querySelector("[data-candidates]");
  if (!place || !details.candidates) {
    return false;
  }
  const choices = place.querySelector(".choices");
  choices.replaceChildren(...details.candidates.map((each, index) => choice(place.dataset.candidates, each, index)));
  place.hidden = false;
  choices.querySelector("input").focus();
  return true;
}

export function withdrawCandidates(form) {
  const place = form.querySelector("[data-candidates]");
  if (place) {
    place.hidden = true;
    place.querySelector(".choices").replaceChildren();
  }
}

function choice(name, candidate, index) {
  const label = document.createElement("label");
  label.className = "choice";
  const radio = Object.assign(document.createElement("input"), { type: "radio", name, value: candidate.stripeCustomerId });
  radio.required = true;
  radio.checked = index === 0;
  const words = document.createElement("span");
  const id = document.createElement("code");
  id.textContent = candidate.stripeCustomerId;
  const about = [candidate.name || "no name", candidate.created === null ? "" : `created ${days.format(candidate.created * 1000)}`];
  words.append(id, ` ${about.filter(Boolean).join(", ")}`);
  label.append(radio, words);
  return label;
}
