// What lies over the picture, sharp and legible at any zoom: a box's outline, and letters for sides.

import { planes } from "./planes.js"

const SVG = "http://www.w3.org/2000/svg"
const SIDES = ["LR", "PA", "IS"] // below and above 0 on the world's axes
const EDGE = 4 // pixels

export class Over {
  constructor(stage) {
    this.svg = draw("svg", { class: "over" })
    this.boxes = draw("g", {})
    this.letters = draw("g", {})
    this.svg.append(this.boxes, this.letters)
    stage.append(this.svg)
  }

  /** Outline polygons: pairs of plane and corners, in canvas pixels. */
  outlines(polygons) {
    this.boxes.replaceChildren(
      ...polygons.map(([{ left: x, top: y, width, height, axes }, corners]) => {
        const frame = draw("svg", { x, y, width, height, viewBox: `${x} ${y} ${width} ${height}` })
        const points = corners.map((corner) => corner.join(",")).join(" ")
        frame.append(draw("polygon", { points, "data-axis": axes[2] }))
        return frame // clips to its plane
      }),
    )
  }

  /** Say on each plane which side is which. */
  sides(nv, isPlaced) {
    const ratio = nv.uiData.dpr ?? 1
    this.svg.setAttribute("viewBox", `0 0 ${nv.canvas.width} ${nv.canvas.height}`)
    this.letters.setAttribute("font-size", 15 * ratio)
    const edge = EDGE * ratio
    const found = !isPlaced ? [] : planes(nv).flatMap(({ axes, left, top, width, height, size }) => {
      const across = size[0] > 0 ? SIDES[axes[0]] : [...SIDES[axes[0]]].reverse()
      const [low, high] = SIDES[axes[1]]
      const [right, bottom] = [left + width, top + height]
      const [x, y] = [left + width / 2, top + height / 2]
      return [
        [across[0], left + edge, y, "start", "central"],
        [across[1], right - edge, y, "end", "central"],
        [high, x, top + edge, "middle", "text-before-edge"],
        [low, x, bottom - edge, "middle", "text-after-edge"],
      ]
    })
    this.letters.replaceChildren(
      ...found.map(([letter, x, y, anchor, baseline]) => {
        const how = { x, y, "text-anchor": anchor, "dominant-baseline": baseline }
        const text = draw("text", how)
        text.textContent = letter
        return text
      }),
    )
  }
}

function draw(name, how) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(how)) element.setAttribute(key, value)
  return element
}
