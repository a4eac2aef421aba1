// The controls beside the picture. They change the picture at once, and tell Python nothing.

import { isRadiological } from "./company.js"
import { hex, rgb } from "./labels.js"

const KEYS = { 1: "Three planes", 2: "Axial", 3: "Coronal", 4: "Sagittal", 5: "3D" }
const CORNERS = `<svg viewBox="0 0 12 12" width="12" height="12" fill="none" stroke="currentColor"
  stroke-width="1.5"><path d="M1 4V1h3M8 1h3v3M11 8v3H8M4 11H1V8"/></svg>`
const HELP = [
  "click: move the crosshair",
  "wheel: next slice",
  "right-drag: level and width",
  "1–5: views",
  "w: next window",
  "m: masks on and off",
  "r: left and right",
  "b: draw a box by dragging",
  "Esc: clear the box",
  "f: full screen",
].join("\n")

export class Panel {
  constructor(root, viewer, views) {
    this.viewer = viewer
    this.root = root
    this.bar = make("div", "bar")
    this.side = make("div", "side")
    root.prepend(this.bar)
    root.append(this.side)
    this.views = make("div", "views")
    this.names = views
    this.presets = make("select", "presets")
    this.presets.title = "Window (w)"
    this.presets.onchange = () => this.preset(this.presets.selectedIndex)
    this.level = number("Level", () => this.typed())
    this.width = number("Width", () => this.typed())
    this.side_button = make("button", "sides")
    this.side_button.title = "Radiological or neurological (r)"
    this.side_button.onclick = () => this.turn()
    this.box = make("button", "box", "Box")
    this.box.title = "Draw a box by dragging; on another plane, refine it (b)"
    this.box.onclick = () => viewer.box.draw(!viewer.box.drawing)
    this.clear = make("button", "clear")
    this.clear.title = "Clear the box (Esc)"
    this.clear.onclick = () => viewer.box.clear()
    this.frames = make("label", "frames")
    this.full = make("button", "full")
    this.full.innerHTML = CORNERS
    this.full.ariaLabel = "Full screen"
    this.full.title = "Full screen (f)"
    this.full.onclick = () => this.fill()
    const help = make("span", "help", "?")
    help.title = HELP
    this.bar.append(this.views, this.presets, this.level.label, this.width.label)
    this.bar.append(this.frames, this.box, this.side_button, help, this.full)
    root.querySelector(".stage").append(this.clear) // in the bar it would move the picture
  }

  /** Make the controls that depend on what is shown. */
  build(data) {
    this.drawable = Boolean(data.drawable)
    this.boxes()
    const said = JSON.stringify([data.scan, data.layers, data.presets])
    if (said === this.said) return
    this.said = said
    const isNew = this.scan !== data.scan.id
    this.scan = data.scan.id
    const before = new Map((this.layers ?? []).map((layer) => [layer.url, layer]))
    this.layers = (data.layers ?? []).map(
      (layer) =>
        before.get(layer.url) ?? {
          ...layer,
          share: 0.5,
          labels: (layer.labels ?? []).map((label) => ({ ...label })),
        },
    )
    this.side.replaceChildren(...this.layers.map((layer, number) => this.layer(layer, number)))
    this.side.hidden = !this.layers.length
    if (!isNew) return
    const { flat } = data.scan
    this.views.replaceChildren(
      ...(flat ? [flat] : this.names).map((name) => {
        const button = make("button", "", name)
        button.onclick = () => this.viewer.view(name)
        return button
      }),
    )
    this.side_button.hidden = data.scan.placed === false
    this.ready = data.presets ?? []
    this.presets.replaceChildren(...this.ready.map(({ name }) => make("option", "", name)))
    this.presets.hidden = this.ready.length < 2
    for (const field of [this.level, this.width]) field.label.hidden = Boolean(data.scan.color)
    this.sides()
    this.window(data.scan)
    this.frames.replaceChildren()
    if (data.scan.frames > 1) {
      const slider = range(0, data.scan.frames - 1, 1, 0, (v) => {
        this.viewer.setFrame(v)
        text.textContent = `${v + 1} / ${data.scan.frames}`
      })
      const text = make("span", "", `1 / ${data.scan.frames}`)
      this.frames.append("Time ", slider, text)
    }
  }

  /** Return the opacity of a layer. */
  share(number) {
    return this.hidden ? 0 : this.layers[number].share
  }

