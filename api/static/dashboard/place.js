// Finds a page's named places and sets their text. Writes only changes, so that screen readers announce less.
export function setText(within, field, text) {
  const place = within.querySelector(`[data-field="${field}"]`);
  if (place && place.textContent !== text) {
    place.textContent = text;
  }
}
