// JupyterLab takes keys from whatever has the focus in a notebook in command mode, and ipywidgets names no slider's
// handle. So every control beside this one is told to keep its keys, and what it is called.
const CONTROLS = "input, select, button, textarea, [tabindex]";

function tell(box) {
  for (const control of box.querySelectorAll(CONTROLS)) {
    control.setAttribute("data-lm-suppress-shortcuts", "true");
    const row = control.closest(".widget-inline-hbox, .widget-radio, .widget-toggle-buttons");
    const name = row?.querySelector(".widget-label")?.textContent;
    if (control.classList.contains("noUi-handle") && name) {
      control.setAttribute("aria-label", name);
      const shown = row.querySelector(".widget-readout")?.textContent;
      if (shown && control.getAttribute("aria-valuetext") !== shown) control.setAttribute("aria-valuetext", shown);
    }
    if (control.type === "radio") {
      control.parentElement.parentElement.setAttribute("role", "radiogroup");
      control.parentElement.parentElement.setAttribute("aria-label", name ?? "");
    }
  }
}

function render({ el }) {
  const watch = new MutationObserver(() => tell(el.closest(".widget-box")));
  requestAnimationFrame(() => {
    const box = el.closest(".widget-box");
    tell(box);
    watch.observe(box, { childList: true, subtree: true, characterData: true });
  });
  return () => watch.disconnect();
}

export default { render };
