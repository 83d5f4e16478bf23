// Announces a text to screen readers, politely.
export function announce(sentence) {
  const place = document.getElementById("announcements");
  if (place && place.textContent !== sentence) {
    place.textContent = sentence;
  }
}