  layer(layer, number) {
    const box = make("section", "layer")
    box.append(make("h4", "", layer.name))
    const slider = range(0, 1, 0.01, layer.share, (share) => {
      layer.share = share
      this.viewer.setOpacity(number, share)
    })
    slider.className = "opacity"
    slider.title = "Opacity"
    layer.slider = slider
    box.append(slider)
    for (const label of layer.labels) box.append(this.label(layer, label, number))
    return box
  }

  label(layer, label, number) {
    const row = make("label", "label")
    const show = Object.assign(make("input"), { type: "checkbox", checked: !label.hidden })
    const color = Object.assign(make("input"), { type: "color", value: hex(label.color) })
    const share = range(0, 1, 0.05, label.opacity ?? 1, (v) => change({ opacity: v }))
    share.title = `Opacity of ${label.name}`
    const change = (what) => {
      Object.assign(label, what)
      this.viewer.setLabels(number, layer.labels)
    }
    show.onchange = () => change({ hidden: !show.checked })
    color.oninput = () => change({ color: rgb(color.value) })
    row.append(show, color, make("span", "", label.name))
    if (label.note) row.append(make("small", "", label.note))
    row.append(share)
    return row
  }

  chosen(name) {
    for (const button of this.views.children) {
      button.classList.toggle("on", button.textContent === name)
    }
  }

  window({ low, high }) {
    this.level.input.value = trim((low + high) / 2)
    this.width.input.value = trim(high - low)
    this.root.dataset.window = JSON.stringify({ low, high })
  }

  typed() {
    const level = Number(this.level.input.value)
    const width = Math.abs(Number(this.width.input.value))
    if (width > 0) this.viewer.setWindow(level - width / 2, level + width / 2)
  }

  preset(number) {
    const { low, high } = this.ready[number]
    this.presets.selectedIndex = number
    this.viewer.setWindow(low, high)
  }

  turn() {
    if (!this.side_button.hidden) this.viewer.setRadiological(!isRadiological())
  }

  sides() {
    const how = isRadiological() ? "Radiological: R is left" : "Neurological: R is right"
    this.side_button.textContent = how
    this.root.dataset.radiological = String(isRadiological())
  }

  /** Say whether a box can be drawn, is being drawn, and how large it is. */
  boxes() {
    const { drawing, ranges, own } = this.viewer.box ?? {}
    this.box.hidden = !this.drawable
    this.box.classList.toggle("on", Boolean(drawing))
    this.clear.hidden = !(ranges && own)
    if (!this.clear.hidden) {
      const sides = ranges.map(([low, high]) => (high - low).toFixed(0))
      this.clear.textContent = `✕ Box ${sides.join(" × ")} mm`
    }
  }

  /** Clear the box, or stop drawing one; tells whether there was either. */
  escape() {
    const { box } = this.viewer
    if (box.drag) box.cancel()
    else if (box.ranges && box.own) box.clear()
    else if (box.drawing) box.draw(false)
    else return false
    return true
  }

  masks() {
    this.hidden = !this.hidden
    this.layers.forEach((_, i) => this.viewer.setOpacity(i, this.share(i)))
  }

  fill() {
    if (document.fullscreenElement) document.exitFullscreen()
    else this.root.requestFullscreen()
  }

  key(event) {
    const { tagName, type } = event.composedPath()[0]
    if (tagName === "SELECT" || (tagName === "INPUT" && type === "number")) return
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const pressed = event.key.toLowerCase()
    if (KEYS[pressed]) this.viewer.view(KEYS[pressed])
    else if (pressed === "w" && this.ready.length) {
      this.preset((this.presets.selectedIndex + 1) % this.ready.length)
    } else if (pressed === "m") this.masks()
    else if (pressed === "r") this.turn()
    else if (pressed === "f") this.fill()
    else if (pressed === "b" && this.drawable) this.viewer.box.draw(!this.viewer.box.drawing)
    else if (pressed === "escape" && this.escape()) this.viewer.box.outline()
    else return
    event.stopPropagation() // else Streamlit takes r for a rerun
    event.preventDefault()
  }
}

function make(tag, name = "", text = "") {
  const element = document.createElement(tag)
  if (name) element.className = name
  element.textContent = text
  return element
}

function number(name, changed) {
  const input = Object.assign(make("input"), { type: "number", onchange: changed, step: "any" })
  const label = make("label", "number", `${name} `)
  label.append(input)
  return { label, input }
}

function range(min, max, step, value, changed) {
  const slider = Object.assign(make("input"), { type: "range", min, max, step, value })
  slider.oninput = () => changed(Number(slider.value))
  return slider
}

function trim(value) {
  return Number(value.toPrecision(4))
}
