// What stands beside the picture in the viewer: its markup, what is known of the image, its neighbours, and ways out.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const KEYS = [
    ["← →", "other hits"], ["↑ ↓, wheel", "slices, frames"], ["Page ↑ ↓", "ten slices"], ["Home End", "first and last slice"],
    ["c", "play and pause"], ["drag", "window; pans when zoomed"], ["1 to 9", "windows"], ["+ −, double click", "zoom"],
    ["i", "invert"], ["x", "choose, for the tray"], ["o", "overlays"], ["m", "as the model sees it"], ["h", "heat map"], ["r", "reset"], ["?", "these keys"],
    ["Escape", "close"],
  ];
  const MARKUP = `
    <div class="roco-viewer-head">
      <h2 id="roco-viewer-title" data-part="title"></h2>
      <span data-part="count" class="roco-quiet" role="status"></span>
      <button type="button" data-do="previous" aria-label="Previous image (left arrow)">‹</button>
      <button type="button" data-do="next" aria-label="Next image (right arrow)">›</button>
      <button type="button" data-do="help" aria-label="Keys (question mark)" aria-expanded="false">?</button>
      <button type="button" data-do="close" aria-label="Close (Escape)">✕</button>
    </div>
    <div class="roco-viewer-body">
      <div class="roco-stage" data-part="stage"><img data-part="image" alt="" draggable="false">
        <p class="roco-readout"><span data-part="readout"></span><span data-part="enlarged"></span></p></div>
      <div class="roco-side" tabindex="-1">
        <dl class="roco-keys" data-part="keys" aria-label="Keys" hidden></dl>
        <dl data-part="facts"></dl>
        <div data-part="slices" class="roco-slices">
          <label><span data-part="slice-name">Slice</span> <output data-part="slice-shown"></output>
            <input type="range" data-part="slice" min="1" step="1"></label>
          <button type="button" data-do="play" aria-pressed="false">▶ Play</button>
          <label class="roco-rate">a second <input type="number" data-part="rate" min="1" max="60" value="10"></label>
        </div>
        <fieldset data-part="window">
          <legend>Window</legend>
          <label>Centre <output data-part="center-shown"></output><input type="range" data-part="center" step="any"></label>
          <label>Width <output data-part="width-shown"></output><input type="range" data-part="width" step="any"></label>
          <div data-part="presets"></div>
        </fieldset>
        <label><input type="checkbox" data-part="invert"> Inverted</label>
        <label data-part="overlays-block"><input type="checkbox" data-part="overlays"> Overlays of the file</label>
        <label data-part="seen-block"><input type="checkbox" data-part="seen"> As the model sees it
          <span data-part="seen-note" class="roco-quiet"></span></label>
        <label data-part="heat-block"><input type="checkbox" data-part="heat"> Heat map for <q data-part="heat-words"></q>
          <span data-part="heat-note" class="roco-quiet" role="status"></span></label>
        <button type="button" class="roco-primary" data-do="like">More like this</button>
        <button type="button" data-do="choose" aria-pressed="false">Choose</button>
        <div data-part="beside-block"><h3 data-part="beside-title"></h3><ol data-part="beside" class="roco-strip"></ol></div>
        <div data-part="ways" class="roco-ways">
          <code data-part="path"></code>
          <button type="button" data-do="copy">Copy the path</button>
          <button type="button" data-do="open">Open here</button>
          <a data-part="link" class="roco-link" target="_blank" rel="noopener noreferrer">Open in the other viewer</a>
          <p data-part="said" class="roco-quiet" role="status"></p>
        </div>
        <p class="roco-quiet">For research, not for clinical use.</p>
      </div>
    </div>`;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const rows = (pairs) => pairs.flatMap(([name, value]) => [
    element("dt", { textContent: name }), element("dd", { textContent: value }),
  ]);

  // What the gallery says of a hit, if it shows one of this number.
  function hitOf(id) {
    const card = document.querySelector(`#roco-gallery .roco-card[data-id="${id}"]`);
    if (!card) return [];
    const text = (selector) => (card.querySelector(selector) || { textContent: "" }).textContent.trim();
    return [["Match", text(".roco-match")], ["Score", text(".roco-facts b")], ["Why", text(".roco-why")]];
  }

  // The words that were searched for: those of the shown hits where the page keeps them, else what is in the box.
  roco.words = () => {
    const found = document.querySelector("#roco-gallery [data-address]");
    const words = found && new URLSearchParams(found.dataset.address).get("q");
    const box = document.querySelector("#roco-text input, #roco-text textarea");
    return ((found ? words : box && box.value) || "").trim();
  };

  // Copying works only where the browser trusts the page; elsewhere it is done as it was before there was a way.
  roco.copy = async (text, near = document.body) => {
    if (navigator.clipboard) {
      const done = await navigator.clipboard.writeText(text).then(() => true, () => false);
      if (done) return true;
    }
    const area = element("textarea", { value: text });
    const before = document.activeElement;
    near.append(area); // inside an open dialog: nothing else takes the focus
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (before) before.focus();
    return copied;
  };

  roco.panel = (dialog) => {
    dialog.innerHTML = MARKUP;
    const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
    const button = (name) => dialog.querySelector(`[data-do="${name}"]`);
    part("keys").append(...rows(KEYS));

    const guess = (word) => (word ? `${word} (guess)` : "not stated");
    function list(facts) {
      const known = [
        ["Modality", facts.modality || guess(facts.guessed.modality)],
        ["Body part", facts.body_part || guess(facts.guessed.body_part)],
        ["View", facts.view],
        ["Side", facts.laterality],
        ["Frame", facts.frames > 1 ? `${facts.frame} of ${facts.frames}` : null],
        ["Matrix", facts.rows ? `${facts.columns} × ${facts.rows}` : null],
        ...hitOf(facts.id),
      ];
      part("facts").replaceChildren(...rows(known.filter(([, value]) => value)));
    }

    function ways(facts) {
      part("path").textContent = facts.path || "";
      part("path").hidden = button("copy").hidden = !facts.path;
      button("open").hidden = !facts.here;
      part("link").hidden = !facts.link;
      part("said").textContent = "";
      if (facts.link) part("link").href = facts.link;
      else part("link").removeAttribute("href");
    }

    function beside(facts) {
      const { ids, labels, kind, place, count } = facts.beside;
      part("beside-block").hidden = ids.length < 2;
      part("beside-title").textContent = `In its ${kind}: ${place} of ${count}`;
      const shown = [...part("beside").querySelectorAll("[data-id]")].map((other) => Number(other.dataset.id));
      if (String(shown) !== String(ids)) {
        part("beside").replaceChildren(
          ...ids.map((id, number) => {
            const picture = element("img", { src: `roco/image/${id}.jpg?size=160`, alt: "", loading: "lazy" });
            const open = element("button", { type: "button" }, picture, element("span", { textContent: labels[number] }));
            open.dataset.id = id;
            open.setAttribute("aria-label", labels[number] || `neighbour ${number + 1}`);
            return element("li", {}, open);
          })
        );
      }
      for (const other of part("beside").querySelectorAll("[data-id]")) {
        if (Number(other.dataset.id) === facts.id) other.setAttribute("aria-current", "true");
        else other.removeAttribute("aria-current");
      }
      const current = part("beside").querySelector("[aria-current]");
      const strip = part("beside");
      if (current) strip.scrollLeft = current.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + current.clientWidth / 2;
    }

    return {
      part,
      button,
      describe(facts) {
        list(facts);
        ways(facts);
        beside(facts);
        part("overlays-block").hidden = !facts.overlays;
        part("seen-block").hidden = !facts.seen;
      },
      help() {
        part("keys").hidden = !part("keys").hidden;
        button("help").setAttribute("aria-expanded", String(!part("keys").hidden));
        if (!part("keys").hidden) part("keys").scrollIntoView({ block: "nearest" });
      },
    };
  };
})();
