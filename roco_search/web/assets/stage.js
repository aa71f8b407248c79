// Where the viewer shows its picture: zoom, pan, and what wheel, pointer and fingers do to it.
(() => {
  "use strict";
  const roco = (window.roco = window.roco || {});
  const CLOSEST = 16; // times the size at which the whole picture fits
  const NOTCH = 50; // pixels of scrolling, or of one finger's way, to the next slice

  // `does` has: step(number) through the stack; drag(dx, dy) of the window; moved() after another part is shown;
  // matrix(), the size of the picture in the file's own pixels, or null for that of the picture as it is.
  roco.stage = (box, picture, does) => {
    let scale = 1, x = 0, y = 0, scrolled = 0, moved = 0;
    let own = null; // width and height of the last picture that came: while the next is on its way, there are none
    const fingers = new Map();

    // The size of the whole picture in CSS pixels, without zoom.
    function fitted() {
      if (picture.naturalWidth) own = [picture.naturalWidth, picture.naturalHeight];
      const [width, height] = own || [1, 1];
      const fit = Math.min(box.clientWidth / width, box.clientHeight / height);
      return [width * fit, height * fit];
    }

    function show() {
      const [width, height] = fitted();
      const [farX, farY] = [Math.max(0, (width * scale - box.clientWidth) / 2), Math.max(0, (height * scale - box.clientHeight) / 2)];
      [x, y] = [Math.max(-farX, Math.min(farX, x)), Math.max(-farY, Math.min(farY, y))];
      picture.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
      box.classList.toggle("roco-zoomed", scale > 1);
      does.moved();
    }

    // The place under (px, py), counted from the middle, stays where it is.
    function zoom(factor, px = 0, py = 0) {
      const next = Math.max(1, Math.min(CLOSEST, scale * factor));
      [x, y] = [px - ((px - x) * next) / scale, py - ((py - y) * next) / scale];
      scale = next;
      show();
    }

    function reset() {
      [scale, x, y] = [1, 0, 0];
      show();
    }

    // On a phone one finger scrolls the page beside the whole picture, which is the browser's to do; two fingers zoom,
    // and then one moves it. Where the picture stands beside the rest, one finger goes through the slices.
    const held = () => getComputedStyle(box).touchAction === "none";

    const middle = (event) => {
      const found = box.getBoundingClientRect();
      return [event.clientX - found.left - found.width / 2, event.clientY - found.top - found.height / 2];
    };

    function scroll(way) {
      scrolled += way;
      const steps = Math.trunc(scrolled / NOTCH);
      if (!steps) return;
      scrolled = 0; // one notch of a wheel is one slice, however far it says that it went
      does.step(Math.sign(steps));
    }

    box.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) zoom(Math.exp(-event.deltaY / 100), ...middle(event));
      else scroll(event.deltaMode ? event.deltaY * NOTCH : event.deltaY);
    }, { passive: false });
    box.addEventListener("dblclick", (event) => (scale > 1 ? reset() : zoom(2.5, ...middle(event))));
    box.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button !== 0) return;
      if (event.pointerType !== "touch" || held()) box.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (fingers.size === 1) [moved, scrolled] = [0, 0];
    });
    box.addEventListener("pointermove", (event) => {
      const was = fingers.get(event.pointerId);
      if (!was) return;
      const now = [event.clientX, event.clientY];
      const [dx, dy] = [now[0] - was[0], now[1] - was[1]];
      const other = [...fingers].find(([id]) => id !== event.pointerId);
      fingers.set(event.pointerId, now);
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved < 4) return; // a click is no drag
      if (other) {
        const apart = ([px, py]) => Math.hypot(px - other[1][0], py - other[1][1]) || 1;
        zoom(apart(now) / apart(was), ...middle(event));
      } else if (scale > 1 && !event.shiftKey) {
        [x, y] = [x + dx, y + dy];
        show();
      } else if (event.pointerType === "touch") held() && scroll(-2 * dy);
      else does.drag(dx, dy);
    });
    for (const kind of ["pointerup", "pointercancel"]) box.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    new ResizeObserver(() => show()).observe(box);

    return {
      zoom,
      reset,
      show,
      // How many pixels of the screen a pixel of the file takes; of one that is not square, its longer side.
      enlarged() {
        const [width, height] = fitted().map((side) => side * scale);
        if (!own) return 0;
        const { columns, rows } = does.matrix() || { columns: own[0], rows: own[1] };
        return Math.min(width / columns, height / rows) * (window.devicePixelRatio || 1);
      },
      // The longer side of the picture in pixels of the screen.
      pixels: () => Math.max(...fitted()) * scale * (window.devicePixelRatio || 1),
    };
  };
})();
