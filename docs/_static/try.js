// The page "Try it": fields and address say what is asked, the worker answers, and cells light up with their ties.
const form = document.getElementById("try-form");
const preset = document.getElementById("try-preset");
const answer = document.getElementById("try-answer");
const status = document.getElementById("try-status");
const fields = [...form.elements].filter((field) => field.name);
const INDICES = ["i", "o", "k"];

const worker = new Worker(new URL("try-worker.js", import.meta.url), { type: "module" });
let ready = false;
let busy = false;
let waiting = false;
let held = false; // an address that cannot be shown, until something is typed

const usual = (field) => (field.options ? field.options[0].value : field.placeholder);
const texts = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));

function say(words, wrong = false) {
  status.textContent = words;
  status.classList.toggle("wrong", wrong);
}

function ask() {
  waiting = busy || !ready;
  if (waiting || held) return;
  busy = true;
  worker.postMessage(texts());
}

function show({ html, said, address, error }) {
  answer.classList.toggle("stale", Boolean(error));
  if (address) history.replaceState(null, "", `#${address.split("#")[1]}`);
  if (error) return say(error, true);
  answer.innerHTML = html;
  say(said);
}

worker.onmessage = ({ data }) => {
  if (data.broken) return say(`Python could not be started: ${data.broken}`, true);
  if (data.ready) ready = true;
  else {
    busy = false;
    show(data);
    document.body.dataset.answers = Number(document.body.dataset.answers ?? 0) + 1;
  }
  if (data.ready || waiting) ask();
};

// Fill the fields from what stands behind the "#" of an address.
function fill(fragment) {
  const given = new URLSearchParams(fragment);
  const wrong = [...given.keys()].filter((name) => !fields.some((field) => field.name === name));
  const words = wrong.map((name) => `no field is called ${name}`);
  for (const field of fields) {
    const value = given.get(field.name) ?? usual(field);
    field.value = value;
    if (field.value !== value) {
      words.push(`${field.name} cannot be ${value}`);
      field.value = usual(field);
    }
  }
  preset.value = [...preset.options].find((option) => option.value === fragment)?.value ?? "";
  held = words.length > 0;
  if (held) say(words.join("; "), true);
  else ask();
}

// What stands behind the "#", which anybody may have written.
function written() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target === preset) return;
  preset.value = "";
  held = false;
  ask();
});
preset.addEventListener("change", () => preset.value && fill(preset.value));
window.addEventListener("hashchange", () => fill(written()));

answer.addEventListener("click", async ({ target }) => {
  if (!target.matches("button.copy")) return;
  await navigator.clipboard.writeText(target.closest(".program").querySelector("pre").textContent);
  target.textContent = "copied";
  setTimeout(() => (target.textContent = "copy"), 1500);
});

// What a cell is tied to: of kernel, input and output, and where rows and columns meet.
function light(cell) {
  const picture = cell.closest("svg");
  unlight(picture);
  const same = (tie) => INDICES.every((name) => !(name in cell.dataset) || tie.dataset[name] === cell.dataset[name]);
  const ties = [...picture.querySelectorAll(".tie")].filter(same);
  const lit = new Set(ties);
  for (const tie of ties) {
    for (const name of INDICES) lit.add(picture.querySelector(`.cell[data-${name}="${tie.dataset[name]}"]`));
  }
  for (const each of lit) each?.classList.add("lit");
  picture.classList.add("lighting");
}

function unlight(picture) {
  for (const each of picture.querySelectorAll(".lit")) each.classList.remove("lit");
  picture.classList.remove("lighting");
}

for (const [event, act] of Object.entries({ pointerover: light, focusin: light, pointerout: unlight, focusout: unlight })) {
  answer.addEventListener(event, ({ target }) => {
    const cell = target.closest?.(".cell, .tie");
    if (cell) act(act === light ? cell : cell.closest("svg"));
  });
}

// Arrows go along kernel, input or output.
answer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const cell = event.target.closest?.(".cell");
  if (!step || !cell) return;
  const name = INDICES.find((each) => each in cell.dataset);
  const next = cell.closest("svg").querySelector(`.cell[data-${name}="${Number(cell.dataset[name]) + step}"]`);
  if (!next) return;
  event.preventDefault();
  next.focus();
});

if (location.hash.length > 1) fill(written());
