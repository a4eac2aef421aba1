// medvision's viewer: NiiVue in a Streamlit component. Voxels come by URL; windows, opacities and
// the crosshair live here, so that dragging never runs Python.

import { DRAG_MODE, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue"
import { Box } from "./box.js"
import { choose, isRadiological, join, lead, leave, whereabouts } from "./company.js"
import { colormap } from "./labels.js"
import { Over } from "./over.js"
import { Panel } from "./panel.js"
import { clip } from "./planes.js"
import { Scene } from "./scene.js"
import { STYLE } from "./style.js"
import { load } from "./voxels.js"

const VIEWS = {
  "Three planes": SLICE_TYPE.MULTIPLANAR,
  Axial: SLICE_TYPE.AXIAL,
  Coronal: SLICE_TYPE.CORONAL,
  Sagittal: SLICE_TYPE.SAGITTAL,
  "3D": SLICE_TYPE.RENDER,
}
const CROSSHAIR = 0.75 // voxels
const OPTIONS = {
  backColor: [0.055, 0.063, 0.075, 1],
  crosshairColor: [0.96, 0.72, 0.25, 0.9],
  crosshairWidth: CROSSHAIR,
  crosshairWidthUnit: "voxels",
  show3Dcrosshair: true,
  dragMode: DRAG_MODE.windowing,
  isRadiologicalConvention: true,
  isOrientationTextVisible: false, // ours are legible on white too
  isSliceMM: true, // scans on tilted grids are drawn where they lie
  multiplanarShowRender: SHOW_RENDER.ALWAYS,
  isResizeCanvas: true,
  dragAndDropEnabled: false,
  loadingText: "",
  logLevel: "error",
  sagittalNoseLeft: true,
  tileMargin: 2,
  fontColor: [0.85, 0.87, 0.9, 1],
  viewModeHotKey: "", // the buttons' keys are the panel's
}

const viewers = new WeakMap() // what is mounted, by the element it is mounted in

/**
 * Mount the viewer, or bring it up to date; Streamlit calls this with every run of the page.
 * `ready` holds voxels, by URL, that were asked for while this program was still on its way.
 */
export default function (component, ready) {
  let viewer = viewers.get(component.parentElement)
  if (!viewer) {
    viewer = new Viewer(component, ready)
    viewers.set(component.parentElement, viewer)
  }
  viewer.show(component)
  return () => {
    viewer.close()
    viewers.delete(component.parentElement)
  }
}

class Viewer {
  constructor({ parentElement }, ready) {
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
    this.ready = ready
    this.images = new Map() // layers that are shown, by URL
    this.queue = Promise.resolve()
    this.panel = new Panel(root, this, Object.keys(VIEWS))
    this.over = new Over(root.querySelector(".stage"))
    this.box = new Box(this, root.querySelector(".stage"))
    join(this)
  }

  /** Draw what the page asks for, after what it asked for before. */
  show(component) {
    this.component = component
    const data = component.data
    this.wanted = data
    this.group = data.group ?? ""
    this.root.style.height = `max(${data.height ?? 640}px, 65vh)`
    const antialias = navigator.hardwareConcurrency > 6 // as NiiVue decides
    if (!this.canvas.getContext("webgl2", { alpha: true, antialias })) {
      this.tell("This browser has no WebGL 2: slices are shown as pictures.")
      component.setStateValue("webgl", false)
      return
    }
    this.queue = this.queue.then(() => this.draw(data)).catch((error) => this.fail(error))
  }

  /** Bring the picture up to date: all that is new is loaded first, and then drawn once. */
  async draw(data) {
    if (this.isLate(data)) return
    const isNew = this.data?.scan.id !== data.scan.id
    const layers = data.layers ?? []
    const areNew = isNew || layers.some(({ url }) => !this.images.has(url))
    if (isNew) {
      this.data = data
      this.tell(`Loading ${data.scan.name} …`)
      this.root.dataset.state = "loading"
      this.root.dataset.sharp = "false"
      this.frame = 0
    }
    const scan = isNew && load(data.preview ?? data.scan, "scan", this.ready)
    this.panel.build(data) // before the first picture, whose size depends on it
    const loads = this.panel.layers.map(
      (one) => this.images.get(one.url) ?? load(one, one.kind, this.ready),
    )
    this.nv ??= await this.begin()
    const { nv } = this
    const [first, ...rest] = await Promise.all([scan || nv.volumes[0], ...loads])
    if (this.isLate(data)) {
      if (isNew) this.data = null // the next draws all
      return
    }
    this.data = data
    if (isNew || areNew || rest.length !== nv.volumes.length - 1) {
      this.images = new Map(layers.map(({ url }, i) => [url, rest[i]]))
      rest.forEach((image, i) => (image.opacity = this.panel.share(i)))
      this.stack([first, ...rest])
      if (isNew) this.begun()
      nv.opts.isRadiologicalConvention = this.radiological()
      this.aim(data.at, isNew)
      const mate = isNew && !data.at && whereabouts(this)
      if (mate) nv.scene.crosshairPos = this.fraction(mate)
      nv.updateGLVolume()
      this.following = isNew // who comes does not move the others
      nv.createOnLocationChange()
      this.following = false
    } else if (this.aim(data.at, false)) {
      nv.createOnLocationChange()
      nv.drawScene()
    }
    this.box.show(data, isNew)
    this.tell("")
    this.mark()
    if (!data.preview) this.root.dataset.sharp = "true"
    else if (!data.scan.url) this.askForWhole(data)
    else this.sharpen(data)
  }

  /** Tell whether another scan was chosen in the meantime. */
  isLate(data) {
    return this.isClosed || this.wanted.scan.id !== data.scan.id
  }

  async begin() {
    const nv = new Scene({ ...OPTIONS, isRadiologicalConvention: this.radiological() })
    nv.onLocationChange = (where) => this.locate(where)
    await nv.attachToCanvas(this.canvas)
    nv.whenDrawn = () => {
      if (!nv.volumes.length) return
      this.over.sides(nv, this.data.scan.placed !== false)
      this.box.outline()
    }
    this.canvas.addEventListener("pointerup", () => this.panel.window(this.window()))
    this.root.addEventListener("keydown", (event) => this.panel.key(event))
    return nv
  }

  /** Set up for a scan that was just loaded. */
  begun() {
    const { nv } = this
    const name = this.flat() ?? "Three planes"
    nv.opts.sliceType = VIEWS[name]
    nv.opts.crosshairWidth = this.flat() ? 0 : CROSSHAIR
    nv.scene.pan2Dxyzmm = [0, 0, 0, 1]
    nv.scene.crosshairPos = [0.5, 0.5, 0.5]
    this.at = null
    this.panel.chosen(name)
  }

  /** Put volumes in the place of those that are shown; nothing is drawn yet. */
  stack(volumes) {
    const { nv } = this
    nv.volumes = volumes
    nv.back = volumes[0]
    nv.overlays = volumes.slice(1)
  }

  /** Have Python get the whole of a scan ready, whose half is shown; the page runs once for it. */
  askForWhole({ scan }) {
    if (this.asked === scan.id) return
    this.asked = scan.id
    this.component.setStateValue("whole", scan.id)
  }

  /** Load the whole of a scan whose half is shown, and put it in its place. */
  async sharpen(data) {
    const { nv, root } = this
    if (root.dataset.sharp !== "false") return
    root.dataset.sharp = "loading"
    try {
      const whole = await load(data.scan, "scan")
      if (this.isLate(data) || this.data?.scan.id !== data.scan.id) return // of another scan now
      const [half, ...layers] = nv.volumes
      const mm = this.mm()
      whole.cal_min = half.cal_min
      whole.cal_max = half.cal_max
      whole.frame4D = clip(this.frame, 0, whole.nFrame4D - 1)
      this.stack([whole, ...layers])
      nv.scene.crosshairPos = nv.mm2frac(mm)
      nv.updateGLVolume()
      nv.createOnLocationChange()
      root.dataset.sharp = "true"
    } catch (error) {
      console.error(error) // the half stays
      root.dataset.sharp = "failed"
    }
  }

  /** Move the crosshair to where Python says, where that is new; tells whether it is. */
  aim(at, always) {
    const said = JSON.stringify(at ?? null)
    if (!at || (said === this.at && !always)) return false
    this.at = said
    this.nv.scene.crosshairPos = this.fraction(at)
    return true
  }

  /** Move the crosshair, as a person does who clicks. */
  lookAt(mm) {
    this.nv.scene.crosshairPos = this.fraction(mm)
    this.nv.createOnLocationChange()
    this.nv.drawScene()
  }

  /** Move the crosshair with the group's, once a picture. */
  follow(mm) {
    const isWaiting = Boolean(this.leader)
    this.leader = mm
    if (isWaiting) return
    requestAnimationFrame(() => {
      const place = this.leader
      this.leader = null
      if (!this.nv?.volumes.length) return
      this.following = true
      this.lookAt(place)
      this.following = false
    })
  }

  fraction(mm) {
    return Array.from(this.nv.mm2frac(mm)).map((v) => clip(v, 0, 1))
  }

  mm() {
    return Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos)).slice(0, 3)
  }

  flat() {
    return this.data.scan.flat ?? null
  }

  /** Return about how thick a voxel is along a world axis, mm. */
  thickness(axis) {
    const { dimsRAS } = this.nv.volumes[0]
    const { extentsMin, extentsMax } = this.nv.volumeObject3D
    return (extentsMax[axis] - extentsMin[axis]) / dimsRAS[axis + 1]
  }

  view(name) {
    if (this.flat() && name !== this.flat()) return
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
    this.nv.volumes[number + 1].opacity = share
    this.refreshLayers()
    this.mark()
  }

  setLabels(number, labels) {
    this.nv.volumes[number + 1].setColormapLabel(colormap(labels))
    this.refreshLayers()
  }

  /** Draw the layers anew, and not the scan below them, which takes far longer. */
  refreshLayers() {
    const { nv } = this
    nv.refreshColormaps()
    nv.overlays.forEach((layer, i) => nv.refreshLayers(layer, i + 1))
    nv.drawScene()
  }

  setFrame(frame) {
    this.frame = frame
    this.nv.setFrame4D(this.nv.volumes[0].id, frame)
  }

  /** Tell whether the patient's right is on the left; a picture that lies nowhere is not turned. */
  radiological() {
    return isRadiological() || this.data?.scan.placed === false
  }

  setRadiological(on) {
    choose(on)
  }

  /** Draw after the convention was chosen, here or in another viewer. */
  turned() {
    this.panel.sides()
    if (!this.nv?.volumes.length) return
    this.nv.opts.isRadiologicalConvention = this.radiological()
    this.nv.drawScene()
  }

  /** Say where the crosshair is, and what lies there. */
  locate({ values }) {
    const mm = this.mm()
    const sides = ["LR", "PA", "IS"].map((pair, i) => pair[mm[i] < 0 ? 0 : 1])
    const where = mm.map((v, i) => `${sides[i]} ${Math.abs(v).toFixed(1)}`).join("  ")
    const [scan, ...layers] = values
    const unit = this.data.scan.unit ? ` ${this.data.scan.unit}` : ""
    const named = layers.map(({ value }, i) => this.named(this.data.layers[i], value))
    const value = Number.isInteger(scan.value) ? scan.value : scan.value.toPrecision(4)
    const placed = this.data.scan.placed === false ? "" : `${where} mm`
    this.place.textContent = [placed, `${value}${unit}`, ...named].filter(Boolean).join("   ")
    this.root.dataset.mm = JSON.stringify(mm)
    if (!this.following && this.group) lead(this, mm)
  }

  named(layer, value) {
    if (!layer) return ""
    if (layer.kind === "heat") return `${layer.name} ${value.toFixed(2)}`
    return layer.labels.find((label) => label.value === Math.round(value))?.name ?? ""
  }

  /** Tell Python which box was drawn; null when it was cleared. */
  tellBox(ranges) {
    this.component.setStateValue("box", { scan: this.data.scan.id, ranges })
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
    this.data = null // the next run of the page tries again
    this.root.dataset.state = "failed"
    this.tell(`The viewer could not show this: ${error.message ?? error}`)
  }

  close() {
    this.isClosed = true
    leave(this)
    this.nv?.cleanup()
    this.nv?.gl.getExtension("WEBGL_lose_context")?.loseContext() // browsers allow few
    this.root.remove()
  }
}
