// Keeps texts like "3 hours ago" current while a page stays open. api/dashboard/formats.py has the same words.
const UNITS = [
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
];

const moments = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

export function startTimes() {
  setInterval(() => document.querySelectorAll("time[data-ago]").forEach(show), 30_000);
}

// Puts another moment into the element of that name, if there is one.
export function setMoment(within, field, moment) {
  const time = within.querySelector(`time[data-field="${field}"]`);
  if (time && moment && Date.parse(time.dateTime) !== Date.parse(moment)) {
    time.dateTime = moment;
    time.title = `${moments.format(new Date(moment))} UTC`;
    show(time);
  }
}

function show(time) {
  const text = `${roughly((Date.now() - Date.parse(time.dateTime)) / 1000)} ago`;
  if (time.textContent !== text) {
    time.textContent = text;
  }
}

function roughly(seconds) {
  for (const [unit, name] of UNITS) {
    if (seconds >= unit) {
      const count = Math.floor(seconds / unit);
      return `${count} ${name}${count > 1 ? "s" : ""}`;
    }
  }
  return "a moment";
}

export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
