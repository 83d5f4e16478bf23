// The places of a page that have names, and what stands in them. What is right already is left alone: screen readers hear less.
export function setText(within, field, text) {
  const place = within.querySelector(`[data-field="${field}"]`);
  if (place && place.textContent !== text) {
    place.textContent = text;
  }
}
