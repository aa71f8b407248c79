// The window of a grey picture: sliders, presets, dragging. What a person has chosen stays within a series.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const tidy = (value) => Number(value.toPrecision(5));

  // `part(name)` finds an element of the viewer; `changed()` is called when another window is to be shown.
  roco.windowing = (part, changed) => {
    let levels = null, shown = null, chosen = null;

    for (const name of ["center", "width"]) {
      part(name).addEventListener("input", () => set({ ...shown, [name]: Number(part(name).value) }));
    }
    part("presets").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) preset(Number(button.dataset.number));
    });

    const presets = () => [["as in the file", null], ...Object.entries(levels.presets)];

    // `keep`: it is another slice of the same series, in which the chosen window stays.
    function load(found, keep) {
      levels = found;
      if (!keep) chosen = null;
      part("window").hidden = !levels;
      if (!levels) return;
      const range = levels.high - levels.low;
      const step = Math.max(range / 1000, 1e-6);
      Object.assign(part("center"), { min: levels.low, max: levels.high, step });
      Object.assign(part("width"), { min: Math.min(1, range), max: Math.max(1.5 * range, levels.width), step });
      part("presets").replaceChildren(
        ...presets().map(([name], number) => {
          const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
          button.dataset.number = number;
          button.title = `Key ${number + 1}`;
          return button;
        })
      );
      say(chosen || { center: levels.center, width: levels.width });
    }

    // A window may be beyond the sliders' range: the numbers are those of the window that is shown.
    function say(window) {
      shown = window;
      for (const name of ["center", "width"]) {
        part(name).value = window[name];
        const value = `${Number(window[name].toPrecision(4))} ${levels.unit}`.trim();
        part(`${name}-shown`).textContent = value;
        part(name).setAttribute("aria-valuetext", value);
      }
    }

    function set(window) {
      if (!levels) return;
      chosen = { center: tidy(window.center), width: tidy(Math.max(window.width, (levels.high - levels.low) * 1e-4, 1e-6)) };
      say(chosen);
      changed();
    }

    function preset(number) {
      if (!levels || !(number in presets())) return;
      const [, window] = presets()[number];
      if (window) set({ center: window[0], width: window[1] });
      else reset();
    }

    function reset() {
      chosen = null;
      if (!levels) return;
      say({ center: levels.center, width: levels.width });
      changed();
    }

    return {
      load,
      preset,
      reset,
      // To the right wider, downwards brighter values; in steps of what is shown, as values have any unit.
      drag: (dx, dy) => levels && set({ center: shown.center + (dy * shown.width) / 300, width: shown.width * Math.exp(dx / 200) }),
      chosen: () => chosen,
      said: () => (levels ? `W ${Number(shown.width.toPrecision(4))} C ${Number(shown.center.toPrecision(4))} ${levels.unit}`.trim() : ""),
    };
  };
})();
