// The page works without this file. It keeps the page live, adds keys and copying, and says when the page has lost its server.
// Single keys act only while no field has focus, and can be switched off (WCAG 2.1.4).
"use strict";
{
  const SILENCE_MAX_MS = 25_000; // the server beats every 10 s
  const LOST_AFTER_MS = 2_000; // a blink of the network is not a loss
  const root = document.documentElement;
  const by_id = id => id && document.getElementById(id);
  const typing = element => element?.closest?.("input:not([type=radio], [type=checkbox]), textarea, select, dialog[open]");
  root.classList.add("scripted");

  // Keeping live

  const fragments = () => [...document.querySelectorAll("[data-fragment]")];
  const is_changed = one =>
    one.type === "checkbox" || one.type === "radio" ? one.checked !== one.defaultChecked
    : one.tagName === "SELECT" ? [...one.options].some(option => option.selected && !option.defaultSelected && option.value)
    : one.matches("input:not([type=hidden]), textarea") && one.value !== one.defaultValue;
  const is_in_use = form =>
    [...form.elements].some(is_changed) || (form.contains(document.activeElement) && typing(document.activeElement));
  const shown_in = form => [...form.querySelectorAll("[name^=shown]")].map(one => one.name + one.value).join();

  // A form that somebody is filling in keeps its node: what was typed, and what was shown when it was typed, belong together.
  function keep_forms(before, after) {
    const kept = [...before.querySelectorAll("form[id]")].filter(is_in_use).map(form => [form, after.querySelector("#" + CSS.escape(form.id))]);
    if (kept.some(([, fresh]) => !fresh)) return false;
    for (const [form, fresh] of kept) {
      if (shown_in(fresh) !== shown_in(form)) form.querySelector(".outdated")?.removeAttribute("hidden");
      fresh.replaceWith(form);
    }
    return true;
  }

  const stops_in = place => [place, ...place.querySelectorAll("a, button, summary, input, select, textarea, [tabindex]")];

  function swap(before, after) {
    const active = document.activeElement, inside = before.contains(active);
    const place = inside && active.closest("[id]");
    const nth = place && stops_in(place).indexOf(active);
    const picked = before.querySelector(".picked")?.id;
    const top = by_id(picked)?.getBoundingClientRect().top;
    const open = [...before.querySelectorAll("details[open][id]")].map(one => one.id);
    const closed = [...before.querySelectorAll("details:not([open])[id]")].map(one => one.id);
    const field = inside && typing(active) && !active.form?.id && { value: active.value, start: active.selectionStart };
    if (!keep_forms(before, after)) return; // its question is gone but words are in it: leave it until they are sent or cleared
    before.replaceWith(after);
    for (const id of open) by_id(id)?.setAttribute("open", "");
    for (const id of closed) by_id(id)?.removeAttribute("open");
    if (picked && by_id(picked)) {
      by_id(picked).classList.add("picked");
      scrollBy(0, by_id(picked).getBoundingClientRect().top - top); // the row under the eye stays where it is
    }
    dress(after);
    if (!inside) return;
    const again = after.contains(active) ? active : place && by_id(place.id) && stops_in(by_id(place.id))[nth];
    again?.focus({ preventScroll: true });
    if (field && again && "value" in again) {
      again.value = field.value;
      again.setSelectionRange?.(field.start, field.start);
    }
  }

  const running = new Map(); // per fragment: one fetch at a time, and one more after it when asked meanwhile
  async function refresh(name) {
    if (running.has(name)) return running.set(name, "again");
    running.set(name, "once");
    try {
      const this_one = `[data-fragment="${CSS.escape(name)}"]`;
      const element = document.querySelector(this_one);
      const reply = element && (await fetch(element.dataset.from, { headers: { accept: "text/html" }, cache: "no-store" }));
      if (reply?.status === 401) signed_out();
      else if (reply?.ok && !reply.redirected) {
        const after = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector(this_one);
        await finger;
        if (after && element.isConnected) {
          if (after.dataset.spoken && after.dataset.spoken !== element.dataset.spoken) by_id("spoken").textContent = after.dataset.spoken;
          swap(element, document.importNode(after, true));
        }
      }
    } catch { /* the stream tells when the server is gone */ }
    const again = running.get(name) === "again";
    running.delete(name);
    if (again) refresh(name);
  }

  // Nothing moves under a finger or a pressed button.
  let finger = Promise.resolve(), lift = () => {};
  addEventListener("pointerdown", () => { lift(); finger = new Promise(done => (lift = done)); });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(lift, 250));

  let lost_timer, silence_timer;
  function lost() {
    if (root.classList.contains("stale") || !by_id("lost")) return;
    by_id("lost").querySelector("[data-lost-at]").textContent = new Date().toTimeString().slice(0, 5);
    by_id("lost").hidden = false;
    root.classList.add("stale");
  }
  function heard() {
    clearTimeout(silence_timer);
    clearTimeout(lost_timer);
    lost_timer = null;
    silence_timer = setTimeout(() => { lost(); listen(); }, SILENCE_MAX_MS);
    if (!root.classList.contains("stale")) return;
    by_id("lost").hidden = true;
    root.classList.remove("stale");
  }
  function signed_out() {
    stream?.close();
    clearTimeout(silence_timer);
    if (by_id("signed-out")) by_id("signed-out").hidden = false;
  }

  let stream;
  function listen() {
    stream?.close();
    stream = new EventSource(document.body.dataset.live);
    stream.onopen = () => {
      heard();
      for (const element of fragments()) refresh(element.dataset.fragment); // whatever was missed
    };
    stream.addEventListener("beat", heard);
    stream.onmessage = event => {
      heard();
      const { fragment, record } = JSON.parse(event.data);
      const element = fragment && document.querySelector(`[data-fragment="${CSS.escape(fragment)}"]`);
      if (element && (!record || element.dataset.record === record)) refresh(fragment);
    };
    stream.onerror = () => {
      lost_timer ??= setTimeout(lost, LOST_AFTER_MS);
      // A stream that was answered with anything but a stream is not tried again by itself.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, LOST_AFTER_MS), refresh("banner");
    };
  }
  if (document.body.dataset.live) {
    listen();
    // A browser opens few connections to one server: a page that nobody sees gives its stream back.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) return listen();
      stream.close();
      clearTimeout(silence_timer);
      clearTimeout(lost_timer);
      lost_timer = null;
    });
    setInterval(() => {
      for (const element of fragments()) {
        const every = Number(element.dataset.every) * 1000;
        if (every && Date.now() - (element.fetched ??= Date.now()) >= every) {
          element.fetched = Date.now();
          refresh(element.dataset.fragment);
        }
      }
    }, 1000);
  }

  // What is sent while the server is gone would be lost with the page.
  addEventListener("submit", event => {
    if (root.classList.contains("stale")) {
      event.preventDefault();
      by_id("lost").scrollIntoView({ block: "nearest" });
    } else if (event.target.matches("[data-clears-clipboard]")) {
      navigator.clipboard?.writeText("").catch(() => {});
    }
  });

  // Lists: one Tab stop, the picked row; arrows move it

  const rows = () => [...document.querySelectorAll("[data-row]")].filter(row => row.offsetParent);
  const stop_of = row => (row.tagName === "TR" ? row : row.querySelector("summary, button, a, input"));

  function dress(within) {
    if (by_id("single-keys") && !by_id("single-keys").checked) return;
    const list = [...within.querySelectorAll("tr[data-row]")];
    const stop = list.find(row => row.matches(".picked, :focus-within")) ?? list[0];
    for (const row of list) {
      row.tabIndex = row === stop ? 0 : -1;
      for (const one of row.querySelectorAll("a, button, summary")) one.tabIndex = row.matches(".picked") ? 0 : -1;
    }
  }
  function pick(row) {
    for (const one of document.querySelectorAll(".picked")) one.classList.remove("picked");
    row.classList.add("picked");
    dress(document);
    stop_of(row)?.focus();
  }
  document.addEventListener("focusin", event => {
    const row = event.target.closest("tr[data-row]");
    if (row && !row.matches(".picked")) {
      for (const one of document.querySelectorAll(".picked")) one.classList.remove("picked");
      row.classList.add("picked");
      dress(document);
    }
  });

  // Keys

  const keys_box = by_id("single-keys");
  const keys_off = () => keys_box && !keys_box.checked;
  if (keys_box) {
    keys_box.checked = localStorage.getItem("single-keys") !== "off";
    root.classList.toggle("keys-off", keys_off());
    keys_box.addEventListener("change", () => {
      localStorage.setItem("single-keys", keys_box.checked ? "on" : "off");
      root.classList.toggle("keys-off", keys_off());
    });
  }

  function press(element) {
    if (element?.tagName === "SUMMARY") element.parentElement.open = !element.parentElement.open, element.focus();
    else element?.click();
  }

  document.addEventListener("keydown", event => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (key === "Escape") {
      const menu = target.closest?.("details.menu[open]") ?? document.querySelector("details.menu[open]");
      if (menu) menu.open = false, menu.querySelector("summary").focus();
      else if (typing(target) && !target.closest("dialog")) target.blur();
      return;
    }
    if (keys_off() || document.querySelector("dialog[open]")) return;
    const list = rows(), here = list.findIndex(row => row.contains(document.activeElement) || row.matches(".picked"));
    const searching = target.matches?.("[type=search]");
    if ((key === "ArrowDown" || key === "ArrowUp") && list.length && (!typing(target) || searching) && !target.matches?.("[type=radio]")) {
      pick(list[Math.max(0, Math.min(list.length - 1, here + (key === "ArrowDown" ? 1 : -1)))]);
      return event.preventDefault();
    }
    if (typing(target)) return;
    const row = list[here];
    if (key === "Enter" && target.matches("tr[data-row]")) press(target.querySelector("a"));
    else if (key === "m" && row) press(row.querySelector("[data-next]"));
    else if (key === "M" && row) press(row.querySelector("[data-others]"));
    else if (key === "n") {
      const next = list.slice(here + 1).find(one => one.matches(".needs, .ask")) ?? list.find(one => one.matches(".needs, .ask"));
      if (next) pick(next);
    } else if (key === "/" && document.querySelector("[type=search]")) document.querySelector("[type=search]").focus();
    else {
      const found = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (!found) return;
      press(found);
    }
    event.preventDefault();
  });

  document.addEventListener("click", async event => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    if (event.target.closest("[data-opens]")) by_id(event.target.closest("[data-opens]").dataset.opens).showModal();
    if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const item = copy.closest("[data-row]");
    try { // "copied" is said only once it is true
      await navigator.clipboard.writeText(copy.dataset.copy);
    } catch {
      return getSelection().selectAllChildren(item.querySelector(".value")); // then Ctrl C does it
    }
    item.classList.add("done");
    copy.querySelector("[data-word]").textContent = "Copied";
    const list = rows();
    (stop_of(list[list.indexOf(item) + 1] ?? item) ?? by_id("number"))?.focus();
  });

  // An act leads back to the same page: the same place in it, the same row.
  addEventListener("submit", () => {
    const place = { path: location.pathname, top: scrollY, row: document.querySelector(".picked")?.id };
    sessionStorage.setItem("place", JSON.stringify(place));
  });
  function take_place() {
    const place = JSON.parse(sessionStorage.getItem("place"));
    sessionStorage.removeItem("place");
    if (place?.path !== location.pathname || location.hash) return;
    if (by_id(place.row)?.matches("[data-row]")) pick(by_id(place.row));
    scrollTo(0, place.top);
  }

  // A search that answers while it is typed; without this, Enter sends it.
  for (const form of document.querySelectorAll("form[data-live-search]")) {
    let waiting, asked = 0;
    const ask = async () => {
      const mine = ++asked;
      try {
        const reply = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), cache: "no-store" });
        if (!reply.ok || reply.redirected || mine !== asked) return;
        const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById(form.dataset.liveSearch);
        const shown = by_id(form.dataset.liveSearch);
        if (fresh && shown && mine === asked) shown.replaceChildren(...document.importNode(fresh, true).childNodes);
      } catch { /* the stream tells when the server is gone */ }
    };
    form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 150); });
  }

  // A link to one question opens it.
  const open_named = () => { const named = by_id(location.hash.slice(1)); if (named?.tagName === "DETAILS") named.open = true; };
  addEventListener("hashchange", open_named);
  open_named();
  dress(document);
  take_place();
}
