// Recipients proposed while one types: an editable combobox with list autocomplete (WAI-ARIA Authoring Practices, Combobox
// pattern). What is chosen becomes a ticked box of the form, as the page without a script makes it. Every text of
// others is set as text, never as markup.

const WAIT = 150; // milliseconds after the last key: nobody reads proposals between two letters
const LEAST = 2; // letters; one begins too many names

for (const input of document.querySelectorAll("input[data-completion]")) enhance(input);

function enhance(input) {
  const say = input.dataset;
  const list = element("ul", { id: `${input.id}-propositions`, role: "listbox", "aria-label": say.label, hidden: "" });
  const status = element("p", { role: "status", class: "hidden" });
  input.after(list, status);
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-haspopup": "listbox",
  })) input.setAttribute(name, value);

  let proposals = [];
  let active = -1; // which proposal the keyboard stands on; the focus itself stays in the field
  let timer = 0;
  let asking = new AbortController();

  const isOpen = () => !list.hidden;

  function close() {
    clearTimeout(timer);
    asking.abort();
    list.hidden = true;
    list.replaceChildren();
    proposals = [];
    activate(-1);
    input.setAttribute("aria-expanded", "false");
  }

  function activate(number) {
    active = number;
    for (const [index, option] of [...list.children].entries()) {
      option.setAttribute("aria-selected", String(index === number));
      if (index === number) option.scrollIntoView({ block: "nearest" });
    }
    if (number < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[number].id);
  }

  function open(found) {
    proposals = found;
    list.replaceChildren(...found.map(option));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    activate(-1);
    status.textContent =
      found.length > 1 ? say.many.replace("{count}", found.length) : found.length ? say.one : say.none;
  }

  function option(proposal, index) {
    const made = element("li", { id: `${list.id}-${index}`, role: "option", "aria-selected": "false" });
    const where = [proposal.profession, proposal.place].filter(Boolean).join(" · ");
    const name = proposal.shared ? `${proposal.name} (${say.shared})` : proposal.name;
    for (const [tag, text] of [["span", name], ["small", where], ["small", proposal.address]]) {
      if (!text) continue;
      const part = element(tag, {});
      part.textContent = text;
      made.append(part, " ");
    }
    made.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    made.addEventListener("click", () => choose(proposal));
    return made;
  }

  function choose(proposal) {
    const chosen = document.getElementById(say.into);
    const known = [...chosen.querySelectorAll("input")].find((box) => box.value === proposal.address);
    if (known) known.checked = true;
    else {
      const box = element("input", { type: "checkbox", name: "a", value: proposal.address });
      const name = element("span", {});
      const address = element("small", {});
      name.textContent = proposal.name;
      address.textContent = proposal.address;
      const label = element("label", {});
      label.append(box, " ", name, " ", address);
      const line = element("li", {});
      line.append(label);
      chosen.append(line);
      box.checked = true;
    }
    close();
    input.value = "";
    input.focus();
    status.textContent = say.added.replace("{name}", proposal.name);
  }

  async function ask() {
    const text = input.value.trim();
    // An address is typed to its end, and a row of digits may be a patient's number: neither goes into a URL.
    if (text.length < LEAST || text.includes("@") || /(?:\d\s*){6}/.test(text)) return close();
    asking.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(`${say.completion}?q=${encodeURIComponent(text)}`, {
        headers: { Accept: "application/json" },
        signal: asking.signal,
      });
      if (answer.ok) return open(await answer.json());
      close();
      status.textContent = say.later;
    } catch (error) {
      if (error.name === "AbortError") return;
      close();
      status.textContent = say.later;
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    const last = proposals.length - 1;
    if (event.key === "ArrowDown" && !isOpen()) ask();
    else if (event.key === "ArrowDown" && isOpen()) activate(active < last ? active + 1 : 0);
    else if (event.key === "ArrowUp" && isOpen()) activate(active > 0 ? active - 1 : last);
    else if (event.key === "Enter" && active >= 0) choose(proposals[active]);
    else if (event.key === "Escape" && isOpen()) close();
    else if (event.key === "Escape" && input.value) input.value = "";
    else return;
    event.preventDefault();
  });
}

function element(tag, attributes) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
