// Loaded before the page is shown: a form that is sent before the page's modules are there waits for them.
addEventListener("submit", (event) => {
  if (event.target.dataset.call && document.documentElement.dataset.ready === undefined) {
    event.preventDefault();
    addEventListener("billstack:ready", () => event.target.requestSubmit(event.submitter), { once: true });
  }
});
