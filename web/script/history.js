// Earlier pictures with what was said of them. They are kept in the browser's IndexedDB; where it
// cannot be used, in memory until the page is closed.
//
// An entry: {id, when, name, blob, thumbnail, turns: [{question, answer, facts}], texts, scores}.

const MOST_ENTRIES = 60;
const MOST_BYTES = 300e6;

const archive = { base: null, entries: [] };  // newest first

// ---- the store ----

function openBase() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("blip2", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("pictures", { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = opening.onblocked = () => reject(opening.error);
  });
}

// Runs work(store) in one transaction; returns the result of its request once all is written.
function inBase(mode, work) {
  return new Promise((resolve, reject) => {
    const transaction = archive.base.transaction("pictures", mode);
    const asked = work(transaction.objectStore("pictures"));
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

async function openHistory() {
  try {
    archive.base = await openBase();
    archive.entries = await inBase("readonly", (store) => store.getAll());
    archive.entries.sort((a, b) => b.when - a.when);
  } catch {
    forgetBase();
  }
  showHistory();
}

function forgetBase() {
  archive.base = null;
  at("history-note").textContent = "This browser does not store them: they are gone when the page is closed.";
}

// Puts an entry in front. Its card is shown once it is stored.
async function remember(entry) {
  archive.entries = [entry, ...archive.entries.filter((other) => other.id !== entry.id)];
  const gone = entriesTooMany();
  archive.entries = archive.entries.filter((other) => !gone.includes(other));
  try {
    if (archive.base) await inBase("readwrite", (store) => {
      gone.forEach((other) => store.delete(other.id));
      return store.put(entry);
    });
  } catch {
    forgetBase();
  }
  showHistory();
}

// The oldest entries beyond what is kept; never the newest.
function entriesTooMany() {
  let bytes = 0;
  return archive.entries.filter((entry, index) => {
    bytes += entry.blob.size;
    return index > 0 && (index >= MOST_ENTRIES || bytes > MOST_BYTES);
  });
}

async function forget(entry) {
  archive.entries = archive.entries.filter((other) => other !== entry);
  showHistory();
  if (archive.base) await inBase("readwrite", (store) => store.delete(entry.id)).catch(forgetBase);
}

async function forgetAll() {
  archive.entries = [];
  showHistory();
  if (archive.base) await inBase("readwrite", (store) => store.clear()).catch(forgetBase);
}

// ---- the cards ----

function showHistory() {
  show(at("history"), archive.entries.length > 0);
  at("cards").querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  at("cards").replaceChildren(...archive.entries.map(cardOf));
}

function cardOf(entry) {
  const words = entry.turns[0]?.answer || entry.texts || entry.name;
  const when = new Date(entry.when);
  const shown = when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const time = make("time", { dateTime: when.toISOString() }, shown);
  const text = make("span", {}, make("span", { className: "line" }, words), time);
  const open = make("button", { type: "button", className: "open" }, pictureOf(entry), text);
  open.onclick = () => reopen(entry);
  const away = make("button", { type: "button", className: "plain away" }, "×");
  away.onclick = () => removeCard(entry);
  away.setAttribute("aria-label", `Remove from the history: ${words}`);
  return make("li", {}, open, away);
}

function pictureOf(entry) {
  if (!entry.thumbnail) return make("span", { className: "blank" });
  return make("img", { src: URL.createObjectURL(entry.thumbnail), alt: "" });
}

async function removeCard(entry) {
  await forget(entry);
  announce("Removed from the history.");
  const next = at("cards").querySelector("button") ?? at("main");
  next.focus();
}

function watchHistory() {
  at("clear").onclick = () => at("clear-dialog").showModal();
  at("clear-dialog").addEventListener("close", async () => {
    if (at("clear-dialog").returnValue !== "clear") return;
    at("clear-dialog").returnValue = "";
    await forgetAll();
    announce("The history is cleared.");
    at("main").focus();
  });
}
