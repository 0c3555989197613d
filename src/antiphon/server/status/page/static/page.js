// The page keeps itself up to date, and does what its buttons say. The server draws everything; this only puts it in.

import { post } from "/access/request.js";

const byId = (id) => document.getElementById(id);
const parser = new DOMParser();

// --- what changes ------------------------------------------------------------------------------------------------

const HOLD_MS = 10_000; // a person who has not moved for so long is not about to press anything
const waiting = new Map(); // new versions of lists that a person is about to use, by id
const used = new Map(); // when a person has last moved in a list, by id

/** Whether a person is about to use something in a list: then nothing in it moves. */
const isHeld = (part) => performance.now() - (used.get(part.id) ?? -Infinity) < HOLD_MS;

/** Show a new version of a part; of a list that is held only what its rows say. */
function show(id, html) {
  const part = byId(id);
  if (!part) return;
  const fresh = parser.parseFromString(html, "text/html").body;
  const held = isHeld(part);
  if (held) waiting.set(id, html);
  else waiting.delete(id);
  if (!held || !updateRows(part, fresh)) updateChildren(part, fresh);
  const note = part.parentElement.querySelector("[data-held]");
  if (note) note.hidden = !held;
}

/** Bring the rows that are there up to date, and mark those that are gone. Return whether there are rows. */
function updateRows(part, fresh) {
  const rows = part.querySelectorAll("tr[data-key]");
  const newer = new Map([...fresh.querySelectorAll("tr[data-key]")].map((row) => [row.dataset.key, row]));
  for (const row of rows) {
    const update = newer.get(row.dataset.key);
    row.classList.toggle("gone", !update);
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-disabled", String(!update));
    if (update) updateChildren(row, update);
  }
  return rows.length > 0;
}

/** Make `old` what `fresh` is, and keep every element that is in both: focus and selection stay. */
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  updateChildren(old, fresh);
}

function updateChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key;
    const same = key ? keyed.get(key) : place && !place.dataset?.key && isAlike(place, wanted) ? place : null;
    if (!same) {
      old.insertBefore(document.adoptNode(wanted), place);
      continue;
    }
    if (same === place) place = place.nextSibling;
    else old.insertBefore(same, place);
    keyed.delete(key);
    update(same, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    if (place.contains(document.activeElement)) place.parentElement.closest("[tabindex]")?.focus();
    place.remove();
    place = next;
  }
}

const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName;

/** Show what has waited: nobody is about to use the list any more. */
function release(part) {
  used.delete(part.id);
  if (waiting.has(part.id)) show(part.id, waiting.get(part.id));
}

for (const part of document.querySelectorAll("[data-hold]")) {
  for (const event of ["pointermove", "pointerdown", "keydown", "focusin"])
    part.addEventListener(event, () => used.set(part.id, performance.now()));
  part.addEventListener("pointerleave", () => release(part));
  part.addEventListener("focusout", (event) => part.contains(event.relatedTarget) || release(part));
}

// --- the stream --------------------------------------------------------------------------------------------------

const old = document.querySelector("[data-old]");

function follow() {
  const stream = new EventSource("/events" + location.search);
  stream.addEventListener("parts", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
    old.hidden = true;
  });
  stream.addEventListener("signed-out", () => {
    stream.close();
    location.reload();
  });
  stream.addEventListener("error", () => {
    old.hidden = false;
    if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    fetch("/events", { method: "HEAD" }).then(
      (answer) => (answer.status === 401 ? location.reload() : setTimeout(follow, 3000)),
      () => setTimeout(follow, 3000),
    );
  });
  addEventListener("pagehide", () => stream.close(), { once: true });
}
addEventListener("pageshow", (event) => event.persisted && follow());
follow();

// --- what the buttons do -----------------------------------------------------------------------------------------

/** Open a dialog, and return how it was closed. */
function answerOf(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
}

/** Tell how something went, with a code to pass on if there is one; return when the person has read it. */
function tell(text, code = "") {
  const dialog = byId("outcome");
  byId("told").textContent = text;
  byId("code").textContent = code;
  byId("code").hidden = !code;
  dialog.querySelector("[data-act=copy]").hidden = !code;
  return answerOf(dialog);
}

const actions = {
  async revoke(value) {
    return (await post("/actions/revoke", { session: value })).text;
  },
  async disable(value) {
    return (await post("/actions/disable", { name: value })).text;
  },
};

async function act(button) {
  byId("question").textContent = button.dataset.question;
  if ((await answerOf(byId("ask"))) !== "yes") return;
  await tell(await actions[button.dataset.act](button.dataset.value));
  byId("sessions").focus();
  release(byId("sessions")); // the row goes now
}

async function invite() {
  const name = byId("invited");
  name.value = "";
  if ((await answerOf(byId("invite"))) !== "yes") return;
  const answer = await post("/actions/invite", { name: name.value });
  const told = byId("invite").dataset.told.replace("{name}", () => answer.name);
  await tell(answer.note ? `${answer.note} ${told}` : told, answer.code);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  try {
    if (button.dataset.act === "cancel") button.closest("dialog").close("");
    else if (button.dataset.act === "copy") await navigator.clipboard.writeText(byId("code").textContent);
    else if (button.dataset.act === "invite") await invite();
    else if (button.dataset.act === "sign-out") {
      await post("/sign-out", {});
      location.reload();
    } else await act(button);
  } catch (error) {
    if (error.status === 401) location.reload();
    else await tell(error.text ?? error.message);
  }
});

document.documentElement.classList.add("live");
