// The image that was dropped: a region of it is chosen by dragging, or by the keyboard, and searched for.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const STEP = 0.05, LEAST = 0.05;
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

  roco.crop = (element) => {
    let start = null, region = null;

    const draw = (box) => {
      const frame = box.querySelector(".roco-region");
      frame.hidden = !region;
      if (region) [frame.style.left, frame.style.top, frame.style.width, frame.style.height] = region.map((v) => `${100 * v}%`);
    };
    const place = (box, event) => {
      const { left, top, width, height } = box.getBoundingClientRect();
      return [clamp((event.clientX - left) / width, 0, 1), clamp((event.clientY - top) / height, 0, 1)];
    };
    const send = () => roco.region(region ? region.map((share) => Math.round(share * 1e4) / 1e4) : []);

    element.addEventListener("pointerdown", (event) => {
      const box = event.target.closest(".roco-crop");
      if (!box || event.button) return;
      box.setPointerCapture(event.pointerId);
      start = place(box, event);
    });
    element.addEventListener("pointermove", (event) => {
      const box = event.target.closest(".roco-crop");
      if (!box || !start) return;
      const [x, y] = place(box, event);
      region = [Math.min(x, start[0]), Math.min(y, start[1]), Math.abs(x - start[0]), Math.abs(y - start[1])];
      draw(box);
    });
    element.addEventListener("pointerup", () => {
      if (start && region && region[2] >= LEAST && region[3] >= LEAST) send();
      start = null;
    });
    element.addEventListener("pointercancel", () => (start = null));
    element.addEventListener("click", (event) => {
      if (!event.target.closest('[data-do="whole"]')) return;
      region = null;
      send();
    });
    element.addEventListener("keydown", (event) => {
      const box = event.target.closest(".roco-crop");
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!box || !(event.key in steps || ["Enter", "0"].includes(event.key))) return;
      event.preventDefault();
      if (event.key === "Enter") return send();
      if (event.key === "0") {
        region = null;
        return send();
      }
      let [left, top, width, height] = region || [0.25, 0.25, 0.5, 0.5];
      const [across, down] = steps[event.key].map((step) => step * STEP);
      if (!region) [left, top] = [0.25, 0.25];
      else if (event.shiftKey) [width, height] = [clamp(width + across, LEAST, 1 - left), clamp(height + down, LEAST, 1 - top)];
      else [left, top] = [clamp(left + across, 0, 1 - width), clamp(top + down, 0, 1 - height)];
      region = [left, top, width, height];
      draw(box);
    });
  };
})();
