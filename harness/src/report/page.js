"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Tables: a number first in a cell is its value; cells without one come last either way.
const value = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace("−", "-"));
  return { text, number };
};
function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0], words = head.dataset.first === "text";
  const first = words ? "ascending" : head.dataset.first, now = head.getAttribute("aria-sort");
  const next = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
  all("thead th[aria-sort]", table).forEach(other => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1, column = head.cellIndex;
  const rows = [...body.rows].map(row => ({ row, ...value(row, column) }));
  const order = (a, b) => words ? sign * a.text.localeCompare(b.text, "en", { numeric: true })
    : isNaN(a.number) || isNaN(b.number) ? isNaN(a.number) - isNaN(b.number) : sign * (a.number - b.number);
  body.append(...rows.sort(order).map(({ row }) => row));
}
all("table.sortable thead th button").forEach(button => button.addEventListener("click", () => sort(button.parentElement)));

// Themes: the system's, until another is chosen. A page opened from disk may have no storage.
const theme = document.getElementById("theme"), themes = ["system", "light", "dark"];
function paint(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = "Theme: " + name;
  try { localStorage.setItem("mkgc-theme", name); } catch { /* the choice lasts as long as the page */ }
}
let stored = null;
try { stored = localStorage.getItem("mkgc-theme"); } catch { /* none */ }
if (themes.includes(stored)) paint(stored);
theme.hidden = false;
theme.addEventListener("click", () => paint(themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3]));

// Benchmarks: one at a time, named by the address, which may also name a part of one.
const boards = all(".board"), links = all("nav a");
function show() {
  const target = document.getElementById(location.hash.slice(1)), board = target?.closest(".board") ?? boards[0];
  boards.forEach(other => { other.hidden = other !== board; });
  links.forEach(link => link.setAttribute("aria-current", String(link.hash === "#" + board?.id)));
  if (target?.matches("details")) { target.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", show);
show();

// Filter, metrics and curves.
boards.forEach(board => {
  const filter = board.querySelector(".filter"), named = all("[data-label]", board);
  filter.hidden = false;
  filter.addEventListener("input", event => {
    const part = event.target.value.toLowerCase();
    named.forEach(row => { row.hidden = !row.dataset.label.toLowerCase().includes(part); });
  });
  all("fieldset", board).forEach(part => { part.hidden = false; });
  const metric = () => {
    const chosen = board.querySelector(".metrics input:checked")?.value;
    all("[data-metric]", board).forEach(part => { part.hidden = part.dataset.metric !== chosen; });
  };
  const marks = box => all(`[data-metric] svg .s${box.dataset.series}`, board);
  const curve = box => marks(box).forEach(mark => mark.classList.toggle("off", !box.checked));
  const boxes = all(".legend input", board);
  all(".metrics input", board).forEach(input => input.addEventListener("change", metric));
  metric();
  boxes.forEach(box => {
    curve(box);
    box.addEventListener("change", () => curve(box));
    const light = on => () => {
      all("[data-metric] svg", board).forEach(plot => plot.classList.toggle("focus", on && box.checked));
      marks(box).forEach(mark => mark.classList.toggle("on", on));
    };
    for (const event of ["mouseenter", "focusin"]) box.parentElement.addEventListener(event, light(true));
    for (const event of ["mouseleave", "focusout"]) box.parentElement.addEventListener(event, light(false));
  });
  all("[data-all]", board).forEach(button => button.addEventListener("click", () => boxes.forEach(box => {
    box.checked = Boolean(button.dataset.all);
    curve(box);
  })));
});
