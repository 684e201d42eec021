// Typesets what pymdownx.arithmatex marked: \(...\) in a span, \[...\] in a div.
// KaTeX is vendored beside this file, so pages need no network.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const source = element.textContent.trim();
    katex.render(source.slice(2, -2), element, {
      displayMode: source.startsWith("\\["),
      throwOnError: false,
    });
  }
});
