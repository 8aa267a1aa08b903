// What travels in the address through a lesson: every address and link of the page has it, and Escape ends a presentation.

/** @type {(address: string, fields: Record<string, string>) => string} */
export function withFields(address, fields) {
  const url = new URL(address);
  const missing = Object.entries(fields).filter(([name]) => !url.searchParams.has(name));
  if (missing.length) url.search += `${url.search ? "&" : ""}${new URLSearchParams(missing)}`;
  return url.href;
}

/** Whether Escape means something else there. @type {(event: Event) => boolean} */
const hasOwnEscape = (event) =>
  event
    .composedPath()
    .some((each) => each instanceof Element && each.matches("input, textarea, select, [role=listbox], [role=dialog], [role=menu]"));

/** Shows nothing. @type {(component: Component<{fields: Record<string, string>}>) => () => void} */
export function lesson({ data, parentElement, setTriggerValue }) {
  const { fields } = data;
  const address = withFields(location.href, fields);
  if (address !== location.href) history.replaceState(history.state, "", address);
  parentElement.listening?.abort(); // Streamlit calls this again after each run, and the end once
  const listening = new AbortController();
  parentElement.listening = listening;
  /** @type {Map<HTMLAnchorElement, string>} */
  const links = new Map();
  // Before a link is opened anywhere, or copied. The menu's own click needs no address.
  const complete = (/** @type {Event} */ event) => {
    const link = event.composedPath().find((each) => each instanceof HTMLAnchorElement);
    if (!(link instanceof HTMLAnchorElement) || !link.href.startsWith(`${location.origin}/`) || link.download) return;
    if (!links.has(link)) links.set(link, link.href);
    link.href = withFields(link.href, fields);
  };
  const options = { signal: listening.signal, capture: true };
  document.addEventListener("pointerdown", complete, options);
  document.addEventListener("focusin", complete, options);
  const leave = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" && fields.present && !event.defaultPrevented && !hasOwnEscape(event)) setTriggerValue("leave", true);
  };
  document.addEventListener("keydown", leave, { signal: listening.signal });
  return () => {
    listening.abort();
    for (const [link, href] of links) link.href = href;
  };
}
