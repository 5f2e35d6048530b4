// What makes the pages lively. Every page works without it: forms send, links lead.
"use strict";

const find = (selector, root = document) => root.querySelector(selector);

function whatIf() {
  const form = find("form.knobs"), place = find("#answer");
  if (!form || !place) return;
  let asked = 0, timer = 0, running = null;
  const query = () => new URLSearchParams(new FormData(form));
  const show = (input) => { const output = find(`output[for="${input.id}"]`); if (output) output.textContent = input.dataset.zero && Number(input.value) === 0 ? input.dataset.zero : input.value + (input.dataset.unit || ""); };
  const follow = async () => {
    const number = ++asked;
    if (running) running.abort();
    running = new AbortController();
    place.classList.add("busy"); place.setAttribute("aria-busy", "true");
    try {
      const parameters = query();
      history.replaceState(null, "", "?" + parameters);
      parameters.set("part", "1");
      const answer = await fetch("/?" + parameters, { signal: running.signal });
      const text = await answer.text();
      if (number !== asked) return;
      place.innerHTML = text;
    } catch (error) {
      if (error.name === "AbortError") return;
      place.textContent = "The server did not answer; is it still running?";
    }
    place.classList.remove("busy"); place.removeAttribute("aria-busy");
  };
  form.addEventListener("input", (event) => { show(event.target); clearTimeout(timer); timer = setTimeout(follow, 250); });
  form.addEventListener("submit", (event) => { event.preventDefault(); follow(); });
  for (const input of form.elements) show(input);
}

function live() {
  const place = find("[data-events]");
  if (!place) return;
  const source = new EventSource(place.dataset.events);
  const refresh = async () => { const answer = await fetch(place.dataset.part); if (answer.ok) place.innerHTML = await answer.text(); };
  source.addEventListener("message", refresh);
  source.addEventListener("over", () => { source.close(); refresh(); });
}

function chat() {
  const place = find("#talk"), send = find("form.send");
  if (send) send.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send.requestSubmit(); } });
  if (!place) return;
  const follow = () => {
    const draft = find("[data-live]", place);
    if (!draft) return;
    const source = new EventSource(draft.dataset.live);
    source.addEventListener("message", (event) => {
      const state = JSON.parse(event.data), low = window.innerHeight + window.scrollY > document.body.offsetHeight - 80;
      find("[data-draft]", draft).textContent = state.draft;
      find("[data-note]", draft).textContent = state.note;
      find("[data-tools]", draft).textContent = state.tools.length ? "Tools: " + state.tools.join(", ") : "";
      if (low) window.scrollTo(0, document.body.scrollHeight);
    });
    source.addEventListener("over", async () => {
      source.close();
      const answer = await fetch(location.pathname + "?part=1");
      if (answer.ok) { place.innerHTML = await answer.text(); follow(); }
    });
  };
  follow();
}

function keys() {
  const help = find("#keys");
  const go = { w: "/", a: "/ask", c: "/chat", p: "/plans", r: "/runs", s: "/results", e: "/explain" };
  let before = "";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "range") { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "?" && help) { help.open ? help.close() : help.showModal(); return; }
    if (before === "g" && go[event.key]) { location.href = go[event.key]; return; }
    before = event.key;
    const choice = find(`[data-key="${event.key}"]`);
    if (choice) { event.preventDefault(); choice.click(); }
    if (event.key === "/") { const first = find("main textarea, main input[type=text]"); if (first) { event.preventDefault(); first.focus(); } }
  });
}

whatIf(); live(); chat(); keys();
