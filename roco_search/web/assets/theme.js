// Light, dark, or as the system has it: chosen in the header, and remembered by this browser.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const KEY = "roco-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return ["light", "dark"].includes(kept) ? kept : "system";
    } catch {
      return "system";
    }
  };
  const dark = () => (chosen() === "system" ? system.matches : chosen() === "dark");
  const apply = () => {
    if (!document.body || document.body.classList.contains("dark") === dark()) return;
    document.body.classList.toggle("dark", dark());
    document.dispatchEvent(new CustomEvent("roco:theme"));
  };

  roco.theme = (element) => {
    const choice = element.querySelector('[data-part="theme"]');
    if (!choice) return;
    choice.value = chosen();
    choice.addEventListener("change", () => {
      try {
        choice.value === "system" ? localStorage.removeItem(KEY) : localStorage.setItem(KEY, choice.value);
      } catch {
        // A browser that keeps nothing follows the system at the next visit.
      }
      apply();
    });
    apply();
    // Gradio sets the class when it starts and when the system changes.
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };
  system.addEventListener("change", apply);
  roco.ready = true; // the last of the scripts: what waits for them can begin
})();
