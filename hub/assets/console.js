// The page works without this file: it keeps the page fresh, copies, and says when the page has lost the hub.
"use strict";
{
  const EVERY_MS = 10_000;
  const by_id = id => document.getElementById(id);
  const is_changed = one =>
    one.type === "checkbox" || one.type === "radio" ? one.checked !== one.defaultChecked
    : one.matches("input:not([type=hidden]), textarea") && one.value !== one.defaultValue;
  // What somebody is filling in, or has focus in, stays as it is.
  const in_use = place => place.contains(document.activeElement) || [...place.querySelectorAll("input, textarea")].some(is_changed);

  async function refresh() {
    let reply;
    try {
      reply = await fetch(location.pathname, { headers: { "x-mainstay-refresh": "1" }, cache: "no-store" });
    } catch { /* said below */ }
    const lost = !reply || reply.status >= 500;
    if (lost && by_id("lost").hidden) by_id("lost").querySelector("[data-lost-at]").textContent = new Date().toTimeString().slice(0, 5);
    by_id("lost").hidden = !lost;
    if (lost) return;
    if (reply.redirected || reply.status === 401) {
      by_id("signed-out").hidden = false;
      return clearInterval(timer);
    }
    if (!reply.ok) return;
    const after = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const place of document.querySelectorAll("[data-live]")) {
      const fresh = after.querySelector(`[data-live="${CSS.escape(place.dataset.live)}"]`);
      if (fresh && !in_use(place)) place.replaceWith(document.importNode(fresh, true));
    }
  }
  // What was just made is shown once and would be gone with a refresh of the whole page; only its live parts are fetched.
  const live = document.querySelector("[data-live]") && by_id("lost");
  const timer = live && setInterval(() => document.hidden || refresh(), EVERY_MS);

  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const from = by_id(button.dataset.copy);
    try { // "copied" is said only once it is true
      await navigator.clipboard.writeText(from.textContent);
      button.querySelector("[data-word]").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(from); // then Ctrl C does it
    }
  });
}
