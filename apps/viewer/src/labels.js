// A mask's labels as NiiVue wants them: one color a value, transparent where it is hidden.

/** Return a color table of labels {value, color: [r, g, b], opacity, hidden}; 0 is nothing. */
export function colormap(labels) {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] }
  for (const { value, name, color, opacity = 1, hidden = false } of labels) {
    table.R.push(color[0])
    table.G.push(color[1])
    table.B.push(color[2])
    table.A.push(hidden ? 0 : Math.round(255 * opacity))
    table.I.push(value)
    table.labels.push(name)
  }
  return table
}

/** Return [r, g, b] of "#rrggbb". */
export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))
}

/** Return "#rrggbb" of [r, g, b]. */
export function hex(color) {
  return `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`
}
