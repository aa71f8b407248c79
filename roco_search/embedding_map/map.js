// Zoom and small pictures on an exported map. Without this script the page shows the map and the names of its points.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const MOST = 60, REACH = 14; // times, and pixels from the pointer within which a point is named
  const box = document.querySelector(".map"), stage = box.querySelector("div"), svg = stage.querySelector("svg");
  const tip = box.querySelector(".tip"), picture = tip.querySelector("img"), words = tip.querySelector("span");
  const data = document.getElementById("pictures");
  const pictures = data ? JSON.parse(data.textContent) : [];
  const points = [], layers = [], markers = [];
  let view = { k: 1, x: 0, y: 0 }, focus = null;

  // By their numbers, as the pictures are: in the drawing, what is not stated comes first.
  const number = (group) => Number(group.id.slice("group-".length));
  for (const group of [...svg.querySelectorAll('[id^="group-"]')].sort((one, other) => number(one) - number(other))) {
    for (const clip of group.querySelectorAll("g[clip-path]")) {
      const layer = document.createElementNS(SVG, "g");
      layer.append(...clip.childNodes);
      clip.append(layer);
      layers.push(layer);
    }
    markers.push(...group.querySelectorAll("defs path"));
    for (const use of group.querySelectorAll("use")) {
      const title = use.querySelector("title");
      points.push({ use, text: title.textContent, x: use.x.baseVal.value, y: use.y.baseVal.value });
      title.remove(); // this page shows it at once, the browser after a second
    }
  }
  points.forEach((point, place) => (point.picture = pictures[place]));
  const frame = (layers[0] || svg).parentNode;
  const clip = svg.querySelector("clipPath rect");
  const area = clip ? ["x", "y", "width", "height"].map((name) => clip[name].baseVal.value) : [0, 0, 1, 1];
  const regions = [...svg.querySelectorAll('[id^="region-"]')].map((group) => {
    const { x, y, width, height } = group.getBBox();
    return { group, x: x + width / 2, y: y + height / 2 };
  });

  const placed = ({ x, y }) => [x * view.k + view.x, y * view.k + view.y];
  const inside = ([x, y]) => x >= area[0] && y >= area[1] && x <= area[0] + area[2] && y <= area[1] + area[3];
  function draw() {
    const [left, top, width, height] = area;
    view.x = Math.min(left * (1 - view.k), Math.max((left + width) * (1 - view.k), view.x));
    view.y = Math.min(top * (1 - view.k), Math.max((top + height) * (1 - view.k), view.y));
    for (const layer of layers) layer.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
    const size = Math.min(2, Math.sqrt(view.k)) / view.k; // points grow a little, and never as the map does
    for (const marker of markers) marker.setAttribute("transform", `scale(${size})`);
    for (const region of regions) {
      const place = placed(region);
      region.group.setAttribute("transform", `translate(${place[0] - region.x} ${place[1] - region.y})`);
      region.group.style.display = inside(place) ? "" : "none";
    }
    if (focus) show(focus);
  }
  // From pixels of the window to the units of the drawing, before any zoom.
  const unit = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(frame.getScreenCTM().inverse());
  function zoom(factor, at = { x: area[0] + area[2] / 2, y: area[1] + area[3] / 2 }) {
    const k = Math.max(1, Math.min(MOST, view.k * factor));
    view = { k, x: at.x - ((at.x - view.x) * k) / view.k, y: at.y - ((at.y - view.y) * k) / view.k };
    draw();
  }
  function all() {
    view = { k: 1, x: 0, y: 0 };
    draw();
  }

  function show(point) {
    focus = point && inside(placed(point)) ? point : null;
    tip.hidden = !focus;
    if (!focus) return;
    words.textContent = point.text;
    picture.hidden = !point.picture;
    if (point.picture) picture.src = `data:image/jpeg;base64,${point.picture}`;
    const [x, y] = placed(point);
    const at = new DOMPoint(x, y).matrixTransform(frame.getScreenCTM()), edge = box.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(at.x - edge.left + 14, edge.width - tip.offsetWidth))}px`;
    tip.style.top = `${at.y - edge.top > edge.height / 2 ? at.y - edge.top - tip.offsetHeight - 14 : at.y - edge.top + 14}px`;
  }
  function nearest(event) {
    const at = unit(event), reach = REACH / frame.getScreenCTM().a;
    let best = null, least = reach ** 2;
    for (const point of points) {
      const place = placed(point), far = (place[0] - at.x) ** 2 + (place[1] - at.y) ** 2;
      if (far < least && inside(place)) [best, least] = [point, far];
    }
    return best;
  }
  function beside(dx, dy) {
    const from = focus ? placed(focus) : [area[0] + area[2] / 2, area[1] + area[3] / 2];
    let best = null, least = Infinity;
    for (const point of points) {
      const place = placed(point), [px, py] = [place[0] - from[0], place[1] - from[1]];
      const along = px * dx + py * dy, across = Math.abs(px * dy) + Math.abs(py * dx);
      if (point === focus || !inside(place) || along <= 0.1 || across > 1.5 * along) continue;
      if (along + 2 * across < least) [best, least] = [point, along + 2 * across];
    }
    if (best) show(best);
  }

  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, unit(event));
    if (event.pointerType === "touch") show(nearest(event));
    else if (!event.button) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const was = fingers.get(event.pointerId);
    if (!was) return show(nearest(event));
    const now = unit(event), other = [...fingers].find(([id]) => id !== event.pointerId);
    fingers.set(event.pointerId, now);
    const apart = (at) => Math.hypot(at.x - other[1].x, at.y - other[1].y) || 1;
    if (other) return zoom(apart(now) / apart(was), other[1]);
    view = { ...view, x: view.x + now.x - was.x, y: view.y + now.y - was.y };
    show(null);
    draw();
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  stage.addEventListener("pointerleave", () => fingers.size || show(null));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), unit(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoom(2, unit(event)));
  stage.addEventListener("keydown", (event) => {
    const acts = {
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: all, Escape: () => show(null),
      ArrowLeft: () => beside(-1, 0), ArrowRight: () => beside(1, 0), ArrowUp: () => beside(0, -1), ArrowDown: () => beside(0, 1),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  });
  box.querySelector(".tools").hidden = false;
  box.querySelector(".tools").addEventListener("click", (event) => {
    const what = event.target.dataset.do;
    if (what) what === "all" ? all() : zoom(what === "in" ? 1.5 : 1 / 1.5);
  });
})();
