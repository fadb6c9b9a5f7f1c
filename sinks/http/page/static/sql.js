// Shows an answer as a table in the page. Without it the form leads to the answer itself.
import { element, shown } from "./shown.js";

const form = document.getElementById("sql-form");
const state = document.getElementById("sql-state");
const answer = document.getElementById("sql-answer");
const table = document.getElementById("sql-table");
const run = document.getElementById("sql-run");

function written(value) {
  if (value === null) return "";
  return shown(typeof value === "object" ? JSON.stringify(value) : value, 1000);
}

function filled(columns, rows) {
  const head = element("tr");
  for (const column of columns) {
    const cell = element("th", "", written(column));
    cell.scope = "col";
    head.append(cell);
  }
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const value of row) line.append(element("td", typeof value === "number" ? "num" : "", written(value)));
    body.append(line);
  }
  const top = element("thead");
  top.append(head);
  table.replaceChildren(top, body);
}

async function ask() {
  run.disabled = true;
  state.textContent = "running";
  try {
    const given = new URLSearchParams(new FormData(form));
    const reply = await fetch(`${form.getAttribute("action")}?${given}`);
    const said = await reply.json();
    if (!reply.ok) {
      state.textContent = shown([said.error, said.hint].filter(Boolean).join(" \u2013 "), 1000);
      return;
    }
    filled(said.columns, said.rows);
    answer.hidden = false;
    const count = `${said.rows.length} ${said.rows.length === 1 ? "row" : "rows"}`;
    state.textContent = said.truncated ? `${count}, and there are more` : count;
  } catch {
    state.textContent = "no answer came";
  } finally {
    run.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  if (form.elements.format.value !== "json") return; // a file: the browser's business
  event.preventDefault();
  ask();
});

document.getElementById("sql-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
