// The mirror's current state: its rows, the moment up to which everything is known, and the last event.
import { setText } from "./place.js";
import { setMoment } from "./times.js";

const numbers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function showMirror(view, status) {
  const types = Object.entries(status.mirror);
  setText(view, "mirror-total", numbers.format(types.reduce((total, [, ofType]) => total + ofType.objects, 0)));
  for (const [name, ofType] of types) {
    const row = view.querySelector(`tr[data-mirror="${name}"]`);
    if (row) {
      setText(row, "objects", numbers.format(ofType.objects));
      setMoment(row, "right", ofType.rightAsOf);
    }
  }
  setMoment(view, "mirror-right", oldest(types.map(([, ofType]) => ofType.rightAsOf)));
  setMoment(view, "last-event", status.lastEventAt);
}

function oldest(moments) {
  return moments.includes(null) ? null : moments.reduce((one, other) => (one < other ? one : other), moments[0]);
}
