// medvision's viewer: NiiVue in a Streamlit component. Voxels come by URL; windows, opacities and
// the crosshair live here, so that dragging never runs Python.

import { DRAG_MODE, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue"
import { colormap } from "./labels.js"
import { Panel } from "./panel.js"
import { STYLE } from "./style.js"

const VIEWS = {
  "Three planes": SLICE_TYPE.MULTIPLANAR,
  Axial: SLICE_TYPE.AXIAL,
  Coronal: SLICE_TYPE.CORONAL,
  Sagittal: SLICE_TYPE.SAGITTAL,
  "3D": SLICE_TYPE.RENDER,
}
const OPTIONS = {
  backColor: [0.055, 0.063, 0.075, 1],
  crosshairColor: [0.96, 0.72, 0.25, 0.9],
  crosshairWidth: 0.75,
  crosshairWidthUnit: "voxels",
  show3Dcrosshair: true,
  dragMode: DRAG_MODE.windowing,
  isRadiologicalConvention: true,
  isSliceMM: true, // scans on tilted grids are drawn where they lie
  multiplanarShowRender: SHOW_RENDER.ALWAYS,
  isResizeCanvas: true,
  dragAndDropEnabled: false,
  loadingText: "",
  logLevel: "error",
  sagittalNoseLeft: true,
  tileMargin: 2,
  fontColor: [0.85, 0.87, 0.9, 1],
}

const viewers = new WeakMap() // what is mounted, by the element it is mounted in

/** Mount the viewer, or bring it up to date; Streamlit calls this with every run of the page. */
export default function (component) {
  let viewer = viewers.get(component.parentElement)
  if (!viewer) {
    viewer = new Viewer(component)
    viewers.set(component.parentElement, viewer)
  }
  viewer.show(component)
  return () => {
    viewer.close()
    viewers.delete(component.parentElement)
  }
}

class Viewer {
  constructor({ parentElement }) {
    const root = document.createElement("div")
    root.className = "viewer"
    root.tabIndex = 0
    root.innerHTML = `<style>${STYLE}</style><div class="stage"><canvas></canvas>
      <div class="wait" role="status"></div><output class="place"></output></div>`
    parentElement.append(root)
    this.root = root
    root.viewer = this // for tests, and for who tries things in the console
    this.canvas = root.querySelector("canvas")
    this.wait = root.querySelector(".wait")
    this.place = root.querySelector(".place")
    this.shown = { scan: "", layers: "" }
    this.queue = Promise.resolve()
    this.panel = new Panel(root, this, Object.keys(VIEWS))
  }

  /** Draw what the page asks for, after what it asked for before. */
  show(component) {
    this.component = component
    const data = component.data
    this.root.style.height = `${data.height ?? 640}px`
    if (!this.canvas.getContext("webgl2")) {
      this.tell("This browser has no WebGL 2: slices are shown as pictures.")
      component.setStateValue("webgl", false)
      return
    }
    this.queue = this.queue.then(() => this.draw(data)).catch((error) => this.fail(error))
  }

  async draw(data) {
    if (!this.nv) {
      this.nv = new Niivue(OPTIONS)
      this.nv.onLocationChange = (where) => this.locate(where)
      await this.nv.attachToCanvas(this.canvas)
      this.canvas.addEventListener("pointerup", () => this.panel.window(this.window()))
      this.root.addEventListener("keydown", (event) => this.panel.key(event))
    }
    const { nv } = this
    const isNew = this.shown.scan !== data.scan.url
    if (isNew) {
      this.tell(`Loading ${data.scan.name} …`)
      nv.volumes.slice().forEach((volume) => nv.removeVolume(volume))
      this.data = data
      await this.add(data.preview ?? data.scan, "scan")
      this.view(this.flat() ?? "Three planes")
      this.shown = { scan: data.scan.url, layers: "" }
    }
    this.data = data
    nv.setRadiologicalConvention(data.radiological ?? true)
    const layers = JSON.stringify(data.layers)
    if (layers !== this.shown.layers) {
      nv.volumes.slice(1).forEach((volume) => nv.removeVolume(volume))
      for (const layer of data.layers) await this.add(layer, layer.kind)
      this.shown.layers = layers
    }
    this.panel.build(data)
    if (data.at && JSON.stringify(data.at) !== this.at) {
      this.at = JSON.stringify(data.at)
      nv.scene.crosshairPos = nv.mm2frac(data.at)
      nv.createOnLocationChange()
      nv.drawScene()
    }
    this.tell("")
    this.mark()
  }

  /** Load one volume over HTTP. */
  async add(what, kind) {
    const url = new URL(what.url, document.baseURI).href
    const options = { url, name: what.file, trustCalMinMax: false }
    if (kind === "scan" && what.low != null) {
      Object.assign(options, { cal_min: what.low, cal_max: what.high })
    }
    if (kind === "heat") Object.assign(options, { colormap: "inferno", cal_min: 0.15, cal_max: 1 })
    if (kind !== "scan") options.opacity = 0.5
    const volume = await this.nv.addVolumeFromUrl(options)
    if (kind === "labels") {
      volume.setColormapLabel(colormap(what.labels))
      this.nv.updateGLVolume()
    }
  }

  flat() {
    return this.data.scan.flat ?? null
  }

  view(name) {
    this.nv.setSliceType(VIEWS[name])
    this.panel.chosen(name)
  }

  window() {
    const [scan] = this.nv.volumes
    return { low: scan.cal_min, high: scan.cal_max }
  }

  setWindow(low, high) {
    const [scan] = this.nv.volumes
    scan.cal_min = low
    scan.cal_max = high
    this.nv.updateGLVolume()
    this.panel.window({ low, high })
    this.mark()
  }

  setOpacity(number, share) {
    this.nv.setOpacity(number + 1, share)
    this.mark()
  }

  setLabels(number, labels) {
    this.nv.volumes[number + 1].setColormapLabel(colormap(labels))
    this.nv.updateGLVolume()
  }

  setFrame(frame) {
    this.nv.setFrame4D(this.nv.volumes[0].id, frame)
  }

  setRadiological(on) {
    this.nv.setRadiologicalConvention(on)
  }

  /** Say where the crosshair is, and what lies there. */
  locate({ mm, values }) {
    const [x, y, z] = mm
    const sides = [x < 0 ? "L" : "R", y < 0 ? "P" : "A", z < 0 ? "I" : "S"]
    const where = [x, y, z].map((v, i) => `${sides[i]} ${Math.abs(v).toFixed(1)}`).join("  ")
    const [scan, ...layers] = values
    const unit = this.data.scan.unit ? ` ${this.data.scan.unit}` : ""
    const named = layers.map(({ value }, i) => this.named(this.data.layers[i], value))
    const value = Number.isInteger(scan.value) ? scan.value : scan.value.toPrecision(4)
    this.place.textContent = [`${where} mm`, `${value}${unit}`, ...named].filter(Boolean).join("   ")
    this.root.dataset.mm = JSON.stringify([x, y, z])
  }

  named(layer, value) {
    if (!layer) return ""
    if (layer.kind === "heat") return `${layer.name} ${value.toFixed(2)}`
    return layer.labels.find((label) => label.value === Math.round(value))?.name ?? ""
  }

  tell(text) {
    this.wait.textContent = text
  }

  /** Leave on the element what is on the screen, for tests and for styles. */
  mark() {
    const { volumes } = this.nv
    this.root.dataset.state = "shown"
    this.root.dataset.layers = String(volumes.length - 1)
    this.root.dataset.window = JSON.stringify(this.window())
  }

  fail(error) {
    this.root.dataset.state = "failed"
    this.tell(`The viewer could not show this: ${error.message ?? error}`)
  }

  close() {
    this.nv?.cleanup()
    this.root.remove()
  }
}
