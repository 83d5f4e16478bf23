// Resets a dialog before it opens: no earlier choice, error or secret remains.
import { forgetProblem } from "./forms.js";

export function openDialog(dialog) {
  for (const form of dialog.querySelectorAll("form")) {
    form.reset();
    forgetProblem(form);
  }
  dialog.showModal();
}
