// Loads before the page is shown. A form sent before the page's modules have loaded waits for them.
addEventListener("submit", (event) => {
  if (event.target.dataset.call && document.documentElement.dataset.ready === undefined) {
    event.preventDefault();
    addEventListener("billstack:ready", () => event.target.requestSubmit(event.submitter), { once: true });
  }
});
