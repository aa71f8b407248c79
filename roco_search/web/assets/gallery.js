// The gallery, which grows as it is scrolled; the bars of a classification; and the chips of what was understood.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});

  const cardsOf = (element) => [...element.querySelectorAll(".roco-card")];
  // The images that the gallery shows, by id.
  roco.shown = () => cardsOf(document).map((card) => Number(card.dataset.id));

  roco.gallery = (element, watch) => {
    const cards = () => cardsOf(element);
    element.addEventListener("click", (event) => {
      const card = event.target.closest(".roco-card");
      if (card) roco.open(Number(card.dataset.id), roco.shown(), card);
      else if (event.target.closest('[data-do="more"]')) more(true);
    });
    // The library itself goes on as one scrolls; of hits, those after the first are shown when they are asked for.
    let goesOn = false;
    const end = new IntersectionObserver((seen) => goesOn && seen.some((one) => one.isIntersecting) && more(false), {
      rootMargin: "600px",
    });
    const look = () => {
      end.disconnect();
      const last = element.querySelector(".roco-more");
      if (last && !last.hidden) end.observe(last);
    };
    watch("value", () => {
      const found = element.querySelector(".roco-found");
      if (!found) return end.disconnect(), roco.failed();
      const list = found.querySelector(".roco-cards");
      if (list) say(list.getAttribute("aria-label"));
      roco.landed(found.dataset.address);
      goesOn = !["q", "like", "upload", "plus"].some((name) => new URLSearchParams(found.dataset.address).has(name));
      look();
    });
    let loading = null;
    async function more(pressed) {
      const found = element.querySelector(".roco-found");
      const list = found && found.querySelector(".roco-cards");
      if (!list || loading === found) return;
      loading = found;
      const before = cards().length;
      const address = found.dataset.address;
      try {
        const answer = await fetch(`roco/hits.json?from=${before}&${address}`);
        if (!found.isConnected || found.dataset.address !== address || cards().length !== before) return;
        const { detail, cards: html, more: left, said } = await answer.json();
        if (!answer.ok) return say(typeof detail === "string" ? detail : "No more images can be shown now.");
        const last = [...list.querySelectorAll("[data-heading]")].pop();
        list.insertAdjacentHTML("beforeend", html);
        const next = cards()[before] && cards()[before].closest("li").previousElementSibling;
        if (last && next && next !== last && next.dataset.heading === last.dataset.heading) next.remove();
        found.querySelector(".roco-more").hidden = !left;
        list.setAttribute("aria-label", said);
        say(said);
        if (pressed) {
          goesOn = true;
          cards()[before].focus({ preventScroll: true });
        }
        roco.grown(cards().length);
      } finally {
        loading = null;
        look();
      }
    }
    element.addEventListener("keydown", (event) => {
      const all = cards();
      const at = all.indexOf(event.target.closest(".roco-card"));
      if (at < 0) return;
      const top = (card) => card.getBoundingClientRect().top;
      const columns = Math.max(1, all.filter((card) => Math.abs(top(card) - top(all[0])) < 4).length);
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: all.length - 1 - at };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = all[Math.max(0, Math.min(all.length - 1, at + steps[event.key]))];
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    });
  };

  // In place of an image that cannot be read, the server sends a picture of the reason.
  document.addEventListener("error", (event) => {
    const picture = event.target;
    if (picture.matches && picture.matches(".roco-picture img") && !picture.dataset.failed) {
      picture.dataset.failed = "true";
      fetch(picture.src).then(async (answer) => {
        const text = await answer.text();
        const box = picture.parentElement;
        box.innerHTML = (answer.headers.get("content-type") || "").includes("svg") ? text : "";
        if (!box.innerHTML) box.textContent = "This image cannot be shown.";
      });
    }
  }, true);

  roco.result = (element, trigger) => {
    const show = (key) => {
      for (const layer of element.querySelectorAll("[data-layer]")) layer.hidden = layer.dataset.layer !== key;
    };
    element.addEventListener("click", (event) => {
      const row = event.target.closest(".roco-row");
      if (row) return trigger("select", { row: Number(row.dataset.row) });
      const plain = event.target.closest(".roco-plain");
      const bar = event.target.closest(".roco-bar");
      if (plain) {
        const alone = plain.getAttribute("aria-pressed") !== "true";
        plain.setAttribute("aria-pressed", String(alone));
        const chosen = element.querySelector('.roco-bar[aria-pressed="true"]');
        show(alone ? "plain" : chosen ? chosen.dataset.map : "0");
      } else if (bar && element.querySelector(`[data-layer="${bar.dataset.map}"]`)) {
        for (const other of element.querySelectorAll(".roco-bar")) other.setAttribute("aria-pressed", String(other === bar));
        const button = element.querySelector(".roco-plain");
        if (button) button.setAttribute("aria-pressed", "false");
        show(bar.dataset.map);
      }
    });
  };

  roco.chips = (element) => {
    element.addEventListener("click", (event) => {
      const chip = event.target.closest("[data-without]");
      if (chip) roco.again(chip.dataset.without, chip.dataset.verbatim === "true");
    });
  };

  const say = (sentence) => {
    const note = document.querySelector("#roco-status .roco-note");
    if (note && note.textContent !== sentence) note.textContent = sentence;
  };

  // On a phone the results come before the filters: these are folded until they are needed. Elsewhere one can type
  // at once. Gradio may draw this component before those, so it waits for them.
  roco.settle = (tries = 200) => {
    const phone = window.matchMedia("(max-width: 767px)").matches;
    const part = document.querySelector(phone ? "#roco-filters > button.open" : "#roco-text input");
    if (part) phone ? part.click() : part.focus();
    // A slow phone draws the filters late, and Gradio opens them again when their values come.
    if ((phone ? !touched : !part) && tries > 0) setTimeout(() => roco.settle(tries - 1), 50);
  };
  let touched = false;
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => (touched = true), true);
})();
