// Sorts tables by the column whose header is pressed, and the other way when it is
// pressed again. Cells without a value stay at the end.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const isNumber = header.dataset.kind === "number";
    const orders = ["ascending", "descending"];
    if (isNumber) orders.reverse();
    const valueOf = (row) =>
      row.cells[column].dataset.value ?? row.cells[column].textContent;
    header.querySelector("button").addEventListener("click", () => {
      const order = orders[header.getAttribute("aria-sort") === orders[0] ? 1 : 0];
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [valueOf(first), valueOf(second)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (isNumber ? a - b : a.localeCompare(b));
      });
      body.append(...rows);
    });
  });
}
