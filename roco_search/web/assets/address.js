// The search, its filters and the open image stand in the page's address: Back, Forward, reload and bookmarks work.
// What is asked for by an address goes through the ear to the server; what an answer names is written to the address.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const RECENT = "roco-recent", MOST_RECENT = 8;
  const TITLE = "roco";

  let trigger; // tells the server
  let way = "replace"; // how the next answer is written: "push" for a step of its own
  // One question at a time, so that no late answer comes after a later one: who goes back twice waits for both.
  let waiting = null, next = null;
  const PATIENCE = 10000; // milliseconds after which a question counts as lost
  let scrolled = null; // where to scroll when the answer of a step back has come
  let wanted = null; // the image to open when it has
  let leaving = false; // whether the viewer closes because something else is asked: Back opens it again

  const params = () => new URLSearchParams(location.search);
  const without = (search, ...names) => {
    const left = new URLSearchParams(search);
    names.forEach((name) => left.delete(name));
    return left;
  };
  const write = (search, how, state = {}) => {
    const text = search.toString();
    history[`${how}State`](state, "", text ? `?${text}` : location.pathname);
  };

  function ask(search, how) {
    send({ address: without(search, "image").toString() }, how);
  }
  function send(question, how) {
    if (waiting) return (next = [question, how]);
    way = how;
    waiting = setTimeout(roco.failed, PATIENCE);
    trigger("like", question);
  }

  roco.ear = (element, tell) => {
    trigger = tell;
    history.scrollRestoration = "manual";
    const image = Number(params().get("image"));
    if (image) wanted = image;
    send({ address: without(location.search, "image").toString(), opened: true }, "replace");
  };

  // A search for the filters that are set, of something else.
  const anew = (changes) => {
    const next = without(location.search, "q", "exact", "like", "upload", "plus", "minus", "order", "shown", "image");
    for (const [name, value] of Object.entries(changes)) if (value) next.set(name, value);
    return next;
  };
  roco.like = (id) => {
    leaving = true;
    ask(anew({ like: String(id) }), "push");
  };
  roco.again = (text, verbatim) =>
    ask(anew({ q: text, exact: verbatim ? "1" : "", upload: params().get("upload") }), "push");
  roco.ask = (search) => ask(search, "push");
  roco.region = (region) => send({ region }, "push");

  // Whoever searches before an answer has come, such as the first of the page, waits for it too.
  const whileWaiting = (event) => {
    const input = document.querySelector("#roco-text input, #roco-text textarea");
    const asks = event.type === "click" ? "#roco-search" : event.key === "Enter" && "#roco-text";
    if (!waiting || !asks || !input || !event.target.closest(asks)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (input.value.trim()) roco.again(input.value, false);
  };
  for (const kind of ["keydown", "keypress", "click"]) addEventListener(kind, whileWaiting, true);

  // No answer will come: what was asked meanwhile is asked now.
  roco.failed = () => {
    clearTimeout(waiting);
    const question = next;
    [waiting, next, leaving] = [null, null, false];
    if (question) send(...question);
    return question !== null;
  };
  // An answer has come: `address` is what it answers.
  roco.landed = (address) => {
    if (roco.failed()) return;
    if (without(location.search, "image", "shown").toString() !== without(address, "shown").toString()) {
      if (way === "push") history.replaceState({ ...history.state, y: scrollY }, "");
      write(new URLSearchParams(address), way);
      if (way === "push") scrollTo(0, Math.min(scrollY, top()));
    }
    way = "push";
    const text = params().get("q");
    document.title = text ? `${text} · ${TITLE}` : TITLE;
    if (text) remember(text);
    if (scrolled !== null) scrollTo(0, scrolled);
    scrolled = null;
    if (wanted !== null) roco.open(wanted, roco.shown(), null);
    wanted = null;
  };
  const top = () => {
    const part = document.querySelector("#roco-ask");
    return part ? part.getBoundingClientRect().top + scrollY : 0;
  };
  // More hits are shown than before.
  roco.grown = (shown) => {
    const next = params();
    next.set("shown", shown);
    write(next, "replace", history.state);
  };

  addEventListener("popstate", (event) => {
    const { dialog, address } = { dialog: document.querySelector(".roco-viewer"), address: asked() };
    const image = Number(params().get("image")) || null;
    if (address !== without(location.search, "image", "shown").toString()) {
      wanted = image;
      scrolled = (event.state && event.state.y) || 0;
      if (dialog && dialog.open) dialog.close();
      ask(location.search, "push");
    } else if (image) roco.open(image, roco.shown(), null);
    else if (dialog && dialog.open) dialog.close();
  });
  const asked = () => {
    const found = document.querySelector(".roco-found");
    return found ? without(found.dataset.address, "shown").toString() : null;
  };

  // The viewer says which image is open: a number, or null when it was closed.
  document.addEventListener("roco:image", ({ detail: id }) => {
    const now = params().get("image");
    const next = without(location.search, "image");
    if (id) {
      leaving = false;
      next.set("image", id);
      if (String(id) !== now) write(next, now ? "replace" : "push", now ? history.state : { opened: true });
    } else if (now && wanted === null && !leaving) {
      if (history.state && history.state.opened) history.back();
      else write(next, "replace", history.state);
    }
  });

  // Links that stay in this page.
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("#roco-start a[href^='?']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    ask(link.getAttribute("href"), "push");
  });

  // What this browser has searched for: it is kept here, and the server never asks for it.
  const recent = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(RECENT));
      return Array.isArray(kept) ? kept.filter((text) => typeof text === "string").slice(0, MOST_RECENT) : [];
    } catch {
      return [];
    }
  };
  const keep = (texts) => {
    try {
      texts.length ? localStorage.setItem(RECENT, JSON.stringify(texts)) : localStorage.removeItem(RECENT);
    } catch {
      // A browser that keeps nothing has no recent searches.
    }
  };
  const remember = (text) => keep([text, ...recent().filter((other) => other !== text)].slice(0, MOST_RECENT));

  roco.start = (element, watch) => {
    const show = () => {
      const place = element.querySelector('[data-part="recent"]');
      if (!place) return;
      const texts = recent();
      place.hidden = !texts.length;
      const list = document.createElement("ul");
      list.className = "roco-chips";
      for (const text of texts) {
        const link = document.createElement("a");
        Object.assign(link, { className: "roco-chip", href: `?${new URLSearchParams({ q: text })}`, textContent: text });
        list.append(document.createElement("li"));
        list.lastChild.append(link);
      }
      const clear = document.createElement("button");
      Object.assign(clear, { className: "roco-plain", type: "button", textContent: "Clear" });
      clear.setAttribute("aria-label", "Clear the recent searches");
      clear.addEventListener("click", () => {
        keep([]);
        show();
      });
      list.append(document.createElement("li"));
      list.lastChild.append(clear);
      const title = document.createElement("p");
      Object.assign(title, { className: "roco-quiet", textContent: "Recent" });
      place.replaceChildren(title, list);
    };
    watch("value", show);
    element.addEventListener("change", (event) => {
      if (event.target.dataset.part === "order") ask(anew({ order: event.target.value }), "push");
    });
  };
})();
