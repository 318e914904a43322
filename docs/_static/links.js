// Where printed plans say which page shows them, the words become a link to it.
document.addEventListener("DOMContentLoaded", () => {
  const root = document.documentElement.dataset.content_root ?? "";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (text.data.includes("try.html#") && text.parentElement.closest("pre")) found.push(text);
  }
  for (const text of found) {
    const [before, fragment, after] = text.data.split(/try\.html#(\S+)([^]*)/);
    const link = document.createElement("a");
    link.href = `${root}try.html#${fragment}`;
    link.textContent = `try.html#${fragment}`;
    text.replaceWith(before, link, after);
  }
});
