// Values under the pointer. The page is complete without it.
for (const chart of document.querySelectorAll(".chart")) {
  const data = JSON.parse(chart.dataset.chart);
  const output = chart.querySelector("output");
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const left = data.left / data.size, right = 1 - data.right / data.size;
    const seconds = ((x - left) / (right - left)) * data.end;
    const place = Math.floor(seconds / data.width);
    const first = data.lines[0].values;
    if (x < left || x > right || place < 0 || place >= first.length) return leave();
    const lines = data.lines.map((line) => line.name + " " + (line.values[place][1] ?? "-"));
    output.textContent = [first[place][0], ...lines].join("\n");
    output.style.display = "block";
    output.style.left = x < 0.6 ? `calc(${x * 100}% + 12px)` : "auto";
    output.style.right = x < 0.6 ? "auto" : `calc(${(1 - x) * 100}% + 12px)`;
    chart.style.setProperty("--at", `${x * 100}%`);
    chart.classList.add("on");
  });
  const leave = () => {
    output.style.display = "none";
    chart.classList.remove("on");
  };
  chart.addEventListener("pointerleave", leave);
}
