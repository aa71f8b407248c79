// The viewer: one image large, its window, its neighbours, and "more like this".
// Opened by id from the gallery and the map; the server knows the file, the page does not.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const image = (id, size, window, overlays) =>
    `roco/image/${id}.jpg?size=${size}` +
    (window ? `&center=${window.center}&width=${window.width}` : "") + (overlays ? "&overlays=1" : "");

  let dialog, ids, place, facts, opener, timer, shownWindow;
  let shown = 0; // counts the requests, so that a late answer is not shown

  const $ = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  function build() {
    dialog = element("dialog", { className: "roco-viewer" });
    dialog.setAttribute("aria-labelledby", "roco-viewer-title");
    dialog.innerHTML = `
      <div class="roco-viewer-head">
        <h2 id="roco-viewer-title" data-part="title"></h2>
        <span data-part="count" class="roco-quiet" role="status"></span>
        <button type="button" data-do="previous" aria-label="Previous image (left arrow)">‹</button>
        <button type="button" data-do="next" aria-label="Next image (right arrow)">›</button>
        <button type="button" data-do="close" aria-label="Close (Escape)">✕</button>
      </div>
      <div class="roco-viewer-body">
        <div class="roco-stage"><img data-part="image" alt=""></div>
        <div class="roco-side">
          <dl data-part="facts"></dl>
          <button type="button" class="roco-primary" data-do="like">More like this</button>
          <fieldset data-part="window">
            <legend>Window</legend>
            <label>Centre <output data-part="center-shown"></output><input type="range" data-part="center" step="any"></label>
            <label>Width <output data-part="width-shown"></output><input type="range" data-part="width" step="any"></label>
            <div data-part="presets"></div>
          </fieldset>
          <label data-part="overlays-block"><input type="checkbox" data-part="overlays"> Overlays of the file</label>
          <label data-part="seen-block"><input type="checkbox" data-part="seen"> As the model sees it
            <span data-part="seen-note" class="roco-quiet"></span></label>
          <div data-part="beside-block"><h3 data-part="beside-title"></h3><ol data-part="beside" class="roco-strip"></ol></div>
          <p class="roco-quiet">← → other hits, ↑ ↓ neighbours, Escape closes. For research, not for clinical use.</p>
        </div>
      </div>`;
    document.body.append(dialog);
    dialog.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do],[data-id],[data-center]");
      if (event.target === dialog) dialog.close();
      else if (!button) return;
      else if (button.dataset.do) act(button.dataset.do);
      else if (button.dataset.id) show(Number(button.dataset.id));
      else setWindow(Number(button.dataset.center), Number(button.dataset.width));
    });
    dialog.addEventListener("close", () => {
      tell(null);
      $("image").removeAttribute("src");
      if (opener && opener.isConnected) opener.focus();
    });
    dialog.addEventListener("keydown", keys);
    for (const name of ["center", "width"]) {
      $(name).addEventListener("input", () => {
        const window = { ...shownWindow, [name]: Number($(name).value) };
        setWindow(window.center, window.width, 60);
      });
    }
    $("overlays").addEventListener("change", () => redraw());
    $("seen").addEventListener("change", () => {
      seen();
      redraw();
    });
    $("image").addEventListener("error", () => $("image").setAttribute("alt", "This image cannot be shown."));
  }

  function keys(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input[type=range]")) return;
    const steps = { ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "above", ArrowDown: "below" };
    if (!steps[event.key]) return;
    event.preventDefault();
    act(steps[event.key]);
  }

  function act(what) {
    if (what === "close") dialog.close();
    if (what === "previous" || what === "next") move(what === "next" ? 1 : -1);
    if ((what === "above" || what === "below") && facts) {
      const beside = facts.beside.ids;
      const other = beside[beside.indexOf(facts.id) + (what === "below" ? 1 : -1)];
      if (other !== undefined) show(other);
    }
    if (what === "like" && facts) {
      const id = facts.id;
      opener = null; // the gallery that it belongs to is about to change
      dialog.close();
      roco.like(id);
    }
  }

  function move(step) {
    const next = place + step;
    if (next < 0 || next >= ids.length) return;
    place = next;
    show(ids[place]);
  }

  // The address of the page says which image is open.
  const tell = (id) => document.dispatchEvent(new CustomEvent("roco:image", { detail: id }));

  async function show(id) {
    const mine = ++shown;
    tell(id);
    $("image").alt = "";
    $("image").src = image(id, 320);
    const answer = await fetch(`roco/image/${id}.json`);
    if (mine !== shown) return;
    if (!answer.ok) {
      facts = null;
      $("title").textContent = "This image is no longer in the library";
      return;
    }
    facts = await answer.json();
    if (mine !== shown) return;
    const large = new Image();
    large.onload = large.onerror = () => mine === shown && ($("image").src = wanted());
    large.src = image(id, 1280);
    const at = ids.indexOf(id);
    if (at >= 0) place = at;
    $("title").textContent = facts.name;
    $("count").textContent = at >= 0 ? `${at + 1} of ${ids.length}` : "neighbour";
    $("image").alt = [facts.modality, facts.body_part, facts.name].filter(Boolean).join(", ");
    list();
    $("overlays").checked = false;
    $("overlays-block").hidden = !facts.overlays;
    $("seen-block").hidden = !facts.seen;
    $("seen").checked = false;
    seen();
    levels();
    beside();
  }

  function list() {
    const rows = {
      Modality: facts.modality || "not stated",
      "Body part": facts.body_part || "not stated",
      View: facts.view,
      Side: facts.laterality,
      Frame: facts.frames > 1 ? `${facts.frame} of ${facts.frames}` : null,
      Matrix: facts.rows ? `${facts.columns} × ${facts.rows}` : null,
    };
    $("facts").replaceChildren(
      ...Object.entries(rows)
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })])
    );
  }

  function levels() {
    const found = facts.levels;
    $("window").hidden = !found;
    if (!found) return;
    const range = found.high - found.low;
    Object.assign($("center"), { min: found.low, max: found.high, step: Math.max(range / 1000, 1e-6) });
    Object.assign($("width"), { min: Math.min(1, range), max: Math.max(1.5 * range, found.width), step: Math.max(range / 1000, 1e-6) });
    const presets = [["as in the file", [found.center, found.width]], ...Object.entries(found.presets)];
    $("presets").replaceChildren(
      ...presets.map(([name, [center, width]]) => {
        const button = element("button", { type: "button", textContent: name });
        Object.assign(button.dataset, { center, width });
        return button;
      })
    );
    say({ center: found.center, width: found.width });
  }

  // A window may be beyond the sliders' range: the numbers are those of the window that is shown.
  function say(window) {
    shownWindow = window;
    for (const name of ["center", "width"]) {
      $(name).value = window[name];
      const value = Number(window[name].toPrecision(4));
      $(`${name}-shown`).textContent = `${value} ${facts.levels.unit}`;
      $(name).setAttribute("aria-valuetext", `${value} ${facts.levels.unit}`);
    }
  }

  function setWindow(center, width, wait = 0) {
    if (!facts || !facts.levels) return;
    say({ center, width });
    redraw(wait);
  }

  // What the model is given has no other window, and no overlays.
  function seen() {
    const { checked } = $("seen");
    $("seen-note").textContent = checked ? facts.seen : "";
    $("window").disabled = $("overlays").disabled = checked;
    $("image").classList.toggle("roco-seen", checked);
  }

  // The large picture with the window and the overlays that are chosen now.
  function wanted() {
    if ($("seen").checked) return `roco/image/${facts.id}.png`;
    const found = facts.levels;
    const own = !found || (shownWindow.center === found.center && shownWindow.width === found.width);
    return image(facts.id, 1280, own ? null : shownWindow, $("overlays").checked);
  }

  function redraw(wait = 0) {
    const { id } = facts;
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (facts && facts.id === id) $("image").src = wanted();
    }, wait);
  }

  function beside() {
    const { ids: others, labels, kind, place: at, count } = facts.beside;
    $("beside-block").hidden = others.length < 2;
    $("beside-title").textContent = `In its ${kind}: ${at} of ${count}`;
    $("beside").replaceChildren(
      ...others.map((id, number) => {
        const picture = element("img", { src: image(id, 160), alt: "", loading: "lazy" });
        const button = element("button", { type: "button" }, picture, element("span", { textContent: labels[number] }));
        button.dataset.id = id;
        button.setAttribute("aria-label", labels[number] || `neighbour ${number + 1}`);
        if (id === facts.id) button.setAttribute("aria-current", "true");
        return element("li", {}, button);
      })
    );
    const current = $("beside").querySelector("[aria-current]");
    const strip = $("beside");
    if (current) strip.scrollLeft = current.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + current.clientWidth / 2;
  }

  roco.open = (id, among, from) => {
    if (!dialog) build();
    ids = among && among.includes(id) ? among : [id];
    place = ids.indexOf(id);
    opener = from || document.activeElement;
    facts = null;
    if (!dialog.open) dialog.showModal();
    show(id);
  };
})();
