// The chosen theme and font, before anything is painted: the modules run after that.

try {
  const { theme = "", face = "" } = JSON.parse(localStorage.getItem("chargen.settings") ?? "{}");
  Object.assign(document.documentElement.dataset, { theme, face });
} catch { /* no storage in this browser, or a damaged one: main.js sets the usual ones */ }
