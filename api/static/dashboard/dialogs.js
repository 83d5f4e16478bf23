// Dialogs open as the page made them: nothing is left of the time before, no choice, no complaint, no secret.
import { forgetProblem } from "./forms.js";

export function openDialog(dialog) {
  for (const form of dialog.querySelectorAll("form")) {
    form.reset();
    forgetProblem(form);
  }
  dialog.showModal();
}
