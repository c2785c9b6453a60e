// Values under the pointer, and lines that can be hidden. The page is complete without it.
for (const figure of document.querySelectorAll("figure")) {
  const chart = figure.querySelector(".chart");
  const data = JSON.parse(chart.dataset.chart);
  const output = chart.querySelector("output");
  const leave = () => {
    output.style.display = "none";
    chart.classList.remove("on");
  };
  chart.addEventListener("pointermove", (event) => {
    const paper = [...chart.querySelectorAll("[data-left]")].find((one) => one.offsetParent !== null);
    if (!paper) return leave();
    const box = paper.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const left = +paper.dataset.left, right = 1 - paper.dataset.right;
    const place = Math.floor((((x - left) / (right - left)) * data.end) / data.window);
    if (x < left || x > right || place < 0 || place >= data.starts.length) return leave();
    const shown = data.lines.filter((_, line) => !figure.classList.contains("without-" + line));
    output.textContent = [data.starts[place], ...shown.map((line) => line.name + "  " + (line.values[place] ?? "–"))].join("\n");
    output.style.display = "block";
    output.style.left = x < 0.6 ? `calc(${x * 100}% + 12px)` : "auto";
    output.style.right = x < 0.6 ? "auto" : `calc(${(1 - x) * 100}% + 12px)`;
    chart.style.setProperty("--at", `${x * 100}%`);
    chart.classList.add("on");
  });
  chart.addEventListener("pointerleave", leave);
  if (data.lines.length < 2) continue;
  for (const entry of figure.querySelectorAll("[data-line]")) {
    const toggle = () => {
      const hidden = figure.classList.toggle("without-" + entry.dataset.line);
      entry.setAttribute("aria-pressed", String(!hidden));
      for (const line of chart.querySelectorAll(".line-" + entry.dataset.line)) line.style.display = hidden ? "none" : "";
    };
    entry.tabIndex = 0;
    entry.setAttribute("role", "button");
    entry.setAttribute("aria-pressed", "true");
    entry.addEventListener("click", toggle);
    entry.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
  }
}
