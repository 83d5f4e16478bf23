// Keeps "3 hours ago" true while a page stays open. The words are those of api/dashboard/formats.py.
const UNITS = [
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
];

export function startTimes() {
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = `${roughly((Date.now() - Date.parse(time.dateTime)) / 1000)} ago`;
      if (time.textContent !== text) {
        time.textContent = text;
      }
    }
  }, 30_000);
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
