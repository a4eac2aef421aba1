// A box in the world: drawn by dragging on a plane, outlined on every plane that cuts it.
//
// The first drag sets two sides; along the third the box is as long as the mean of the two, around
// the slice that was drawn on. A drag on another plane that cuts the box sets two sides anew and
// keeps the third. Python is told when a drag ends, never while it lasts.

import { clip, cut, depthAt, planeAt, planes, toWorld } from "./planes.js"

const CLICK = 4 // pixels; what moves less is a click

export class Box {
  constructor(viewer, stage) {
    this.viewer = viewer
    this.stage = stage
    this.ranges = null // [[low, high], ...] in RAS mm
    this.own = false // drawn by the person, not given by Python
    this.drawing = false // whether dragging draws
    this.over = viewer.over
    stage.addEventListener("pointerdown", (event) => this.start(event), true)
    stage.addEventListener("pointermove", (event) => this.move(event), true)
    stage.addEventListener("pointerup", (event) => this.end(event), true)
    stage.addEventListener("pointercancel", () => this.cancel(), true)
    const mute = (event) => this.drawing && event.stopPropagation()
    for (const kind of ["touchstart", "touchmove", "touchend", "dblclick"]) {
      stage.addEventListener(kind, mute, true)
    }
    stage.addEventListener("mousedown", (event) => event.button === 0 && mute(event), true)
  }

  /** Take over what Python gives, where it is new. */
  show(data, isNew) {
    const given = JSON.stringify(data.box ?? null)
    if (isNew || given !== this.said) {
      this.ranges = data.box ?? data.drawn ?? null
      const echoed = JSON.stringify(data.box) === JSON.stringify(data.drawn)
      this.own = Boolean(data.drawn) && (!data.box || echoed)
    }
    this.said = given
    this.given = data.box ?? null
    if (!data.drawable) this.draw(false)
    this.outline()
  }

  /** Let dragging draw, or move the crosshair as ever. */
  draw(on) {
    this.cancel()
    this.drawing = on
    this.stage.classList.toggle("drawing", on)
    this.viewer.panel.boxes()
  }

  /** Clear what was drawn; what Python gave is outlined again. */
  clear() {
    if (!this.ranges || !this.own) return
    const again = JSON.stringify(this.given) === JSON.stringify(this.ranges)
    this.ranges = again ? null : this.given
    this.own = false
    this.outline()
    this.viewer.tellBox(null)
  }

  start(event) {
    if (!this.drawing || event.button !== 0 || event.target !== this.viewer.canvas) return
    const plane = planeAt(this.viewer.nv, this.place(event))
    if (!plane) return
    event.preventDefault() // no mouse events follow, which NiiVue would take
    event.stopPropagation()
    this.viewer.root.focus({ preventScroll: true })
    this.stage.setPointerCapture(event.pointerId)
    this.drag = { plane, from: this.place(event), before: this.ranges }
  }

  move(event) {
    if (!this.drag) return
    event.stopPropagation()
    const to = this.place(event)
    const far = to.some((v, i) => Math.abs(v - this.drag.from[i]) >= CLICK * this.ratio())
    if (far) this.drag.moved = true
    if (this.drag.moved) {
      this.ranges = this.reach(to)
      this.outline()
    }
  }

  end(event) {
    if (!this.drag) return
    event.stopPropagation()
    const { plane, from, moved, before } = this.drag
    const ranges = moved && this.reach(this.place(event))
    this.drag = null
    if (!moved) {
      const place = toWorld(plane, from)
      this.viewer.lookAt(world(plane, [...place, depthAt(plane, place)]))
    } else if (ranges) {
      this.ranges = ranges
      this.own = true
      this.viewer.tellBox(ranges)
      const place = plane.axes.slice(0, 2).map((axis) => middle(ranges[axis]))
      this.viewer.lookAt(world(plane, [...place, depthAt(plane, place)])) // seen on every plane
    } else {
      this.ranges = before
    }
    this.outline()
  }

  cancel() {
    if (!this.drag) return
    this.ranges = this.drag.before
    this.drag = null
    this.outline()
  }

  /** Return the box of a drag that has come to a place on the canvas; null where it is flat. */
  reach(to) {
    const { plane, from, before } = this.drag
    const { extentsMin, extentsMax } = this.viewer.nv.volumeObject3D
    const [a, b] = [toWorld(plane, from), toWorld(plane, to)]
    const ranges = [null, null, null]
    plane.axes.slice(0, 2).forEach((axis, i) => {
      const sides = [a[i], b[i]].map((v) => clip(v, extentsMin[axis], extentsMax[axis]))
      ranges[axis] = [Math.min(...sides), Math.max(...sides)]
    })
    const axis = plane.axes[2]
    const at = depthAt(plane, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2])
    const whole = [extentsMin[axis], extentsMax[axis]]
    if (before && before[axis][0] <= at && at <= before[axis][1]) ranges[axis] = before[axis]
    else if (this.viewer.flat()) ranges[axis] = whole
    else {
      const [p, q] = plane.axes.slice(0, 2).map((one) => ranges[one][1] - ranges[one][0])
      const half = Math.max(p + q, 4 * this.viewer.thickness(axis)) / 4
      ranges[axis] = [at - half, at + half].map((v) => clip(v, ...whole))
    }
    const rounded = ranges.map((pair) => pair.map((v) => Math.round(v * 100) / 100))
    return rounded.every(([low, high]) => low < high) ? rounded : null
  }

  /** Draw the outline again, after the picture was. */
  outline() {
    const { nv } = this.viewer
    this.viewer.root.dataset.box = this.ranges ? JSON.stringify(this.ranges) : ""
    this.viewer.panel.boxes()
    const isDrawn = this.ranges && nv?.volumes.length
    const corners = isDrawn ? planes(nv).map((plane) => [plane, cut(plane, this.ranges)]) : []
    this.over.outlines(corners.filter(([, found]) => found.length))
  }

  place(event) {
    const { left, top } = this.stage.getBoundingClientRect()
    return [event.clientX - left, event.clientY - top].map((v) => v * this.ratio())
  }

  ratio() {
    return this.viewer.nv.uiData.dpr ?? 1
  }
}

function world(plane, place) {
  const mm = [0, 0, 0]
  plane.axes.forEach((axis, i) => (mm[axis] = place[i]))
  return mm
}

function middle([low, high]) {
  return (low + high) / 2
}
