// Sorts by the number that a cell shows, or its text; cells without a number come last both ways.
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending", column = Number(head.dataset.column);
  const key = row => { const text = row.cells[column].textContent.trim().replace("\u2212", "-");
    const value = parseFloat(text); return column === 0 ? text : Number.isNaN(value) ? null : value; };
  const order = (a, b) => typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
  const rows = Array.from(body.rows).map(row => [key(row), row]);
  rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : up ? order(a, b) : order(b, a));
  table.querySelectorAll("[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.forEach(([, row]) => body.append(row));
}));
