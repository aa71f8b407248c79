// Plus and minus: marks of yes and no, with which the hits are ranked; they stand in the address like the words, and
// can be kept as a session of `roco query --mark`.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const SIGNS = { plus: ["+", "More like"], minus: ["−", "Less like"] };

  // The search that the page shows, as it stands in the address.
  const asked = () => {
    const found = document.querySelector("#roco-gallery [data-address]");
    return new URLSearchParams(found ? found.dataset.address : "");
  };

  function feed(sign, id) {
    const next = asked();
    const pressed = next.getAll(sign).includes(id);
    for (const name of Object.keys(SIGNS)) {
      const others = next.getAll(name).filter((other) => other !== id);
      next.delete(name);
      for (const other of others) next.append(name, other);
    }
    if (!pressed) next.append(sign, id);
    for (const name of ["shown", "order", "image"]) next.delete(name);
    roco.ask(next);
  }

  const button = (sign, id, name, text) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", className: "roco-feed", title: `${sign === "plus" ? "Yes" : "No"}: ${SIGNS[sign][1].toLowerCase()} this` });
    Object.assign(made.dataset, { sign, of: id });
    made.setAttribute("aria-label", `${SIGNS[sign][1]} ${name}`);
    made.append(text);
    return made;
  };

  // The two buttons of a card; minus needs something from which it is taken away.
  roco.feedOf = (card) => {
    const now = asked();
    const asks = ["q", "like", "upload", "plus"].some((name) => now.has(name));
    for (const sign of Object.keys(SIGNS)) {
      const selector = `.roco-feed[data-sign="${sign}"]`;
      let found = card.parentElement.querySelector(selector);
      if (!found) {
        found = button(sign, card.dataset.id, card.title, SIGNS[sign][0]);
        card.parentElement.append(found);
      }
      found.hidden = sign === "minus" && !asks;
      const pressed = String(now.getAll(sign).includes(card.dataset.id));
      if (found.getAttribute("aria-pressed") !== pressed) found.setAttribute("aria-pressed", pressed);
    }
  };

  // What the marks become under a name, where this demo keeps anything: Enter keeps them as they are.
  const BECOME = [
    ["session", "Keep", "Keep these marks, to go on with them"],
    ["probe", "Probe", "Teach a probe with these marks: it ranks the whole library"],
    ["cohort", "Cohort", "Keep the images that are marked yes as a cohort"],
  ];

  function keeping() {
    const hands = document.querySelector('meta[name="roco-hands"]');
    if (!hands || !hands.content.split(" ").includes("marks")) return [];
    const item = document.createElement("li");
    const buttons = BECOME.map(([what, name, title]) => `<button class="roco-plain" name="what" value="${what}" title="${title}">${name}</button>`);
    item.innerHTML = `<form><label>Keep these marks as <input name="name" maxlength="60" placeholder="a name"></label>
      ${buttons.join(" ")} <span class="roco-quiet" role="status"></span></form>`;
    item.firstChild.addEventListener("submit", async (event) => {
      event.preventDefault();
      const form = event.target, now = asked(), what = event.submitter ? event.submitter.value : "session";
      const signs = what === "cohort" ? ["plus"] : Object.keys(SIGNS);
      const ids = signs.flatMap((sign) => now.getAll(sign).map(Number));
      const said = form.querySelector("span");
      said.textContent = "One moment…";
      const body = JSON.stringify({ ids, name: form.elements.name.value, address: now.toString() });
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(`roco/chosen/${what}`, { method: "POST", headers, body }).catch(() => null);
      const told = answer && (await answer.json().catch(() => null));
      said.textContent = (told && (told.said || told.detail)) || "roco does not answer.";
    });
    return [item];
  }

  // What was given, above the hits; a click takes it back.
  roco.fed = () => {
    const gallery = document.querySelector("#roco-gallery");
    if (!gallery) return;
    const now = asked();
    const given = Object.keys(SIGNS).flatMap((sign) => now.getAll(sign).map((id) => [sign, id]));
    let line = document.querySelector(".roco-fed");
    if (!line && !given.length) return;
    if (!line) {
      line = document.createElement("ul");
      line.className = "roco-fed";
      line.setAttribute("aria-label", "Images that the hits should be more or less like; press one to take it back");
      gallery.before(line);
    }
    const key = JSON.stringify(given);
    if (line.dataset.key === key) return;
    line.dataset.key = key;
    line.hidden = !given.length;
    line.replaceChildren(
      ...given.map(([sign, id]) => {
        const item = document.createElement("li");
        const picture = Object.assign(document.createElement("img"), { src: `roco/image/${id}.jpg?size=160`, alt: "" });
        const made = button(sign, id, "this image", SIGNS[sign][0]);
        made.append(picture, "×");
        made.title = made.ariaLabel = `Take back: ${SIGNS[sign][1].toLowerCase()} this image`;
        item.append(made);
        return item;
      }),
      ...keeping()
    );
  };

  document.addEventListener("click", (event) => {
    const pressed = event.target.closest && event.target.closest(".roco-feed");
    if (pressed) feed(pressed.dataset.sign, pressed.dataset.of);
  });
})();
