// The map: every image is a point. Drag and wheel move and zoom, a click opens; so do arrows, + and -, and Enter.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const REACH = 14; // the distance from the pointer in pixels within which a point is selected

  roco.map = (element) => {
    element.innerHTML = `
      <p class="roco-quiet" data-part="about" role="status">Drawing the map…</p>
      <div class="roco-map">
        <div class="roco-map-area">
          <canvas tabindex="0" role="application" aria-label="Map of the images: arrow keys go to the nearest image in
            that direction, Enter opens it, plus and minus zoom, 0 shows all"></canvas>
          <div class="roco-map-tools">
            <button type="button" data-do="in" aria-label="Zoom in">+</button>
            <button type="button" data-do="out" aria-label="Zoom out">−</button>
            <button type="button" data-do="all" aria-label="Show all">⤢</button>
          </div>
          <div class="roco-tip" hidden><img alt=""><span></span></div>
        </div>
        <ul class="roco-legend"></ul>
      </div>
      <p class="roco-hidden" data-part="said" role="status"></p>`;
    const canvas = element.querySelector("canvas");
    const context = canvas.getContext("2d");
    const tip = element.querySelector(".roco-tip");
    const legend = element.querySelector(".roco-legend");
    const part = (name) => element.querySelector(`[data-part="${name}"]`);
    const wanted = { color: "modality", method: "pca", guess: true };
    let data, view, hidden = new Set(), focus = -1, loading = 0;

    // Black is seen on white only.
    const dark = () => document.body.classList.contains("dark");
    const ink = (colour) => (dark() && colour === "#000000" ? "#e6e6e6" : colour);
    document.addEventListener("roco:theme", () => data && recolour());

    async function load() {
      const mine = ++loading;
      part("about").textContent = "Drawing the map…";
      const far = setInterval(async () => {
        const told = await fetch("roco/progress.json").then((said) => said.json()).catch(() => ({}));
        if (mine === loading && told.total) part("about").textContent = `Drawing the map: ${Math.round((100 * told.done) / told.total)} %…`;
      }, 500);
      const answer = await fetch(`roco/map.json?method=${wanted.method}&guess=${wanted.guess}`).finally(() => clearInterval(far));
      if (mine !== loading) return;
      if (!answer.ok) {
        const said = await answer.json().catch(() => ({}));
        part("about").textContent = typeof said.detail === "string" ? said.detail : "The map cannot be drawn now.";
        return;
      }
      data = await answer.json();
      focus = -1;
      all();
      recolour();
    }

    function all() {
      view = { x: 0.5, y: 0.5, scale: 1 };
      if (data) view = { x: (Math.min(...span("x")) + Math.max(...span("x"))) / 2, y: mid("y"), scale: 1 };
      draw();
    }
    const span = (axis) => data[axis].reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [1, 0]);
    const mid = (axis) => span(axis).reduce((a, b) => a + b) / 2;

    function recolour() {
      const chosen = data.colourings[wanted.color];
      hidden = new Set();
      const part_ = data.ids.length < data.total ? `${data.ids.length} of ${data.total} images, chosen at random. ` : "";
      part("about").textContent = `${part_}${data.about}.`;
      legend.replaceChildren(
        ...chosen.names.map((name, number) => {
          const item = document.createElement("li");
          const button = document.createElement("button");
          const swatch = document.createElement("i");
          swatch.style.background = ink(chosen.colours[number]);
          button.type = "button";
          button.setAttribute("aria-pressed", "true");
          button.append(swatch, `${name} (${chosen.counts[number]})`);
          button.addEventListener("click", () => {
            hidden.has(number) ? hidden.delete(number) : hidden.add(number);
            button.setAttribute("aria-pressed", String(!hidden.has(number)));
            draw();
          });
          item.append(button);
          return item;
        })
      );
      draw();
    }

    // Pixels across the whole map. Where its axes mean nothing, it takes all of the width.
    function sides() {
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => side * 0.92 * view.scale);
      return data.stretched ? [width, height] : [Math.min(width, height), Math.min(width, height)];
    }
    function placed(px, py) {
      const [across, down] = sides();
      return [canvas.clientWidth / 2 + (px - view.x) * across, canvas.clientHeight / 2 - (py - view.y) * down];
    }
    const at = (i) => placed(data.x[i], data.y[i]);

    // The names of the regions, the largest first; one that would cover another is left out until there is room.
    function label() {
      const taken = [];
      context.font = "600 13px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineJoin = "round";
      for (const { x, y, name } of data.regions) {
        const [px, py] = placed(x, y);
        const half = context.measureText(name).width / 2 + 4;
        if (px < half || py < 10 || px > canvas.clientWidth - half || py > canvas.clientHeight - 10) continue;
        if (taken.some(([ox, oy, other]) => Math.abs(ox - px) < half + other && Math.abs(oy - py) < 20)) continue;
        taken.push([px, py, half]);
        context.lineWidth = 4;
        context.strokeStyle = dark() ? "#1e2126dd" : "#fffd";
        context.strokeText(name, px, py);
        context.fillStyle = dark() ? "#f2f2f2" : "#16181c";
        context.fillText(name, px, py);
      }
    }
    const visible = (i) => !hidden.has(data.colourings[wanted.color].of[i]);

    function draw() {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (!data || !width) return;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      const chosen = data.colourings[wanted.color];
      const radius = Math.max(2, Math.min(5, 60 / Math.sqrt(data.ids.length))) * Math.min(2, Math.sqrt(view.scale));
      context.globalAlpha = 0.85;
      // Images whose group is not stated are drawn first, then the largest group, so that they hide nothing.
      const order = chosen.names.map((_, number) => number).sort((a, b) => late(chosen, a) - late(chosen, b) || a - b);
      const members = chosen.names.map(() => []);
      for (let i = 0; i < data.ids.length; i++) members[chosen.of[i]].push(i);
      for (const number of order.filter((own) => !hidden.has(own))) {
        context.fillStyle = ink(chosen.colours[number]);
        for (const i of members[number]) {
          const [x, y] = at(i);
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          context.beginPath();
          context.arc(x, y, radius, 0, 7);
          context.fill();
        }
      }
      context.globalAlpha = 1;
      label();
      if (focus >= 0) {
        const [x, y] = at(focus);
        context.strokeStyle = ink("#000000");
        context.lineWidth = 2;
        context.beginPath();
        context.arc(x, y, radius + 4, 0, 7);
        context.stroke();
      }
    }
    const late = (chosen, number) => (["not stated", "others"].includes(chosen.names[number]) ? 0 : 1);

    function nearest(x, y) {
      let best = -1, least = REACH ** 2;
      for (let i = 0; i < data.ids.length; i++) {
        if (!visible(i)) continue;
        const [px, py] = at(i);
        const far = (px - x) ** 2 + (py - y) ** 2;
        if (far < least) [best, least] = [i, far];
      }
      return best;
    }

    function point(i) {
      if (i === focus) return;
      focus = i;
      tip.hidden = i < 0;
      canvas.style.cursor = i < 0 ? "grab" : "pointer";
      if (i >= 0) {
        const [x, y] = at(i);
        const words = Object.values(data.colourings).map((own) => own.names[own.of[i]]).join(" · ");
        tip.querySelector("img").src = `roco/image/${data.ids[i]}.jpg?size=160`;
        tip.querySelector("span").textContent = words;
        tip.style.left = `${Math.max(0, Math.min(x + 14, canvas.clientWidth - 180))}px`;
        tip.style.top = `${y > canvas.clientHeight / 2 ? y - 206 : y + 14}px`;
        part("said").textContent = words;
      }
      draw();
    }

    function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
      const before = sides();
      view.scale = Math.max(0.5, Math.min(200, view.scale * factor));
      const after = sides();
      view.x += (x - canvas.clientWidth / 2) * (1 / before[0] - 1 / after[0]);
      view.y -= (y - canvas.clientHeight / 2) * (1 / before[1] - 1 / after[1]);
      draw();
    }

    const open = (i) => i >= 0 && roco.open(data.ids[i], null, canvas);
    const pointers = new Map();
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      if (pointers.size === 1) moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!data) return;
      const was = pointers.get(event.pointerId);
      if (!was) return point(nearest(event.offsetX, event.offsetY));
      const now = [event.offsetX, event.offsetY];
      const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      if (others.length) {
        const apart = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]) || 1;
        zoom(apart(now) / apart(was), ...others[0]);
      } else {
        view.x -= (now[0] - was[0]) / sides()[0];
        view.y += (now[1] - was[1]) / sides()[1];
      }
      moved += Math.hypot(now[0] - was[0], now[1] - was[1]);
      pointers.set(event.pointerId, now);
      if (moved > 4) point(-1);
      draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      pointers.delete(event.pointerId);
      if (data && moved <= 4) {
        point(nearest(event.offsetX, event.offsetY));
        open(focus);
      }
    });
    canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => data && pointers.size === 0 && point(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (data) zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const acts = { Enter: () => open(focus), "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: all, Escape: () => point(-1) };
      if (!data || !(ways[event.key] || acts[event.key])) return;
      event.preventDefault();
      if (acts[event.key]) return acts[event.key]();
      const [dx, dy] = ways[event.key];
      const [x, y] = focus >= 0 ? at(focus) : [canvas.clientWidth / 2, canvas.clientHeight / 2];
      let best = -1, least = Infinity;
      for (let i = 0; i < data.ids.length; i++) {
        if (i === focus || !visible(i)) continue;
        const [px, py] = at(i);
        const along = (px - x) * dx + (py - y) * dy;
        const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
        if (along > 0.5 && across <= along * 1.5 && along + 2 * across < least) [best, least] = [i, along + 2 * across];
      }
      if (best >= 0) point(best);
    });
    element.querySelector(".roco-map-tools").addEventListener("click", (event) => {
      const what = event.target.dataset.do;
      if (data && what) what === "all" ? all() : zoom(what === "in" ? 1.5 : 1 / 1.5);
    });

    roco.setMap = (name, value) => {
      wanted[name] = value;
      if (name === "color") data && recolour();
      else if (data || loading) load();
    };
    new ResizeObserver(() => {
      if (!canvas.clientWidth) return;
      if (!loading) load(); // the tab is shown for the first time
      else draw();
    }).observe(canvas);
  };
})();
