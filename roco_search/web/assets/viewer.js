// The viewer: one image large, the stack that it belongs to, and "more like this".
// Opened by id from the gallery and the map; the server knows the file, the page does not.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const NOUNS = { series: "Slice", file: "Frame", folder: "Image" };

  let dialog, panel, part, windowing, stage;
  let ids, place, opener; // the hits, and which of them was opened last
  let current = null; // the id of the image that is shown
  let facts = null; // what is known of an image: of `current`, or of the one before while it is being asked
  let stack = { ids: [], first: 1, kind: "" };
  let drawing = false, describing = false, playing = null;

  function build() {
    dialog = document.createElement("dialog");
    dialog.className = "roco-viewer";
    dialog.setAttribute("aria-labelledby", "roco-viewer-title");
    document.body.append(dialog);
    panel = roco.panel(dialog);
    part = panel.part;
    windowing = roco.windowing(part, () => {
      draw();
      read();
    });
    stage = roco.stage(part("stage"), part("image"), {
      step,
      drag: (dx, dy) => known() && !part("window").disabled && windowing.drag(dx, dy),
      moved: () => {
        read();
        if (drawn()) draw();
      },
      matrix: () => (known() && facts.rows && !part("seen").checked ? facts : null),
    });
    dialog.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do],[data-id]");
      if (event.target === dialog) dialog.close();
      else if (button && button.dataset.do) act(button.dataset.do);
      else if (button) show(Number(button.dataset.id));
    });
    dialog.addEventListener("wheel", (event) => event.target === dialog && event.preventDefault(), { passive: false });
    dialog.addEventListener("close", () => {
      play(false);
      part("image").removeAttribute("src");
      [drawing, current] = [false, null];
      if (opener && opener.isConnected) opener.focus();
      tell(null);
    });
    dialog.addEventListener("keydown", keys);
    for (const kind of ["load", "error"]) part("image").addEventListener(kind, () => arrived(kind === "load"));
    part("slice").addEventListener("input", () => {
      const id = stack.ids[Number(part("slice").value) - stack.first];
      if (id !== undefined && id !== current) show(id);
    });
    part("invert").addEventListener("change", () => {
      part("image").classList.toggle("roco-inverted", part("invert").checked);
      read();
    });
    for (const name of ["overlays", "seen", "heat"]) part(name).addEventListener("change", () => choose(name));
  }

  const known = () => facts !== null && facts.id === current;
  const drawn = () => !drawing && part("image").hasAttribute("src");

  // What the model is given has neither window nor overlays; nor has a heat map.
  function choose(name) {
    if (part(name).checked) for (const other of ["overlays", "seen", "heat"]) if (other !== name) part(other).checked = false;
    const { checked } = part("seen");
    part("seen-note").textContent = checked && facts ? facts.seen : "";
    part("heat-note").textContent = part("heat").checked ? "The model looks at the image 144 times…" : "";
    part("window").disabled = checked || part("heat").checked;
    part("image").classList.toggle("roco-seen", checked);
    draw();
    read();
  }

  function keys(event) {
    const { target, key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || target.matches("input[type=number]")) return;
    if (target.matches("input[type=range]") && /^(Arrow|Page|Home|End)/.test(key)) return;
    const acts = {
      ArrowLeft: "previous", ArrowRight: "next", ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity,
      End: Infinity, "+": "in", "=": "in", "-": "out", i: "invert", r: "reset", c: "play", o: "overlays", m: "seen",
      h: "heat", x: "choose", "?": "help",
    };
    const found = /^[1-9]$/.test(key) ? null : acts[key];
    if (found === undefined) return;
    event.preventDefault();
    if (found === null) part("window").disabled || windowing.preset(Number(key) - 1);
    else if (typeof found === "number") step(found);
    else act(found);
  }

  function act(what) {
    if (what === "close") dialog.close();
    if (what === "previous" || what === "next") move(what === "next" ? 1 : -1);
    if (what === "in" || what === "out") stage.zoom(what === "in" ? 1.4 : 1 / 1.4);
    if (what === "play") play(!playing);
    if (what === "help") panel.help();
    if (what === "reset") reset();
    if (["invert", "overlays", "seen", "heat"].includes(what) && part(what).offsetParent) part(what).click();
    if (!known()) return;
    if (what === "choose") {
      roco.choose(current, facts.name);
      mark();
    }
    if (what === "copy") roco.copy(facts.path, dialog).then((done) => say(done ? "Copied." : "The browser does not allow it."));
    if (what === "open") send(`roco/open/${current}`);
    if (what === "like") {
      const { id } = facts;
      opener = null; // the gallery that it belongs to is about to change
      dialog.close();
      roco.like(id);
    }
  }

  const mark = () => panel.button("choose").setAttribute("aria-pressed", String(roco.chosen(current)));
  const say = (text) => (part("said").textContent = text);
  async function send(address) {
    const answer = await fetch(address, { method: "POST" }).catch(() => null);
    const told = answer && (await answer.json().catch(() => null));
    say((told && (told.said || told.detail)) || "It cannot be opened now.");
  }

  function reset() {
    for (const name of ["overlays", "seen", "heat"]) part(name).checked = false;
    part("invert").checked = false;
    part("image").classList.remove("roco-inverted");
    choose("overlays");
    stage.reset();
    windowing.reset();
  }

  function move(by) {
    const next = place + by;
    if (next < 0 || next >= ids.length) return;
    place = next;
    show(ids[place]);
  }

  // Through the stack; beyond its ends nothing happens.
  function step(by) {
    const at = stack.ids.indexOf(current);
    const next = Math.max(0, Math.min(stack.ids.length - 1, at + by));
    if (at >= 0 && next !== at) show(stack.ids[next]);
  }

  function play(start) {
    clearTimeout(playing);
    playing = start && stack.ids.length > 1 ? setTimeout(turn, 0) : null;
    panel.button("play").textContent = playing ? "❚❚ Pause" : "▶ Play";
    panel.button("play").setAttribute("aria-pressed", String(Boolean(playing)));
    if (!start && current !== null) describe();
  }

  // The next picture is asked for when the one before has come: a slow disk plays slowly, and piles nothing up.
  function turn() {
    if (!drawing) show(stack.ids[(stack.ids.indexOf(current) + 1) % stack.ids.length]);
    playing = setTimeout(turn, 1000 / Math.max(1, Math.min(60, Number(part("rate").value) || 10)));
  }

  function show(id) {
    const same = stack.ids.includes(id) && stack.ids.includes(current);
    current = id;
    if (!same) {
      play(false);
      if (facts && facts.id !== id) facts = null;
      part("image").alt = "";
      for (const name of ["overlays", "seen", "heat"]) part(name).checked = false;
      stack = { ids: [], first: 1, kind: "" };
      choose("overlays");
      stage.reset();
    }
    count();
    draw(!same);
    if (!playing) describe();
  }

  async function describe() {
    if (describing) return;
    describing = true;
    while (current !== null && !known()) {
      const id = current;
      const answer = await fetch(`roco/image/${id}.json`).catch(() => null);
      const told = answer && answer.ok ? await answer.json().catch(() => null) : null;
      if (id !== current) continue;
      if (!told) {
        facts = null;
        part("title").textContent = answer && answer.status === 404 ? "This image is no longer in the library" : "roco does not answer";
        break;
      }
      learn(told);
    }
    describing = false;
  }

  function learn(told) {
    const keep = told.beside.kind !== "folder" && stack.ids.includes(told.id);
    facts = told;
    stack = { ids: told.beside.stack, first: told.beside.first, kind: told.beside.kind, count: told.beside.count };
    if (ids.includes(told.id)) place = ids.indexOf(told.id);
    part("title").textContent = told.name;
    part("image").alt = [told.modality, told.body_part, told.name].filter(Boolean).join(", ");
    panel.describe(told);
    part("heat-words").textContent = roco.words();
    part("heat-block").hidden = !roco.words();
    windowing.load(told.levels, keep);
    count();
    draw();
    read();
    mark();
    tell(told.id);
  }

  // Others may want to know which image is open, such as the page's address; null when the viewer closes.
  const tell = (id) => document.dispatchEvent(new CustomEvent("roco:image", { detail: id }));

  function count() {
    const hit = ids.indexOf(current);
    part("count").textContent = hit >= 0 ? `${hit + 1} of ${ids.length}` : "neighbour";
    const at = stack.ids.indexOf(current);
    part("slices").hidden = stack.ids.length < 2 || at < 0;
    if (part("slices").hidden) return;
    Object.assign(part("slice"), { min: stack.first, max: stack.first + stack.ids.length - 1, value: stack.first + at });
    part("slice-name").textContent = NOUNS[stack.kind];
    part("slice-shown").textContent = `${stack.first + at} of ${stack.count}`;
    part("slice").setAttribute("aria-valuetext", `${NOUNS[stack.kind]} ${stack.first + at} of ${stack.count}`);
  }

  // The picture that should be shown now: small until it is known what it is, then with what was chosen.
  function wanted() {
    if (part("heat").checked) return `roco/heat/${current}.png?text=${encodeURIComponent(roco.words())}`;
    if (part("seen").checked) return `roco/image/${current}.png`;
    const large = stage.pixels() > 1400 && known() && Math.max(facts.rows || 0, facts.columns || 0) > 1280 ? 4096 : 1280;
    const size = stack.ids.includes(current) || known() ? large : 320;
    const window = stack.ids.includes(current) && windowing.chosen();
    return (
      `roco/image/${current}.jpg?size=${size}` + (window ? `&center=${window.center}&width=${window.width}` : "") +
      (part("overlays").checked ? "&overlays=1" : "")
    );
  }

  // One picture is asked for at a time: while a window is dragged, the next is asked for when the last one has come.
  function draw(atOnce = false) {
    if (current === null || (drawing && !atOnce)) return;
    const address = wanted();
    if (part("image").getAttribute("src") === address) return;
    drawing = true;
    part("image").src = address;
  }

  function arrived(well) {
    if (current === null) return;
    drawing = false;
    if (!well) part("image").alt = "This image cannot be shown.";
    if (part("heat").checked && part("image").src.includes("roco/heat/")) {
      part("heat-note").textContent = well
        ? "Red: covering this part lowers the score most; blue: it raises the score. It does not outline a finding."
        : "This image has no heat map.";
    }
    stage.show();
    if (well || !known()) draw();
  }

  // What is said over the picture: its window, and by how much it is larger than its own pixels.
  function read() {
    const plain = !part("seen").checked && !part("heat").checked;
    const same = known() || stack.ids.includes(current); // the next slice, of which nothing is known yet
    const said = [same && plain ? windowing.said() : "", part("invert").checked ? "inverted" : ""];
    part("readout").textContent = said.filter(Boolean).join(", ");
    const times = stage.enlarged();
    part("enlarged").textContent = times > 1.05 ? `${times.toFixed(1)}× enlarged` : "";
  }

  roco.open = (id, among, from) => {
    if (!dialog) build();
    ids = among && among.includes(id) ? among : [id];
    place = ids.indexOf(id);
    opener = from || document.activeElement;
    [facts, current] = [null, null];
    if (!dialog.open) dialog.showModal();
    show(id);
    tell(id); // at once: it may be closed before anything is known of it
  };
})();
