"use strict";
(() => {
  // Reads values back from the lines as they are drawn: the charts are whole without this.
  const say = {
    us: (v) => (v < 1e3 ? three(v) + " µs" : v < 1e6 ? three(v / 1e3) + " ms" : three(v / 1e6) + " s"),
    "%": (v) => three(v) + " %", "/s": (v) => three(v) + "/s", "": (v) => three(v), B: bytes, "B/s": (v) => bytes(v) + "/s",
  };
  function three(v) { return v >= 100 ? Math.round(v).toLocaleString("en") : v.toPrecision(3); }
  function bytes(v) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let place = 0;
    while (v >= 1000 && place < 4) { v /= 1024; place++; }
    return three(v) + " " + units[place];
  }
  function time(v) { const s = Math.floor(v); return s < 60 ? s + " s" : Math.floor(s / 60) + " min " + (s % 60) + " s"; }
  function nines(v) { return +(100 * (1 - Math.pow(10, -v))).toPrecision(Math.max(3, Math.ceil(v) + 2)) + " %"; }
  function points(d) {
    const found = [];
    let x = 0, y = 0;
    for (const [, verb, rest] of d.matchAll(/([MlhH])([^MlhH]*)/g)) {
      const n = (rest.match(/-?\d+/g) || []).map(Number);
      if (verb === "M") found.push([(x = n[0]), (y = n[1])]);
      else if (verb === "l") for (let i = 0; i + 1 < n.length; i += 2) found.push([(x += n[i]), (y += n[i + 1])]);
    }
    return found;
  }
  for (const chart of document.querySelectorAll(".chart")) {
    const area = chart.querySelector(".area");
    const [x0, x1, kind, of] = chart.dataset.x.split(" "), [y0, y1, scale] = chart.dataset.y.split(" ");
    const value = (y) => { const p = 1 - y / 9999; return scale === "log" ? y0 * Math.pow(y1 / y0, p) : +y0 + p * (y1 - y0); };
    let lines, cross, tip;
    area.addEventListener("pointermove", (event) => {
      lines ||= [...area.querySelectorAll(".l")].map((l) => ({ name: l.dataset.name, points: points(l.getAttribute("d")) }));
      if (!cross) {
        cross = area.appendChild(document.createElement("div"));
        tip = area.appendChild(document.createElement("div"));
        cross.className = "cross";
        tip.className = "tip";
      }
      const box = area.getBoundingClientRect(), share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      const at = kind === "log" ? x0 * Math.pow(x1 / x0, share) : +x0 + share * (x1 - x0);
      const rows = [kind === "nines" ? nines(at) : kind === "time" ? time(at) : say[of || ""](at)];
      for (const line of lines) {
        let best = null;
        for (const p of line.points) if (!best || Math.abs(p[0] - share * 2000) < Math.abs(best[0] - share * 2000)) best = p;
        if (best && Math.abs(best[0] - share * 2000) < 60) rows.push(line.name + "  " + say[chart.dataset.unit](value(best[1])));
      }
      tip.textContent = rows.join("\n");
      cross.style.left = share * 100 + "%";
      tip.style.left = share > 0.6 ? "auto" : "calc(" + share * 100 + "% + 10px)";
      tip.style.right = share > 0.6 ? "calc(" + (1 - share) * 100 + "% + 10px)" : "auto";
    });
    area.addEventListener("pointerleave", () => { cross?.remove(); tip?.remove(); cross = tip = null; });
  }
  for (const flame of document.querySelectorAll(".flame")) {
    const link = flame.querySelector("a");
    link.href = flame.querySelector("img").src;
    link.hidden = false;
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
})();
