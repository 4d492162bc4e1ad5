// The API key: asked for once, whoever needs it first.

let keyAsked = null;   // the question that is open: a promise of whether a key was given
let keyWaiters = [];   // those who wait until one is given, later perhaps

// Asks for a key, unless another than `used` is there by now. Whether there is one to try.
function askForKey(message, used, signal) {
  if (apiKey() !== used) return Promise.resolve(true);
  keyAsked ??= openKeyDialog(message).finally(() => { keyAsked = null; });
  return keyAsked.then((given) => {
    if (signal?.aborted) throw new Trouble("stopped", "Stopped.");
    return given;
  });
}

function openKeyDialog(message) {
  const dialog = at("key-dialog");
  at("key-text").textContent = message;
  at("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && at("key").value.trim() !== "";
      if (given) giveKey(at("key").value.trim());
      at("key").value = "";
      resolve(given);
    }, { once: true });
  });
}

function giveKey(key) {
  keepKey(key);
  show(at("key-kept"), key !== "");
  if (key) keyWaiters.splice(0).forEach((resolve) => resolve());
}

// Waits until the reader gives a key, after the question for it was put away.
function keyGiven() {
  return new Promise((resolve) => keyWaiters.push(resolve));
}

function watchKey() {
  at("key-cancel").onclick = () => at("key-dialog").close();
  at("banner-key").onclick = () => askForKey("This server asks for an API key.", apiKey());
  at("forget-key").onclick = () => {
    giveKey("");
    announce("The key is forgotten.");
    at("main").focus();
  };
}
