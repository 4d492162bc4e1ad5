// The picture that the reader works with, and the entry of the history that belongs to it.

const desk = { picture: null, entry: null };

// Takes a file that the reader gave. The picture before it stays in the history.
async function takeFile(file, name = file.name || "picture") {
  showTrouble(at("picture-trouble"), null);
  try {
    const picture = await openPicture(file, name);
    layOut(picture, newEntry(picture));
    announce(`The picture ${name} is chosen.`);
    at(at("panel-ask").hidden ? "texts" : "caption").focus({ preventScroll: true });
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    showTrouble(at("picture-trouble"), trouble);
  }
}

function newEntry({ name, blob }) {
  const id = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  return { id, when: Date.now(), name, blob, thumbnail: null, turns: [], texts: "", scores: [] };
}

async function reopen(entry) {
  showTrouble(at("picture-trouble"), null);
  try {
    layOut(await openPicture(entry.blob, entry.name), entry);
    announce(`The picture ${entry.name} is back.`);
    at("main").focus();
    at("main").scrollIntoView();
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    showTrouble(at("picture-trouble"), trouble);
  }
}

function layOut(picture, entry) {
  clearDesk();
  Object.assign(desk, { picture, entry });
  document.body.dataset.picture = "yes";
  show(at("drop"), false);
  show(at("chosen"), true);
  show(at("work"), true);
  showPicture(picture, entry);
  entry.turns.forEach(showTurn);
  at("texts").value = entry.texts;
  showScores(entry);
}

function showPicture({ name, blob, url, width, height }, entry) {
  const seen = width > 0;
  show(at("preview"), seen);
  show(at("no-preview"), !seen);
  if (seen) at("preview").src = url;
  at("preview").style.setProperty("--ratio", seen ? width / height : 1);
  describePicture(name, entry);
  at("picture-name").textContent = name;
  at("picture-facts").textContent = [seen ? `${width} × ${height}` : "", sizeOf(blob.size)].filter(Boolean).join(", ");
}

// The picture's text for those who do not see it: its caption, once there is one.
function describePicture(name, entry) {
  const caption = entry.turns.find((turn) => !turn.question)?.answer.trim();
  at("preview").alt = caption ? `The chosen picture ${name}. Caption: ${caption}` : `The chosen picture ${name}`;
}

function clearDesk() {
  stopAsking();
  stopComparing();
  if (desk.picture) URL.revokeObjectURL(desk.picture.url);
  Object.assign(desk, { picture: null, entry: null });
  at("turns").replaceChildren();
  at("question").value = "";
  showTrouble(at("compare-trouble"), null);
}

function closePicture() {
  clearDesk();
  at("preview").removeAttribute("src");
  document.body.dataset.picture = "no";
  show(at("drop"), true);
  show(at("chosen"), false);
  show(at("work"), false);
  announce("The picture is closed.");
  at("choose").focus();
}

// Writes what the reader did with the picture into the history.
async function keepEntry(entry) {
  entry.thumbnail ??= await thumbnailOf(entry.blob);
  await remember(entry);
}

// ---- where pictures come from ----

function setFormats() {
  const formats = limits().image_formats ?? Object.keys(FORMATS);
  at("file").accept = formats.map((format) => FORMATS[format]?.type).filter(Boolean).join(",");
  at("camera").accept = at("file").accept;
}

function watchFiles() {
  at("choose").onclick = at("choose-other").onclick = () => at("file").click();
  at("take").onclick = at("take-other").onclick = () => at("camera").click();
  at("remove").onclick = closePicture;
  for (const input of [at("file"), at("camera")]) {
    input.onchange = () => {
      if (input.files[0]) takeFile(input.files[0]);
      input.value = "";  // the same file can be chosen again
    };
  }
}

// The picture among what is pasted or dropped, if there is one.
function fileIn(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
}

function watchPaste() {
  document.addEventListener("paste", (event) => {
    const file = fileIn(event.clipboardData);
    if (!file || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    takeFile(file, "pasted picture");
  });
}

function watchDrops() {
  const holdsFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    show(at("veil"), true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show(at("veil"), false);
  });
  document.addEventListener("drop", (event) => {
    show(at("veil"), false);
    if (!holdsFile(event)) return;
    event.preventDefault();
    const file = fileIn(event.dataTransfer);
    if (file) takeFile(file);
  });
}
