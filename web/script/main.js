// Puts the parts together.

// Tabs as the ARIA practices have them: arrows move, only the chosen one is in the tab order.
function selectTab(tab) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    show(at(other.getAttribute("aria-controls")), chosen);
  }
}

function watchTabs() {
  const tabs = [at("tab-ask"), at("tab-compare")];
  for (const tab of tabs) {
    tab.onclick = () => selectTab(tab);
    tab.onkeydown = (event) => {
      if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
      event.preventDefault();
      const seen = tabs.filter((other) => !other.hidden);
      const step = event.key === "ArrowLeft" ? -1 : 1;
      const to = event.key === "Home" ? 0 : event.key === "End" ? -1 : (seen.indexOf(tab) + step) % seen.length;
      selectTab(seen.at(to));
      seen.at(to).focus();
    };
  }
}

document.body.dataset.picture = "no";
if (matchMedia("(pointer: coarse)").matches) at("invite").textContent = "Show a picture";
watchTabs();
watchKey();
watchHistory();
watchFiles();
watchPaste();
watchDrops();
watchAsk();
watchCompare();
setFormats();
openHistory();
watchServer();
