// The page's elements. Texts go into the page as text alone: nothing that a model, a server or a
// file says is ever read as markup.

const at = (id) => document.getElementById(id);

// A new element with these properties; `children` are elements and texts.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function show(element, visible) {
  element.hidden = !visible;
}

// Lets a screen reader say `text` once, after what it is saying now.
function announce(text) {
  at("announcer").textContent = "";
  setTimeout(() => { at("announcer").textContent = text; }, 50);
}

// Shows a failure in words, or takes it away where there is none.
function showTrouble(place, trouble, retry) {
  place.replaceChildren(...(trouble ? troubleParts(trouble, retry) : []));
  show(place, Boolean(trouble));
}

function troubleParts(trouble, retry) {
  const parts = [make("strong", {}, trouble.message)];
  if (trouble.said) parts.push(make("span", { className: "said" }, `The server says: ${trouble.said}`));
  if (retry) parts.push(retryButton(trouble.seconds, retry));
  return parts;
}

// A button that can be pressed once the server takes requests again, in so many seconds.
function retryButton(seconds, retry) {
  const button = make("button", { type: "button", onclick: retry });
  const count = (left) => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(count, 1000, left - 1);
  };
  count(Math.min(Math.ceil(seconds || 0), 600));
  return button;
}

// ---- numbers in words ----

function countOf(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

function sizeOf(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
}

function megapixelsOf(pixels) {
  return `${(pixels / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} megapixels`;
}

function listOf(words, last = "or") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}
