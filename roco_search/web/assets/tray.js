// The tray: images that were chosen from any search of this page, and what can be done with them together. A reload
// finds it again: the browser keeps the ids for as long as the page's tab is open, and the server says which are there.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const MOST = 1000;
  const FORMS = ["copy", "cohort"]; // what asks for a folder or a name first
  const chosen = new Map(); // the names of the chosen images by id, in the order in which they were chosen
  let last = null; // the card from which a range begins
  let tray;

  const may = (what) => {
    const said = document.querySelector('meta[name="roco-hands"]');
    return Boolean(said) && said.content.split(" ").includes(what);
  };
  // What the tab keeps: ids alone, as a file's name can name a patient.
  const place = () => `roco-tray-${(document.querySelector('meta[name="roco-library"]') || {}).content}`;
  function keep() {
    try {
      chosen.size ? sessionStorage.setItem(place(), JSON.stringify([...chosen.keys()])) : sessionStorage.removeItem(place());
    } catch {
      // A browser that keeps nothing begins with an empty tray.
    }
  }
  async function restore() {
    let ids = [];
    try {
      ids = JSON.parse(sessionStorage.getItem(place())) || [];
    } catch {
      return;
    }
    if (!Array.isArray(ids) || !ids.length) return;
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("roco/chosen/names", { method: "POST", headers, body: JSON.stringify({ ids }) }).catch(() => null);
    if (!answer || (!answer.ok && answer.status !== 422)) return; // what is kept stays for the next time
    const { names } = answer.ok ? await answer.json() : { names: [] };
    const since = [...chosen]; // what was chosen while the answer came
    chosen.clear();
    for (const [id, name] of [...names, ...since]) set(id, name, true);
    show();
  }
  const cards = () => [...document.querySelectorAll("#roco-gallery .roco-card")];
  const idOf = (card) => Number(card.dataset.id);
  const part = (name) => tray.querySelector(`[data-part="${name}"]`);

  function build() {
    tray = document.createElement("section");
    tray.className = "roco-tray";
    tray.setAttribute("aria-label", "Chosen images");
    tray.hidden = true;
    tray.innerHTML = `
      <p><b data-part="count" role="status"></b> <span data-part="said" class="roco-quiet" role="status"></span></p>
      <ol data-part="pictures"></ol>
      <form data-part="copy" hidden><label>Folder on this computer <input name="folder" placeholder="~/chosen" required></label>
        <button>Copy</button></form>
      <form data-part="cohort" hidden><label>Name of the cohort <input name="name" maxlength="80" required></label>
        <button>Keep</button></form>
      <div><button type="button" data-do="paths">Copy paths</button>
        <button type="button" data-do="copy" aria-expanded="false">Copy files…</button>
        <button type="button" data-do="cohort" aria-expanded="false">Cohort…</button>
        <button type="button" data-do="csv">CSV</button>
        <button type="button" data-do="sheet">Contact sheet</button>
        <button type="button" data-do="clear">Clear</button></div>`;
    tray.querySelector('[data-do="paths"]').hidden = !may("paths");
    tray.querySelector('[data-do="copy"]').hidden = !may("files");
    tray.querySelector('[data-do="cohort"]').hidden = !may("marks");
    document.body.append(tray);
    tray.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do],[data-id]");
      if (button && button.dataset.id) roco.open(Number(button.dataset.id), [...chosen.keys()], button);
      else if (button) act(button.dataset.do);
    });
    tray.addEventListener("submit", (event) => {
      event.preventDefault();
      const sent = Object.fromEntries(new FormData(event.target));
      send(event.target.dataset.part, sent).then((answer) => answer && say(answer.said));
    });
  }

  const say = (text) => (part("said").textContent = text);

  // What the server makes of the chosen images; null where it refuses, and then the reason is shown.
  async function send(what, more = {}, read = "json") {
    say("One moment…");
    const body = JSON.stringify({ ids: [...chosen.keys()], ...more });
    const answer = await fetch(`roco/chosen/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body })
      .catch(() => null);
    if (answer && answer.ok) return answer[read]();
    const told = answer && (await answer.json().catch(() => null));
    say((told && told.detail) || "roco does not answer.");
    return null;
  }

  // A form of the tray, one of which is open at a time.
  function fold(what, closed) {
    for (const name of FORMS) {
      part(name).hidden = name !== what || closed;
      tray.querySelector(`[data-do="${name}"]`).setAttribute("aria-expanded", String(!part(name).hidden));
    }
  }

  async function act(what) {
    if (what === "clear") {
      chosen.clear();
      show();
    } else if (FORMS.includes(what)) {
      fold(what, !part(what).hidden);
      if (!part(what).hidden) part(what).querySelector("input").focus();
    } else if (what === "paths") {
      const answer = await send("paths");
      if (answer) say((await roco.copy(answer.text)) ? "The paths are copied." : "The browser does not allow it.");
    } else {
      const file = await send(what, {}, "blob");
      if (!file) return;
      const link = document.createElement("a");
      const address = URL.createObjectURL(file);
      Object.assign(link, { href: address, download: what === "csv" ? "chosen.csv" : "chosen.html" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
      say("It is saved with your downloads; protect it as you protect the images.");
    }
  }

  function set(id, name, wanted) {
    if (wanted && chosen.size >= MOST) say(`A tray holds ${MOST} images.`);
    else if (wanted) chosen.set(id, name);
    else chosen.delete(id);
  }

  function toggle(card, event = {}) {
    const all = cards();
    const from = last && last.isConnected ? all.indexOf(last) : -1;
    const to = all.indexOf(card);
    const wanted = event.shiftKey && from >= 0 ? chosen.has(idOf(last)) : !chosen.has(idOf(card));
    const range = event.shiftKey && from >= 0 ? all.slice(Math.min(from, to), Math.max(from, to) + 1) : [card];
    for (const one of range) set(idOf(one), one.title, wanted);
    last = card;
    show();
  }

  // For the viewer: whether an image is in the tray, and to put it there or take it out.
  roco.chosen = (id) => chosen.has(id);
  roco.choose = (id, name) => {
    if (!tray) build();
    set(id, name, !chosen.has(id));
    show();
  };

  function show() {
    if (!tray) build();
    keep();
    tray.hidden = !chosen.size;
    document.body.classList.toggle("roco-with-tray", chosen.size > 0);
    if (!chosen.size) fold("", true);
    part("count").textContent = `${chosen.size} chosen`;
    say("");
    part("pictures").replaceChildren(
      ...[...chosen].slice(-40).map(([id, name]) => {
        const [item, button, picture] = ["li", "button", "img"].map((tag) => document.createElement(tag));
        Object.assign(picture, { src: `roco/image/${id}.jpg?size=160`, alt: "", loading: "lazy" });
        Object.assign(button, { type: "button", title: name });
        button.dataset.id = id;
        button.setAttribute("aria-label", `Open ${name}`);
        button.append(picture);
        item.append(button);
        return item;
      })
    );
    mark();
  }

  // Every card gets its check mark, also those that come later.
  function mark() {
    for (const card of cards()) {
      let pick = card.parentElement.querySelector(".roco-pick");
      if (!pick) {
        pick = document.createElement("button");
        Object.assign(pick, { type: "button", className: "roco-pick", textContent: "✓", title: "Choose (x)" });
        pick.setAttribute("aria-label", `Choose ${card.title}`);
        card.parentElement.append(pick);
      }
      const pressed = String(chosen.has(idOf(card)));
      if (pick.getAttribute("aria-pressed") !== pressed) pick.setAttribute("aria-pressed", pressed);
      roco.feedOf(card);
    }
    roco.fed();
  }

  const within = (event, selector) => event.target.closest && event.target.closest(`#roco-gallery ${selector}`);
  document.addEventListener("click", (event) => {
    const pick = within(event, ".roco-pick");
    const card = pick ? pick.parentElement.querySelector(".roco-card") : within(event, ".roco-card");
    if (!card || !(pick || event.shiftKey || event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation();
    toggle(card, event);
  }, true);
  // Space and x choose a card; a button is pressed when the space bar is let go.
  for (const kind of ["keydown", "keyup"]) {
    document.addEventListener(kind, (event) => {
      const card = within(event, ".roco-card");
      if (!card || event.ctrlKey || event.metaKey || event.altKey || ![" ", "x", "X"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      if (kind === "keydown" && !event.repeat) toggle(card, event);
    }, true);
  }

  // Gradio may load this after the page itself is there.
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", restore);
  else restore();
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mark();
    });
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
